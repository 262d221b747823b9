"""Which of the ways to compute a layer is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from netdsl.layers.contract import StageCall

Choice = Callable[[Sequence[StageCall], bool], StageCall]
"""choose(ways, training) -> one of the ways, of which there is one or more."""

_CLOSE, _MOST = 1.3, 3  # ways whose estimates lie within this factor are measured; as many at most


def cheapest(ways: Sequence[StageCall], training: bool) -> StageCall:
    """The way of the lowest estimated cost. Depends on the graph alone: the same text on every machine."""
    return min(ways, key=lambda way: way.costs[0 if training else 1])


def direct(ways: Sequence[StageCall], training: bool) -> StageCall:
    """The cheapest way in which every number of the output comes from its own window alone (-O1): a NaN or an outlier
    stays where it is, and zeros stay zeros."""
    return cheapest([way for way in ways if way.kernel.can.is_local], training)


def chosen(answers: Mapping[str, str]) -> Choice:
    """The way that was measured to be the fastest (bench.tuning), where there is an answer, else the cheapest."""

    def choose(ways: Sequence[StageCall], training: bool) -> StageCall:
        close = worth_measuring(ways, training)
        answer = answers.get(name_of(close, training))
        return next((way for way in close if way.text == answer), cheapest(ways, training))

    return choose


def worth_measuring(ways: Sequence[StageCall], training: bool) -> list[StageCall]:
    """The ways whose estimates lie close to the lowest, that first."""
    ordered = sorted(ways, key=lambda way: way.costs[0 if training else 1])
    return [way for way in ordered if way.costs[0 if training else 1] <= _CLOSE * cost_of(ordered, training)][:_MOST]


def cost_of(ordered: Sequence[StageCall], training: bool) -> float:
    return ordered[0].costs[0 if training else 1] if ordered else 0.0


def name_of(ways: Sequence[StageCall], training: bool) -> str:
    """The question which of these ways is the fastest, as a text."""
    if not ways:
        return ""
    return f"{'step' if training else 'inference'}: {' or '.join(way.text for way in ways)}"
