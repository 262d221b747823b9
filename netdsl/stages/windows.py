"""Sums over windows of long rows, each channel by itself: what depthwise convolution and average pooling share.

Measured on one core of an AVX2 machine (AMD Zen 3), float32, milliseconds forward, 3x3, 96 channels, 56x56, batch 8;
PyTorch takes 1.3. Multiply and add, row by row of the output: 8.9. np.einsum over the windows: 4.2, which is 5
multiply-adds a nanosecond, as fast as its loop gets. Estimated from the speed of their matrix products: matrices banded
along H, with the channels outermost, 3.4 and two transpositions; Winograd's transforms and a product for each point,
4.5. Larger kernels, measured beside other work: about twice PyTorch's time for 5x5 on 28x28 and 7x7 on 56x56, four
times for 7x7 on 14x14.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Sides, Spatial

Part = tuple[tuple[slice, slice, int], tuple[slice, slice, int]]
"""For rows and for columns, what `reach` gives."""


def reach(count: int, taps: int, stride: int, step: int, first: int, size: int) -> list[tuple[slice, slice, int]]:
    """Along one axis output q reads number q * stride + t * step + first of `size`, zero outside, for every tap t.

    -> [(outputs, taps, the number that the first output reads at the first tap)], slices: outputs next to each other
    that have the same taps inside.
    """
    runs: list[tuple[slice, slice, int]] = []
    for q in range(count):
        inside = [t for t in range(taps) if 0 <= q * stride + t * step + first < size]
        begin, end = (inside[0], inside[-1] + 1) if inside else (0, 0)
        if runs and runs[-1][1] == slice(begin, end):
            runs[-1] = (slice(runs[-1][0].start, q + 1), *runs[-1][1:])
        else:
            runs.append((slice(q, q + 1), slice(begin, end), q * stride + begin * step + first))
    return runs


def meetings(count: int, taps: int, stride: int, step: int, first: int, size: int) -> list[tuple[int, slice, slice]]:
    """What `reach` says, seen from the taps: [(tap, outputs that have a number there, those numbers)], slices."""
    met = []
    for t in range(taps):
        begin = t * step + first
        low, high = max(0, -(begin // stride)), min(count, (size - 1 - begin) // stride + 1)
        if low < high:
            met.append((t, slice(low, high), slice(low * stride + begin, (high - 1) * stride + begin + 1, stride)))
    return met


class Windows:
    """Which numbers outputs read: output q reads number q * stride + t * step + first at tap t, along H and W.

    out: where the outputs lie in a larger map; kernel: which taps of the whole kernel these are; slices. Maps are
    (H, W, L), L = n * C; where what is read lies side by side, some pixels count as one, for longer loops.
    """

    longest = 2048  # numbers of a row that are worth being made longer

    def __init__(
        self,
        count: Sequence[int],
        taps: Sequence[int],
        stride: Sequence[int],
        step: Sequence[int],
        first: Sequence[int],
        size: Sequence[int],
        out: tuple[slice, slice],
        kernel: tuple[slice, slice],
    ) -> None:
        self.stride, self.step, self.out, self.kernel, self.count = stride, step, out, kernel, count
        axes = list(zip(count, taps, stride, step, first, size, strict=True))
        rows, columns = (reach(*axis) for axis in axes)
        self.parts = [(row, column) for row in rows for column in columns]
        meet = [meetings(*axis) for axis in axes]
        self.meetings = [(row, column) for row in meet[0] for column in meet[1]]

    def by_bands(self, rows: int) -> list[tuple[int, int, list[Part]]]:
        """For so many rows of the output at a time: (end, needed, parts), before which row they end, how many rows of x
        they need, and their parts for `combine`."""
        made = []
        for begin in range(0, self.count[0], rows):
            end = min(self.count[0], begin + rows)
            made.append((end, *self.band(begin, end)))
        return made

    def band(self, begin: int, end: int) -> tuple[int, list[Part]]:
        """Of rows begin..end-1 of the output how many rows of x they need, and their parts."""
        needed, parts = 0, []
        for (part, taps, top), columns in self.parts:
            low, high = max(part.start, begin), min(part.stop, end)
            if low < high:
                first = top + (low - part.start) * self.stride[0]
                parts.append(((slice(low, high), taps, first), columns))
                reach = (high - low - 1) * self.stride[0] + max(0, (taps.stop - taps.start - 1) * self.step[0])
                needed = max(needed, first + reach + 1 if taps.stop > taps.start else 0)
        return needed, parts

    def combine(self, x: Array, weights: Array, y: Array) -> None:
        """x (H, W, L), weights (Kh, Kw, L or more) -> y (Ho, Wo, L), the sums over the taps of number times weight."""
        add_up(self.views(x, weights, y, self.parts))

    def views(self, x: Array, weights: Array, y: Array, parts: Sequence[Part]) -> list[tuple[Array, Array, Array]]:
        """What `add_up` is given to make some parts of y."""
        weights, y = weights[self.kernel], y[self.out]
        (row, column, number), (sh, sw), (dh, dw) = x.strides, self.stride, self.step
        made = []
        for (rows, kh, top), (columns, kw, left) in parts:
            taps = weights[kh, kw]
            start = x[top:, left:] if taps.size else x
            target = y[rows, columns]
            pixels = self.pixels(x, target)
            target = side_by_side(target, pixels)
            shape = (*target.shape[:2], *taps.shape[:2], target.shape[2])
            strides = (row * sh, column * sw * pixels, row * dh, column * dw, number)
            view = np.lib.stride_tricks.as_strided(start, shape, strides)
            made.append((view, taps[:, :, : shape[4]], target))
        return made

    def meeting_views(self, x: Array, y: Array, band: slice) -> list[tuple[int, int, Array, Array]]:
        """x (H, W, L), y (Ho, Wo, L) -> (u, v, numbers of x, numbers of y) for each tap: what meets there in a band of
        rows of y, two views (rows, W/P, P*L)."""
        made = []
        for (u, rows, x_rows), (v, columns, x_columns) in self.meetings:
            low, high = max(rows.start, band.start), min(rows.stop, band.stop)
            if low >= high:
                continue
            first = x_rows.start + (low - rows.start) * self.stride[0]
            left = x[first : first + (high - low - 1) * self.stride[0] + 1 : self.stride[0], x_columns]
            right = y[low:high, columns]
            pixels = self.pixels(left, right)
            made.append((u, v, side_by_side(left, pixels), side_by_side(right, pixels)))
        return made

    def pixels(self, x: Array, y: Array) -> int:
        """How many pixels of a row count as one."""
        length, width = x.shape[2], y.shape[1]
        if any(a.strides[1] != length * a.itemsize for a in (x, y)) or self.stride[1] > 1:
            return 1
        return max(p for p in range(1, width + 1) if width % p == 0 and (p == 1 or p * length <= self.longest))


def add_up(views: list[tuple[Array, Array, Array]]) -> None:
    """For each (numbers, weights, target), (H, W, Kh, Kw, L), (Kh, Kw, L) and (H, W, L): sums over the taps."""
    for numbers, weights, target in views:
        np.einsum("hwuvc,uvc->hwc", numbers, weights, out=target)


def side_by_side(x: Array, pixels: int) -> Array:
    """A view (H, W/pixels, pixels*L) of x (H, W, L)."""
    row, column, number = x.strides
    shape = (x.shape[0], x.shape[1] // pixels, x.shape[2] * pixels)
    return np.lib.stride_tricks.as_strided(x, shape, (row, column * pixels, number))


def windows_forward(
    size: Shape, out_size: Shape, kernel_size: Spatial, stride: Spatial, padding: Sides, dilation: Spatial
) -> Windows:
    """The Windows of a convolution of x (H, W, L) to y (Ho, Wo, L): output j reads number
    j * s + u * d - p at tap u."""
    before, every = [-side for side, _ in padding], (slice(None), slice(None))
    return Windows(out_size, kernel_size, stride, dilation, before, size, every, every)


def windows_backward(
    size: Shape, out_size: Shape, kernel_size: Spatial, stride: Spatial, padding: Sides, dilation: Spatial
) -> list[Windows]:
    """The Windows of dx (H, W, L) over dy (Ho, Wo, L), one for each place within a stride: x number i = s * q + a meets
    output (i + p - u * d) / s at tap u, if that is a whole number."""
    axes = []
    for length, k, s, d, (before, _) in zip(size, kernel_size, stride, dilation, padding, strict=True):
        step, axis = s // math.gcd(s, d), []
        for a in range(min(s, length)):
            taps = [u for u in range(k) if (a + before - u * d) % s == 0] or [k]
            first, kernel = (a + before - taps[0] * d) // s, slice(taps[0], k, step)
            count, out = -(-(length - a) // s), slice(a, None, s)
            axis.append((count, len(range(k)[kernel]), 1, -step * d // s, first, out, kernel))
        axes.append(axis)
    return [windows_of(list(zip(rows, columns, strict=True)), out_size) for rows in axes[0] for columns in axes[1]]


def windows_of(pairs: list[Any], size: Shape) -> Windows:
    """The Windows whose settings, but the size of what they read, are these, for H and W each."""
    count, taps, stride, step, first, out, kernel = pairs
    return Windows(count, taps, stride, step, first, size, out, kernel)
