"""How an emitted network checks the numbers of a vocabulary that it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netdsl.graph.ir import Graph
from netdsl.ground.symbols import value_text
from netdsl.kernels.ids import check_ids
from netdsl.targets.text.emission import Method


def sequence_kernels(graph: Graph) -> list[Callable[..., Any]]:
    """The kernels that `sequence_methods` call."""
    return [check_ids] if any(given.type.is_ids for given in graph.inputs) else []


def dtype_methods(graph: Graph) -> list[Method]:
    """What the inputs of a fast network are that are not of its dtype."""
    named = [f"input {given.name or 'x'}" if not graph.is_plain else "x" for given in graph.inputs if given.type.is_ids]
    if not named:
        return []
    whole = ", ".join(f"{value_text(name)}: np.int64" for name in named)
    return [Method("input_dtypes(self)", "What the workers call an input -> what it is.", (f"return {{{whole}}}",))]


def sequence_methods(graph: Graph) -> list[Method]:
    """What stands in place of the check of other inputs."""
    if not sequence_kernels(graph):
        return []
    if graph.is_plain:
        x = graph.input_type
        doc = f"x (N, {x.length}), whole numbers from 0 to {x.limit - 1} -> the same as int64."
        line = f"return check_ids(x, {x.length}, {x.limit})"
        return [Method("check_input(self, x)", f"{doc} Raises ValueError.", (line,))]
    numbers = [
        f"check_ids(x, {given.type.length}, {given.type.limit}) if name == {value_text(given.name or 'x')} else "
        for given in graph.inputs
        if given.type.is_ids
    ]
    doc = "x (N, *shape) of the input of that name -> the same in the network's dtype, ids as int64. Raises ValueError."
    line = f"return {''.join(numbers)}self.check_floats(name, x)"
    return [Method("check_named(self, name, x)", doc, (line,))]
