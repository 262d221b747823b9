"""How the params of a network start under a scheme, the same in every target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from netdsl.analysis.residuals import residual_ends
from netdsl.graph.ir import Graph, ParamSpec
from netdsl.graph.recipe import SCHEMES
from netdsl.kernels.arrays import Array
from netdsl.kernels.initial import normal, torch_uniform


@dataclass(frozen=True)
class Start:
    """kernel(rng, shape, *numbers, dtype) draws the first values; None: they are all `value`."""

    kernel: Callable[..., Array] | None
    numbers: tuple[int, ...] = ()
    value: float = 0.0


def param_starts(graph: Graph, scheme: str) -> list[tuple[str, ParamSpec, Start]]:
    """Full name, spec and start of every param, in the order of the spec, in which they are drawn."""
    starts, (ends, branches) = SCHEMES[scheme], residual_ends(graph)
    made = []
    for name, spec in graph.param_specs():
        is_end = starts.end is not None and name in ends
        made.append((name, spec, Start(starts.end, (branches,)) if is_end else _start(spec, scheme)))
    return made


def buffer_starts(graph: Graph) -> list[tuple[str, ParamSpec, Start]]:
    """The same of every buffer; nothing of these is drawn."""
    return [(name, spec, _constant(spec)) for name, spec in graph.buffer_specs()]


def _start(spec: ParamSpec, scheme: str) -> Start:
    starts, fans = SCHEMES[scheme], (spec.fan_in, spec.fan_out)
    if spec.init == "uniform":
        return Start(torch_uniform, fans)
    kernels = {"weight": starts.weight, "bias": starts.bias, "normal": normal, "embedding": starts.embedding}
    kernel = kernels.get(str(spec.init))
    if kernel is None:
        return _constant(spec)
    return Start(kernel, fans if spec.init in ("weight", "bias") and starts.takes_fans else ())


def _constant(spec: ParamSpec) -> Start:
    value = {"zeros": 0.0, "bias": 0.0, "ones": 1.0}[spec.init] if isinstance(spec.init, str) else spec.init
    return Start(None, value=value)
