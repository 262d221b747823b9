"""How the params and buffers of an emitted NumPy module start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netdsl.analysis.starts import Start, param_starts
from netdsl.graph.ir import Graph, ParamSpec
from netdsl.ground.symbols import value_text
from netdsl.targets.dialect import Dialect


def start_kernels(graph: Graph, scheme: str) -> list[Callable[..., Any]]:
    """The kernels that draw the first params: those of weights, biases, positions, embeddings and residual ends."""
    kinds = {start.kernel: spec.init for _, spec, start in reversed(param_starts(graph, scheme)) if start.kernel}
    order = ("weight", "bias", "uniform", "normal", "embedding")
    return sorted(kinds, key=lambda kernel: order.index(str(kinds[kernel])))


def dictionary(starts: list[tuple[str, ParamSpec, Start]], dialect: Dialect) -> dict[str, object]:
    """What a template writes a dictionary of arrays with: `open`, its first line, and its `lines`."""
    lines = [dialect.line_of(f'"{name}": {_text(spec, start)},') for name, spec, start in starts]
    return {"open": "{" if lines else "{}", "lines": lines}


def _text(spec: ParamSpec, start: Start) -> str:
    size, *more = spec.shape
    shape = value_text(spec.shape if more else size)
    if start.kernel is not None:
        whole = value_text(spec.shape) if start.numbers else shape
        return f"{start.kernel.__name__}({', '.join(['rng', whole, *map(str, start.numbers), 'dtype'])})"
    if start.value == 0:
        return f"np.zeros({shape}, dtype)"
    return f"np.ones({shape}, dtype)" if spec.init == "ones" else f"np.full({shape}, {value_text(spec.init)}, dtype)"
