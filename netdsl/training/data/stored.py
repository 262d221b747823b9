"""Samples that are read when they are asked for, so that a data set may be larger than memory.

Everything below takes them as it takes an array: `x[rows]`, `x[3]` and `x[10:20]` are arrays, read at that moment.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from netdsl.ground.diagnostics import UserError
from netdsl.training.data.limits import MAX_BYTES

PIECE = 2**22  # bytes that are looked at together where all of it is

Change = Callable[[np.ndarray], np.ndarray]
"""What is made of samples (n, ...), each by itself."""


class Stored(ABC):
    """Samples `shape` = (N, *sample_shape) of one dtype somewhere else than in memory, or made of what is there.

    is_ready: whether to read them takes no time. spare: by how many places they may begin later, see `moved`.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_ready: bool = False
    spare: int = 0

    @abstractmethod
    def read(self, rows: np.ndarray) -> np.ndarray:
        """The samples (n, *sample_shape) of these rows, each 0 to N - 1, in their order. Raises UserError."""

    @abstractmethod
    def marks(self) -> Iterator[bytes | memoryview]:
        """What these samples are told from others by, for a digest: all their bytes, or those of evenly spaced ones
        where all would be more than MAX_BYTES."""

    def moved(self, offset: int) -> Stored:
        """The samples that begin so many places later, 0 to `spare`; those that are what they are do not move."""
        return self

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """The number of axes, that of the samples among them."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of values."""
        return math.prod(self.shape)

    def __getitem__(self, key: int | np.integer[Any] | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        if isinstance(key, int | np.integer):
            one: np.ndarray = self.read(np.array([range(len(self))[int(key)]]))[0]
            return one
        if isinstance(key, slice):
            return self.read(np.arange(*key.indices(len(self))))
        rows = np.asarray(key, np.int64)
        if rows.size and not -len(self) <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {len(self)}")
        return self.read(np.where(rows < 0, rows + len(self), rows))

    def __array__(self, dtype: np.dtype[Any] | None = None, copy: bool | None = None) -> np.ndarray:
        total = self.size * self.dtype.itemsize
        if total > MAX_BYTES:
            raise UserError(f"all samples together take {total} bytes, the limit is {MAX_BYTES}", help="take some rows")
        return np.asarray(self[:], dtype)


Samples = np.ndarray | Stored
"""(N, *sample_shape): in memory, or read when asked for."""


class _Chosen(Stored):
    """Some rows of others."""

    def __init__(self, base: Stored, rows: np.ndarray) -> None:
        self.base, self.rows, self.is_ready = base, rows, base.is_ready
        self.shape, self.dtype = (len(rows), *base.shape[1:]), base.dtype

    def read(self, rows: np.ndarray) -> np.ndarray:
        return self.base.read(self.rows[rows])

    def marks(self) -> Iterator[bytes | memoryview]:
        yield np.ascontiguousarray(self.rows, np.int64).tobytes()
        yield from self.base.marks()


class _Changed(Stored):
    """What a change makes of others; the change says by samples of zeros what shape and dtype it gives."""

    def __init__(self, base: Stored, change: Change) -> None:
        self.base, self.change = base, change
        sample = change(np.zeros((1, *base.shape[1:]), base.dtype))
        self.shape, self.dtype = (len(base), *sample.shape[1:]), sample.dtype

    def read(self, rows: np.ndarray) -> np.ndarray:
        return self.change(self.base.read(rows))

    def marks(self) -> Iterator[bytes | memoryview]:
        return self.base.marks()


class _Joined(Stored):
    """Those of several, one behind the other."""

    def __init__(self, parts: Sequence[Samples]) -> None:
        self.parts = parts
        self.starts = np.cumsum([0, *map(len, parts)])
        self.shape, self.dtype = (int(self.starts[-1]), *parts[0].shape[1:]), parts[0].dtype
        stored = [part for part in parts if isinstance(part, Stored)]
        self.is_ready, self.spare = all(part.is_ready for part in stored), max(part.spare for part in stored)

    def moved(self, offset: int) -> Stored:
        return _Joined([part.moved(offset) if isinstance(part, Stored) else part for part in self.parts])

    def read(self, rows: np.ndarray) -> np.ndarray:
        x = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for part, start, end in zip(self.parts, self.starts, self.starts[1:], strict=False):
            own = np.flatnonzero((start <= rows) & (rows < end))
            if own.size:
                x[own] = part[rows[own] - start]
        return x

    def marks(self) -> Iterator[bytes | memoryview]:
        for part in self.parts:
            yield from marks(part)


def chosen(x: Samples, rows: np.ndarray) -> Samples:
    """x[rows], of what is stored without reading it."""
    return _Chosen(x, rows) if isinstance(x, Stored) else x[rows]


def first(x: Samples, count: int | None) -> Samples:
    """x[:count], of what is stored without reading it."""
    if isinstance(x, Stored):
        return x if count is None or count >= len(x) else _Chosen(x, np.arange(count))
    return x[:count]


def each(x: Samples, change: Change) -> Samples:
    """change(x); of what is stored when it is read, some samples at a time."""
    return _Changed(x, change) if isinstance(x, Stored) else change(x)


def joined(parts: Sequence[Samples]) -> Samples:
    """The samples of all parts, of one shape and dtype, one behind the other."""
    if any(isinstance(part, Stored) for part in parts):
        return _Joined(parts)
    return np.concatenate([np.asarray(part) for part in parts])


def pieces(x: Samples, most: int = PIECE) -> Iterator[np.ndarray]:
    """The samples in order, as many together as take about so many bytes, at least one."""
    count = max(1, most // max(1, math.prod(x.shape[1:]) * x.dtype.itemsize))
    for start in range(0, len(x), count):
        yield x[start : start + count]


def in_batches(x: Samples, size: int) -> Generator[np.ndarray, None, None]:
    """x[:size], x[size : 2 * size] and so on. Of what takes time to read the next one is, by another thread, while the
    caller works with the one before; not before the caller has worked with the first, since that may begin processes,
    which have no threads of others."""
    starts = range(0, len(x), size)
    if not isinstance(x, Stored) or x.is_ready or len(starts) < 2:
        yield from (x[start : start + size] for start in starts)
        return
    yield x[:size]
    with ThreadPoolExecutor(1, "netdsl-read") as pool:
        coming = pool.submit(x.__getitem__, slice(size, 2 * size))
        for start in starts[2:]:
            ready, coming = coming.result(), pool.submit(x.__getitem__, slice(start, start + size))
            yield ready
        yield coming.result()


def bounds(x: Samples) -> tuple[float, float]:
    """The lowest and the highest of all values; 0 is among them where there are none."""
    low_high = [(float(piece.min()), float(piece.max())) for piece in pieces(x) if piece.size]
    return min((low for low, _ in low_high), default=0.0), max((high for _, high in low_high), default=0.0)


def marks(x: Samples) -> Iterator[bytes | memoryview]:
    """The bytes that samples are told from others by: all of an array, see `Stored.marks`."""
    if isinstance(x, Stored):
        yield from x.marks()
        return
    for piece in pieces(x):
        yield np.ascontiguousarray(piece).data


def spaced(count: int, most: int) -> np.ndarray:
    """Of the numbers 0 to count - 1 so many, at least one, that are evenly spaced; all where there are no more."""
    most = max(1, most)
    return np.arange(count) if count <= most else np.arange(most) * count // most
