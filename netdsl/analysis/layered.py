"""Where the boxes of a drawing go: a layered layout, top to bottom, in which no line crosses a box.

The steps of Sugiyama, Tagawa & Toda (1981): boxes to rows by their longest path, points on the way of lines that skip
rows, an order within each row with few crossings, then x: each row is moved towards what it is connected to, which is
a least squares problem with the order as constraint, solved by pooling neighbours (isotonic regression).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from netdsl.analysis.alignment import LANE, STEADY, WEAK, align, spread, strengthen
from netdsl.analysis.places import Place, Step, ordered

GAP, MOST_GAP = 20.0, 44.0  # between rows: more where a line goes far to the side


@dataclass(frozen=True)
class Piece:
    """What is placed. enters, leaves: where the line of a key enters at the top or leaves at the bottom, from the left
    edge; in the middle, or spread around it, where nothing is said."""

    width: float
    height: float
    enters: Mapping[int, float] = field(default_factory=dict)
    leaves: Mapping[int, float] = field(default_factory=dict)
    is_last: bool = False


@dataclass(frozen=True)
class Line:
    """Down from ys[0] to ys[1] at x1, over to x2 at ys[2], down to ys[3]. piece: the number of the one that it enters
    there; None on its way."""

    x1: float
    x2: float
    ys: tuple[float, float, float, float]
    piece: int | None


@dataclass(frozen=True)
class Layout:
    """The left upper corner of each piece, all lines, and the size of everything."""

    corners: tuple[tuple[float, float], ...]
    lines: tuple[Line, ...]
    width: float
    height: float


def lay_out(pieces: Sequence[Piece], links: Sequence[tuple[int, int, int]]) -> Layout:
    """pieces in an order in which each stands behind what it reads; links: (from, to, key), lines of one key from one
    piece run together. Deterministic."""
    places = _rows(pieces, links)
    _connect(places, pieces, links)
    strengthen(places)
    rows = ordered(places)
    for row in rows:
        for place in row:
            if place.number is not None:
                spread(place, pieces[place.number].enters)
    align(rows)
    return _layout(rows, len(pieces))


def _rows(pieces: Sequence[Piece], links: Sequence[tuple[int, int, int]]) -> list[Place]:
    row = [0] * len(pieces)
    readers: dict[int, list[int]] = {}
    for source, target, _ in links:
        readers.setdefault(target, []).append(source)
    for number in range(len(pieces)):
        row[number] = max((row[source] + 1 for source in readers.get(number, [])), default=0)
    last = max(row, default=0)
    return [
        Place(last if piece.is_last else row[number], piece.width, piece.height, number)
        for number, piece in enumerate(pieces)
    ]


def _connect(places: list[Place], pieces: Sequence[Piece], links: Sequence[tuple[int, int, int]]) -> None:
    """Makes the steps, and adds the points of lines that skip rows."""
    uses: dict[tuple[int, int], int] = {}
    for source, _, key in links:
        uses[source, key] = uses.get((source, key), 0) + 1
    points: dict[tuple[int, int, int], Place] = {}
    made: set[tuple[int, int, int, int]] = set()
    for source, target, key in links:
        upper, goal = places[source], places[target]
        is_weak = uses[source, key] > 1 and goal.row > upper.row + 1
        for row in range(upper.row + 1, goal.row):
            if (source, key, row) not in points:
                points[source, key, row] = Place(row, LANE, 0.0, None, key)
                places.append(points[source, key, row])
            lower = points[source, key, row]
            if not any(step.lower is lower for step in upper.below):
                _join(upper, lower, key, STEADY if upper.number is None else WEAK if is_weak else 1.0, pieces)
            upper = lower
        if (source, target, key, goal.row) not in made:
            made.add((source, target, key, goal.row))
            _join(upper, goal, key, WEAK if is_weak else 1.0, pieces)


def _join(upper: Place, lower: Place, key: int, weight: float, pieces: Sequence[Piece]) -> None:
    start = upper.width / 2 if upper.number is None else pieces[upper.number].leaves.get(key, upper.width / 2)
    step = Step(upper, lower, key, weight, start, lower.width / 2)
    upper.below.append(step)
    lower.above.append(step)


def _layout(rows: list[list[Place]], count: int) -> Layout:
    left = min((place.x for row in rows for place in row), default=0.0)
    for place in (place for row in rows for place in row):
        place.x = round(place.x - left, 1)
    bands = _bands(rows)
    corners = [(0.0, 0.0)] * count
    for row, (top, bottom) in zip(rows, bands, strict=True):
        for place in row:
            if place.number is not None:
                corners[place.number] = (place.x, top + (bottom - top - place.height) / 2)
    lines = [_line(step, bands, corners) for row in rows for place in row for step in place.below]
    width = max((place.x + place.width for row in rows for place in row), default=0.0)
    return Layout(tuple(corners), tuple(lines), width, bands[-1][1] if bands else 0.0)


def _bands(rows: list[list[Place]]) -> list[tuple[float, float]]:
    """Top and bottom of each row."""
    bands = []
    top = 0.0
    for row in rows:
        bottom = top + max(place.height for place in row)
        bands.append((top, bottom))
        far = max((abs(s.upper.x + s.start - s.lower.x - s.end) for place in row for s in place.below), default=0.0)
        top = bottom + round(min(MOST_GAP, GAP + far / 8))
    return bands


def _line(step: Step, bands: list[tuple[float, float]], corners: list[tuple[float, float]]) -> Line:
    """A line from the bottom of the upper place to the top of the lower; through the row of a point that it passes."""
    upper, lower = step.upper, step.lower
    row_end, next_row = bands[upper.row][1], bands[lower.row]
    start = row_end if upper.number is None else corners[upper.number][1] + upper.height
    end = next_row[1] if lower.number is None else corners[lower.number][1]
    return Line(upper.x + step.start, lower.x + step.end, (start, row_end, next_row[0], end), lower.number)
