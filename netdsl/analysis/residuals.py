"""Where residual branches end: the weights that make what is added to the value that goes past them."""

from __future__ import annotations

from collections.abc import Iterator

from netdsl.graph.ir import Graph, Node

JOINS = ("add", "cat")  # what hands on all that is brought to it


def residual_ends(graph: Graph) -> tuple[frozenset[str], int]:
    """The full names of the weights that residual branches end in, and how many branches there are.

    A branch is an input of an `add` that is made from another input of it, whatever that is called in the spec. It ends
    in the last layer with a weight, behind which may be layers without params, as dropout; where several are added or
    stand side by side, in that of each. Behind a norm no weight says how large a branch is, so that it has no end.
    """
    ends: set[str] = set()
    branches = 0
    for node in graph.nodes:
        if node.op != "add":
            continue
        past = min(node.inputs)  # values are numbered in the order in which they are made
        for value in node.inputs:
            if value != past and _depends(graph, value, past):
                branches += 1
                ends |= set(_ends(graph, value, past))
    return frozenset(ends), branches


def _depends(graph: Graph, value: int, on: int) -> bool:
    """Whether a value is made from an earlier one."""
    pending, seen = [value], {value}
    while pending:
        maker = graph.maker_of(pending.pop())
        for source in () if maker is None else maker.inputs:
            if source == on:
                return True
            if source > on and source not in seen:
                seen.add(source)
                pending.append(source)
    return False


def _ends(graph: Graph, value: int, past: int) -> Iterator[str]:
    """The weights that a branch ends in, which begins with the value `past`."""
    pending, seen = [value], {value}
    while pending:
        node = graph.maker_of(pending.pop())
        assert node is not None, "a branch is made from another value"
        weight = _last_weight(node)
        if weight is not None:
            yield weight
        elif not node.params and (len(node.inputs) == 1 or node.op in JOINS):
            sources = [source for source in node.inputs if source > past and source not in seen]
            seen.update(sources)
            pending += sources


def _last_weight(node: Node) -> str | None:
    """The weight by which a layer makes its output, if it has one."""
    weights = [p for p in node.params if p.init == "weight" and (p.name == "weight" or p.name.endswith(".weight"))]
    return weights[-1].full_name(node.owner) if weights else None
