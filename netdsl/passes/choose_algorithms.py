"""Which of the ways to compute a layer is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from netdsl.ground.samples import SAMPLES
from netdsl.layers.contract import StageCall

Choice = Callable[[Sequence[StageCall], bool], StageCall]
"""choose(ways, training) -> one of the ways, of which there is one or more."""

_CLOSE, _MOST = 1.3, 4  # ways whose estimates lie within this factor are measured; as many at most


def cheapest(ways: Sequence[StageCall], training: bool, samples: int = SAMPLES) -> StageCall:
    """The way of the lowest estimated cost. Depends on the graph alone: the same text on every machine."""
    return min(ways, key=lambda way: way.cost(samples, training))


def direct(samples: int = SAMPLES) -> Choice:
    """The cheapest way in which every number of the output comes from its own window alone (-O1): a NaN or an outlier
    stays where it is, and zeros stay zeros."""
    return lambda ways, training: cheapest([way for way in ways if way.kernel.can.is_local], training, samples)


def chosen(answers: Mapping[str, str], samples: int = SAMPLES) -> Choice:
    """The way that was measured to be the fastest (bench.tuning), where there is an answer, else the cheapest."""
    if not answers:
        return lambda ways, training: cheapest(ways, training, samples)

    def choose(ways: Sequence[StageCall], training: bool) -> StageCall:
        close = worth_measuring(ways, training, samples)
        answer = answers.get(name_of(close, training))
        return next((way for way in close if way.text == answer), cheapest(ways, training, samples))

    return choose


def worth_measuring(ways: Sequence[StageCall], training: bool, samples: int) -> list[StageCall]:
    """The ways whose estimates lie close to the lowest, that first."""
    costs = {way.text: way.cost(samples, training) for way in ways}
    ordered = sorted(ways, key=lambda way: costs[way.text])
    return [way for way in ordered if costs[way.text] <= _CLOSE * costs[ordered[0].text]][:_MOST]


def name_of(ways: Sequence[StageCall], training: bool) -> str:
    """The question which of these ways is the fastest, as a text."""
    if not ways:
        return ""
    return f"{'step' if training else 'inference'}: {' or '.join(way.text for way in ways)}"
