"""How the params of an emitted PyTorch module start, where they do not as in PyTorch: those of a GPT."""

from __future__ import annotations

import textwrap

from netdsl.analysis.starts import Start, param_starts
from netdsl.graph.ir import Graph, ParamSpec
from netdsl.graph.recipe import SCHEMES
from netdsl.kernels.initial import normal, residual_end

START = '''\
def start_as_gpt(network, ends, branches, others):
    """Weights start normal with standard deviation 0.02, where they end one of so many residual branches divided by the
    root of their number, and biases at 0 (Radford et al. 2019); others: what starts as in PyTorch."""
    for name, param in network.named_parameters():
        if name in others:
            continue
        if "bias" in name.rpartition(".")[2]:
            nn.init.zeros_(param)
        elif param.dim() > 1:
            nn.init.normal_(param, std=0.02 / branches**0.5 if name in ends else 0.02)'''
"""The function that a module calls once it is made."""

WIDTH = 112  # columns of a line in a constructor


def start_lines(graph: Graph, scheme: str) -> tuple[str, ...]:
    """The lines of the constructor that call it; none where params start as in PyTorch, or as netdsl gives them."""
    if SCHEMES[scheme].end is not residual_end:
        return ()
    starts = param_starts(graph, scheme)
    ends = [name for name, _, start in starts if start.kernel is residual_end]
    branches = next((start.numbers[0] for *_, start in starts if start.kernel is residual_end), 1)
    others = [name for name, spec, start in starts if _is_other(name, spec, start)]
    one = f"start_as_gpt(self, {_tuple_text(ends)}, {branches}, {_tuple_text(others)})"
    if len(one) <= WIDTH:
        return (one,)
    return ("start_as_gpt(", "    self,", *_tuple_lines(ends), f"    {branches},", *_tuple_lines(others), ")")


def _is_other(name: str, spec: ParamSpec, start: Start) -> bool:
    """Whether the function would start a param otherwise than it does in NumPy."""
    _, *more = spec.shape
    if "bias" in name.rpartition(".")[2]:
        return start.kernel is not None or start.value != 0
    return bool(more) and start.kernel not in (normal, residual_end)


def _tuple_text(names: list[str]) -> str:
    """The names in a tuple."""
    return f"({', '.join(map(_quoted, names))}{',' if len(names) == 1 else ''})"


def _quoted(name: str) -> str:
    return f'"{name}"'


def _tuple_lines(names: list[str]) -> list[str]:
    """The names in a tuple, as many in a line as fit."""
    if not names:
        return ["    (),"]
    quoted = textwrap.wrap(" ".join(f"{_quoted(name)}," for name in names), WIDTH - 8)
    return ["    (", *(f"        {line}" for line in quoted), "    ),"]
