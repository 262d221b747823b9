"""Which of the ways to compute a layer is taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from netdsl.ir import Node
from netdsl.layers.contract import StageCall

Choice = Callable[[Node, Sequence[StageCall], bool], StageCall]
"""choose(node, ways, training) -> one of the ways, of which there is one or more."""


def cheapest(node: Node, ways: Sequence[StageCall], training: bool) -> StageCall:
    """The way of the lowest estimated cost. Depends on the graph alone: the same text on every machine."""
    return min(ways, key=lambda way: way.costs[0 if training else 1])
