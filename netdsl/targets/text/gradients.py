"""The way back in straight-line code: which variable holds the gradient by which value, and how gradients add up."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

from netdsl.targets.text.variables import names


class Gradients:
    """The variables in which gradients by values are, while statements are written last to first.

    add: how one is added to another, `{0} += {1}`.
    """

    def __init__(self, last: int, variable: str, add: str) -> None:
        self.held = {last: variable}
        self._add = add

    def take(self, value: int) -> str | None:
        """The variable of a gradient that is complete, which nobody asks for again; None where there is none."""
        return self.held.pop(value, None)

    def send(self, values: Sequence[int], wanted: Container[int]) -> tuple[list[str], list[str]]:
        """What a statement assigns the gradients by these values to, `_` where one is not wanted; and the lines behind
        it. A value that several statements read gets the sum of what they send, in the order in which they do."""
        targets: list[str] = []
        sums: list[str] = []
        for value in values:
            if value not in wanted:
                targets.append("_")
                continue
            name = next(name for name in _names() if name not in (*self.held.values(), *targets))
            targets.append(name)
            if value in self.held:
                sums.append(self._add.format(self.held[value], name))
            else:
                self.held[value] = name
        return targets, sums


def _names() -> Iterator[str]:
    """dy, dz, da, ...; dx is kept for kernels."""
    return (f"d{name}" for name in names() if name != "x")
