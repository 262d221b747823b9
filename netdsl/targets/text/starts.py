"""How the params and buffers of an emitted NumPy module start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netdsl.graph.ir import Graph, ParamSpec
from netdsl.graph.recipe import SCHEMES
from netdsl.ground.symbols import value_text
from netdsl.kernels.initial import embedding, normal, torch_uniform
from netdsl.targets.dialect import Dialect


def start_kernels(graph: Graph, scheme: str) -> list[Callable[..., Any]]:
    """The kernels that draw the first params."""
    kinds = {spec.init for _, spec in graph.param_specs()}
    starts = (*with_fans(scheme).items(), ("normal", normal), ("embedding", embedding))
    return list(dict.fromkeys(start for kind, start in starts if kind in kinds and start is not None))


def with_fans(scheme: str) -> dict[str | float, Callable[..., Any] | None]:
    """A ParamSpec's init -> what draws it by its fans; None: nothing is drawn."""
    return {"weight": SCHEMES[scheme].weight, "bias": SCHEMES[scheme].bias, "torch": torch_uniform}


def dictionary(specs: list[tuple[str, ParamSpec]], scheme: str, dialect: Dialect) -> dict[str, object]:
    """What a template writes a dictionary of arrays with: `open`, its first line, and its `lines`."""
    lines = [dialect.line_of(f'"{name}": {_start(spec, scheme)},') for name, spec in specs]
    return {"open": "{" if lines else "{}", "lines": lines}


def _start(spec: ParamSpec, scheme: str) -> str:
    start = with_fans(scheme).get(spec.init)
    if start is not None:
        return f"{start.__name__}(rng, {value_text(spec.shape)}, {spec.fan_in}, {spec.fan_out}, dtype)"
    size, *more = spec.shape
    shape = value_text(spec.shape if more else size)
    if spec.init in ("normal", "embedding"):
        return f"{spec.init}(rng, {shape}, dtype)"
    if spec.init in ("zeros", "bias"):
        return f"np.zeros({shape}, dtype)"
    return f"np.ones({shape}, dtype)" if spec.init == "ones" else f"np.full({shape}, {value_text(spec.init)}, dtype)"
