"""Places in the rows of a drawing, and their order in each row: one with few lines that cross."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

ROUNDS = 24


@dataclass
class Place:
    """A piece, or a point where a line passes a row (number None)."""

    row: int
    width: float
    height: float
    number: int | None
    key: int = 0
    x: float = 0.0
    rank: int = 0
    above: list[Step] = field(default_factory=list)
    below: list[Step] = field(default_factory=list)


@dataclass
class Step:
    """A line from one row to the next; `start` and `end` are distances from the left edges of its places."""

    upper: Place
    lower: Place
    key: int
    weight: float
    start: float
    end: float


def ordered(places: list[Place]) -> list[list[Place]]:
    """The rows: first as the readers read, then sorted by the middle of the neighbours while crossings get fewer."""
    _first_order(places)
    rows: list[list[Place]] = [[] for _ in range(max((p.row for p in places), default=-1) + 1)]
    for place in sorted(places, key=lambda p: p.rank):
        rows[place.row].append(place)
    best, fewest = [list(row) for row in rows], _rank(rows)
    for attempt in range(ROUNDS):
        if not fewest:
            break
        is_down = attempt % 2 == 0
        for row in rows[1:] if is_down else rows[-2::-1]:
            row.sort(key=partial(_middle, is_down=is_down))
            for rank, place in enumerate(row):
                place.rank = rank
        crossings = _rank(rows)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    _rank(best)
    return best


def _first_order(places: list[Place]) -> None:
    """Ranks by depth first, from the places that nobody reads, along the lines as they are read."""
    seen: set[int] = set()
    rank = 0
    for end in places:
        pending = [] if end.below else [(end, False)]
        while pending:
            place, is_done = pending.pop()
            if is_done:
                place.rank = rank
                rank += 1
            elif id(place) not in seen:
                seen.add(id(place))
                pending.append((place, True))
                pending += [(step.upper, False) for step in reversed(place.above)]


def _middle(place: Place, is_down: bool) -> float:
    """The mean rank of what stands above it, or below it."""
    ranks = [step.upper.rank for step in place.above] if is_down else [step.lower.rank for step in place.below]
    return sum(ranks) / len(ranks) if ranks else place.rank


def _rank(rows: list[list[Place]]) -> int:
    """Sets each place's rank in its row; returns how many lines cross."""
    for row in rows:
        for rank, place in enumerate(row):
            place.rank = rank
    crossings = 0
    for row in rows:
        ends = [step.lower.rank for place in row for step in sorted(place.below, key=lambda s: s.lower.rank)]
        crossings += sum(a > b for i, a in enumerate(ends) for b in ends[i + 1 :])
    return crossings
