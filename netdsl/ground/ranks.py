"""The processes that train one network together, as one of them sees them. This file knows no way to reach others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class Ranks:
    """One process alone; what joins others overrides all of it (netdsl.targets.torch.ranks).

    rank: the number of this process, from 0; count: how many there are. Methods that speak to the others are called by
    all of them, in the same order; they raise `ModelEnded` where one has ended. The first one alone writes and speaks.
    """

    rank, count = 0, 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the run and tells the user."""
        return self.rank == 0

    @property
    def is_first_here(self) -> bool:
        """Whether this is the first process of its machine."""
        return self.is_first

    @property
    def are_many(self) -> bool:
        """Whether there is another one."""
        return self.count > 1

    def part(self, n: int) -> slice:
        """Which of n samples are this process's: pieces in a row, the first ones larger by one."""
        each, more = divmod(n, self.count)
        start = self.rank * each + min(self.rank, more)
        return slice(start, start + each + (self.rank < more))

    def total(self, numbers: Sequence[float]) -> list[float]:
        """The sum over all processes of each number."""
        return list(numbers)

    def shared(self, make: Callable[[], T]) -> T:
        """What `make` gives to the first process, for all; what it raises there is raised by all."""
        return make()

    def check(self, device: str, is_sharded: bool) -> None:
        """Raises UserError where this process cannot compute on a device of that name beside the others; is_sharded:
        each keeps a part of the params."""

    def close(self) -> None:
        """Parts from the others, after a good end."""

    def begun(self) -> Path | None:
        """The run that earlier processes of the same launcher began, before it restarted them; None without one."""
        return None

    def note_begun(self, run: Path) -> None:
        """Lets the launcher remember the run that the first process begins."""


ALONE = Ranks()


class SaidElsewhere(Exception):
    """Another process tells the user why this one ends. code: this one's exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code
