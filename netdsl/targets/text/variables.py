"""Names of variables for straight-line code over a graph: few of them, and each for one thing at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

Step = tuple[tuple[int, ...], tuple[int, ...]]
"""The values a statement reads, and those it makes."""


def names() -> Iterator[str]:
    """x, y, z, a, c, ..., w, then v1, v2, ...; b and p are the buffers and params of a NumPy module."""
    yield from "xyz"
    yield from "acdefghijklmnoqrstuw"
    for number in count(1):
        yield f"v{number}"


def variables(steps: Sequence[Step], sources: Sequence[int], results: Sequence[int]) -> dict[int, str]:
    """A name for each value, so that no two values that are still needed share one.

    The sources are x, y, ... A step that reads a value for the last time passes its name on; a chain is all `x`, and
    beside a value that is needed again the branch is `y`.
    """
    last = {value: index for index, (reads, _) in enumerate(steps) for value in reads}
    last |= dict.fromkeys(results, len(steps))
    named = dict(zip(sources, names(), strict=False))
    held = {named[value] for value in sources if value in last}
    for index, (reads, makes) in enumerate(steps):
        freed = [named[value] for value in dict.fromkeys(reads) if last[value] == index and named[value] in held]
        held.difference_update(freed)
        freed.sort(key=lambda name: name != "x")
        for made in makes:
            named[made] = freed.pop(0) if freed else next(name for name in names() if name not in held)
            if made in last:
                held.add(named[made])
    return named
