"""How far to the right each place of a drawing stands.

Each row is moved towards what it is connected to, which is a least squares problem with the row's order and space
between neighbours as constraint; pooling neighbours solves it (isotonic regression).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from netdsl.analysis.places import Place

SPACE = 18.0  # between neighbours of a row
LANE = 4.0  # width of a line that passes a row
SPREAD = 20.0  # between lines that enter a place
WEAK, STEADY, STRAIGHT = 1e-3, 16.0, 1e5  # pulls: of a line that passes by others, of its way, of a chain; else 1
ROUNDS = 25  # odd: the last turn goes down


def strengthen(places: list[Place]) -> None:
    """Plain chains and lines that pass rows are to be straight."""
    for place in places:
        strong = [step for step in place.below if step.weight >= 1]
        if (
            place.number is not None
            and len(strong) == 1
            and sum(step.weight >= 1 for step in strong[0].lower.above) == 1
        ):
            strong[0].weight = STRAIGHT


def spread(place: Place, known: Mapping[int, float]) -> None:
    """Where the lines enter: the one strong line in the middle and others on their side of it, or evenly spread."""
    steps = sorted(place.above, key=lambda s: s.upper.rank)
    strong = [i for i, step in enumerate(steps) if step.weight >= 1]
    centre = strong[0] if len(strong) == 1 else (len(steps) - 1) / 2
    space = min(SPREAD, (place.width - 16) / 2 / max(1.0, centre, len(steps) - 1 - centre))
    for i, step in enumerate(steps):
        step.end = known.get(step.key, place.width / 2 + (i - centre) * space)


def align(rows: list[list[Place]]) -> None:
    """Each row moved to what stands above it, or below it, by turns; the last turn goes down."""
    for row in rows:
        _move(row, [(0.0, 1.0)] * len(row))
    for turn in range(ROUNDS):
        is_down = turn % 2 == 0
        for row in rows if is_down else reversed(rows):
            _move(row, [_pull(place, is_down) for place in row])
    for lane in _lanes(rows):
        _straighten(lane, rows)


def _lanes(rows: list[list[Place]]) -> list[list[Place]]:
    """The points of each line on its way, from above to below."""
    lanes = []
    for place in (place for row in rows for place in row if place.number is not None):
        for point in (step.lower for step in place.below if step.lower.number is None):
            lane = [point]
            while more := [step.lower for step in lane[-1].below if step.lower.number is None]:
                lane.append(more[0])
            lanes.append(lane)
    return lanes


def _straighten(lane: list[Place], rows: list[list[Place]]) -> None:
    """One x for all points, where their neighbours leave room for it."""
    least, most = -inf, inf
    for place in lane:
        row = rows[place.row]
        if place.rank:
            before = row[place.rank - 1]
            least = max(least, before.x + before.width + SPACE)
        if place.rank + 1 < len(row):
            most = min(most, row[place.rank + 1].x - SPACE - LANE)
    if least <= most:
        x = min(max(sum(place.x for place in lane) / len(lane), least), most)
        for place in lane:
            place.x = x


def _pull(place: Place, is_down: bool) -> tuple[float, float]:
    """Where its lines from above (else to below) would have its left edge, and how strongly."""
    if is_down:
        goals = [(step.upper.x + step.start - step.end, step.weight) for step in place.above]
    else:
        goals = [(step.lower.x + step.end - step.start, step.weight) for step in place.below]
    weight = sum(w for _, w in goals)
    return (sum(goal * w for goal, w in goals) / weight, weight) if goals else (place.x, WEAK)


def _move(row: list[Place], pulls: list[tuple[float, float]]) -> None:
    """The x of a row that are nearest to the goals, in order and with space between."""
    offsets = [0.0]
    for place in row[:-1]:
        offsets.append(offsets[-1] + place.width + SPACE)
    blocks: list[list[float]] = []  # sum of weighted goals, of weights, number of places
    for (goal, weight), offset in zip(pulls, offsets, strict=True):
        blocks.append([(goal - offset) * weight, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, more, count = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + more, blocks[-1][2] + count]
    lefts = [total / weight for total, weight, count in blocks for _ in range(int(count))]
    for place, left, offset in zip(row, lefts, offsets, strict=True):
        place.x = left + offset
