"""Windows of whole numbers that follow each other, made when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from netdsl.training.data.stored import Stored


class Windows(Stored):
    """Windows (N, T) int64 of ids (L,), L > T, that lie next to each other; `ahead` says by how many numbers they are
    later, 1 for what follows each number.

    moves: they are so many that they may begin up to `spare` numbers later, see `moved`; over all of that every number
    comes. Else they are all, and the last one ends where the ids end, so that it may lie on the one before.
    """

    is_ready = True

    def __init__(self, ids: np.ndarray, length: int, ahead: int = 0, moves: bool = False, offset: int = 0) -> None:
        self.ids, self.length, self.ahead, self.moves, self.offset = ids, length, ahead, moves, offset
        self.last = len(ids) - 1 - length  # where the last window may begin
        assert self.last >= 0, f"{len(ids)} numbers for windows of {length} and what follows them"
        count = max(1, (len(ids) - length) // length) if moves else -(-(len(ids) - 1) // length)
        self.spare = len(ids) - 1 - count * length if moves else 0
        assert 0 <= offset <= self.spare, (offset, self.spare)
        self.shape, self.dtype = (count, length), np.dtype(np.int64)

    def moved(self, offset: int) -> Windows:
        """The windows that begin so many numbers later, 0 to `spare`; those that do not move as they are."""
        return Windows(self.ids, self.length, self.ahead, True, offset) if self.moves else self

    def read(self, rows: np.ndarray) -> np.ndarray:
        """rows (n,) -> (n, T)."""
        starts = np.minimum(rows * self.length + self.offset, self.last) + self.ahead
        windows: np.ndarray = self.ids[starts[:, None] + np.arange(self.length)]
        return windows.astype(np.int64)

    def marks(self) -> Iterator[bytes | memoryview]:
        yield f"{len(self.ids)} {self.length} {self.ahead} {self.moves}\n".encode()
        if not self.ahead:  # the same ids
            yield np.ascontiguousarray(self.ids).data
