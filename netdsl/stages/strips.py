"""Columns of a map at the points of a transform along H, and the sums over the taps along W there.

A column of points is a long row of memory, so what the taps see are views that overlap: all of them go through one
call. Along W the columns are sorted by their number modulo the stride, so that this holds for every stride.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from netdsl.kernels.arrays import Array
from netdsl.stages.matrices import product

Product = tuple[Array, Array, Array]
"""given, factors, out = given @ factors, for every point and tap."""


def along_h(matrix: Array, x: Array, out: Array) -> None:
    """matrix (m, k) @ x (k, columns, Q) -> out (m, columns, Q); Q numbers lie together, columns may lie apart."""
    if matrix.size == 0:
        out[...] = 0
    elif x.strides[1] == out.strides[1] == out.shape[2] * out.itemsize:
        product(matrix, x.reshape(len(x), -1), out.reshape(len(out), -1), 2048)
    else:
        np.matmul(matrix, x.swapaxes(0, 1), out=out.swapaxes(0, 1))


@dataclasses.dataclass(frozen=True)
class Taps:
    """The taps along W that see columns of x of one rest modulo the stride: `taps` of the kernel see `columns`, `size`
    of x. Output j sees with the first of `count` taps column j - before of them, with the next one the next column."""

    columns: slice
    size: int
    taps: slice
    count: int
    before: int


def taps_by_rest(width: int, columns: int, step: int, left: int) -> list[Taps]:
    """The taps of a kernel of so many columns for each rest modulo the stride."""
    every = []
    for rest in range(step):
        first = (rest + left) % step
        seen, taps = slice(rest, None, step), slice(first, None, step)
        size, count = len(range(width)[seen]), len(range(columns)[taps])
        every.append(Taps(seen, size, taps, count, -((first - left) // step)))
    return every


class Frame:
    """Columns at the points, (points, columns, Q): `size` of them, with zeros before and behind."""

    def __init__(self, room: Array, before: int, size: int, columns: int, q: int) -> None:
        """room (points, columns * Q or more); so many columns with the zeros."""
        self.whole = room[:, : columns * q].reshape(len(room), columns, q)
        self.before, self.size = before, size
        self.inside = self.whole[:, before : before + size]
        self.zeros = self.whole[:, :before], self.whole[:, before + size :]

    def clear(self) -> None:
        """Zeros where no column lies."""
        for zeros in self.zeros:
            zeros[...] = 0

    def fill(self, columns: slice, begin: int, end: int) -> tuple[slice, Array]:
        """Of `columns` that lie inside those before `end`, but not those before `begin`, numbers of columns of the
        whole: (which they are, their place)."""
        low, high = (min(max(column - self.before, 0), self.size) for column in (begin, end))
        start, step = columns.start, columns.step
        return slice(start + low * step, start + high * step, step), self.inside[:, low:high]

    def windows(self, begin: int, end: int, taps: int, channels: int) -> Array:
        """A view (points, taps, (end - begin) * n, channels): what the first tap sees at columns begin..end-1, the next
        one one column on."""
        points, _, q = self.whole.shape
        row, column, item = self.whole.strides
        shape = (points, taps, (end - begin) * q // channels, channels)
        return np.lib.stride_tricks.as_strided(self.whole[:, begin:], shape, (row, column, channels * item, item))


class Strip:
    """Columns of what is made, at `place`. fills (columns, out): those of the given rows that its taps see and that are
    not at the points yet. products: what each tap makes at each point, which is `sums` (rows, columns, Q). A matrix
    that has each of its columns once for every tap adds them up.
    """

    def __init__(self, place: slice, fills: list[tuple[slice, Array]], products: list[Product], sums: Array) -> None:
        self.place, self.fills, self.products, self.sums = place, fills, products, sums

    def fill(self, matrix: Array, rows: Array) -> None:
        """rows (R, columns, Q) go to the points, by the matrix."""
        for columns, out in self.fills:
            if out.size:
                along_h(matrix, rows[:, columns], out)

    def make(self) -> None:
        """From the points to the sums."""
        for given, factors, out in self.products:
            np.matmul(given, factors, out=out)


def cuts(size: int, longest: int) -> list[tuple[int, int]]:
    """(begin, end) of parts of about the same size."""
    count = -(-size // longest)
    return [(i * size // count, (i + 1) * size // count) for i in range(count)]
