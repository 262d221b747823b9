"""Convolutions whose filters see one channel each (depthwise); average pooling is one, by constants.

Measured on one core of an AVX2 machine (AMD Zen 3), float32, milliseconds forward, 3x3, 96 channels, 56x56, batch 8;
PyTorch takes 1.3. Multiply and add, row by row of the output: 8.9. np.einsum over the windows: 4.2, which is 5
multiply-adds a nanosecond, as fast as its loop gets. Estimated from the speed of their matrix products: matrices banded
along H, with the channels outermost, 3.4 and two transpositions; Winograd's transforms and a product for each point,
4.5. Larger kernels, measured beside other work: about twice PyTorch's time for 5x5 on 28x28 and 7x7 on 56x56, four
times for 7x7 on 14x14.
"""

import math

import numpy as np

from netdsl.stages.convolutions import ConvStage
from netdsl.stages.layout import long_rows
from netdsl.stages.stage import Stage


def reach(count, taps, stride, step, first, size):
    """Along one axis output q reads number q * stride + t * step + first of `size`, zero outside, for every tap t.

    -> [(outputs, taps, the number that the first output reads at the first tap)], slices: outputs next to each other
    that find the same taps inside.
    """
    found = []
    for q in range(count):
        inside = [t for t in range(taps) if 0 <= q * stride + t * step + first < size]
        begin, end = (inside[0], inside[-1] + 1) if inside else (0, 0)
        if found and found[-1][1] == slice(begin, end):
            found[-1][0] = slice(found[-1][0].start, q + 1)
        else:
            found.append([slice(q, q + 1), slice(begin, end), q * stride + begin * step + first])
    return found


def meetings(count, taps, stride, step, first, size):
    """As `reach`, seen from the taps: [(tap, outputs that find a number there, those numbers)], slices."""
    found = []
    for t in range(taps):
        begin = t * step + first
        low, high = max(0, -(begin // stride)), min(count, (size - 1 - begin) // stride + 1)
        if low < high:
            found.append((t, slice(low, high), slice(low * stride + begin, (high - 1) * stride + begin + 1, stride)))
    return found


class Windows:
    """Where outputs find their numbers: output q reads number q * stride + t * step + first at tap t, along H and W.

    out: where the outputs lie in a larger map; kernel: which taps of the whole kernel these are; slices. Maps are
    (H, W, L), L = n * C; where what is read lies side by side, some pixels count as one, for longer loops.
    """

    longest = 2048  # numbers of a row that are worth being made longer

    def __init__(self, count, taps, stride, step, first, size, out, kernel):
        self.stride, self.step, self.out, self.kernel = stride, step, out, kernel
        axes = list(zip(count, taps, stride, step, first, size, strict=True))
        rows, columns = (reach(*axis) for axis in axes)
        self.parts = [(row, column) for row in rows for column in columns]
        rows, columns = (meetings(*axis) for axis in axes)
        self.meetings = [(row, column) for row in rows for column in columns]

    def combine(self, x, weights, y):
        """Into y (Ho, Wo, L) the sums of what the taps find in x (H, W, L), times weights (Kh, Kw, L or more)."""
        weights, y = weights[self.kernel], y[self.out]
        (row, column, number), (sh, sw), (dh, dw) = x.strides, self.stride, self.step
        for (rows, kh, top), (columns, kw, left) in self.parts:
            taps = weights[kh, kw]
            start = x[top:, left:] if taps.size else x
            target = y[rows, columns]
            pixels = self.pixels(x, target)
            target = side_by_side(target, pixels)
            shape = (*target.shape[:2], *taps.shape[:2], target.shape[2])
            strides = (row * sh, column * sw * pixels, row * dh, column * dw, number)
            view = np.lib.stride_tricks.as_strided(start, shape, strides)
            np.einsum("hwuvc,uvc->hwc", view, taps[:, :, : shape[4]], out=target)

    def products(self, x, y, row):
        """For each tap (u, v) the sums of x times y over where they meet, in `row` (P*L): u, v, row. One tap at a time,
        since its sums then stay in the cache."""
        for (u, rows, x_rows), (v, columns, x_columns) in self.meetings:
            left, right = x[x_rows, x_columns], y[rows, columns]
            pixels = self.pixels(left, right)
            sums = row[: pixels * x.shape[2]]
            np.einsum("hwc,hwc->c", side_by_side(left, pixels), side_by_side(right, pixels), out=sums)
            yield u, v, sums

    def pixels(self, x, y):
        """How many pixels of a row count as one."""
        length, width = x.shape[2], y.shape[1]
        if any(a.strides[1] != length * a.itemsize for a in (x, y)) or self.stride[1] > 1:
            return 1
        return max(p for p in range(1, width + 1) if width % p == 0 and (p == 1 or p * length <= self.longest))


def side_by_side(x, pixels):
    """A view (H, W/pixels, pixels*L) of x (H, W, L)."""
    row, column, number = x.strides
    shape = (x.shape[0], x.shape[1] // pixels, x.shape[2] * pixels)
    return np.lib.stride_tricks.as_strided(x, shape, (row, column * pixels, number))


def windows_forward(size, out_size, kernel_size, stride, padding, dilation):
    """The Windows of a convolution: output j reads x number j * s + u * d - p at tap u."""
    before, every = [-side for side, _ in padding], (slice(None), slice(None))
    return Windows(out_size, kernel_size, stride, dilation, before, size, every, every)


def windows_backward(size, out_size, kernel_size, stride, padding, dilation):
    """The Windows of dx over dy, one for each place within a stride: x number i = s * q + a meets output
    (i + p - u * d) / s at tap u, if that is a whole number."""
    axes = []
    for length, k, s, d, (before, _) in zip(size, kernel_size, stride, dilation, padding, strict=True):
        step, axis = s // math.gcd(s, d), []
        for a in range(min(s, length)):
            taps = [u for u in range(k) if (a + before - u * d) % s == 0] or [k]
            first, kernel = (a + before - taps[0] * d) // s, slice(taps[0], k, step)
            count, out = -(-(length - a) // s), slice(a, None, s)
            axis.append((count, len(range(k)[kernel]), 1, -step * d // s, first, out, kernel))
        axes.append(axis)
    found = []
    for rows in axes[0]:
        for columns in axes[1]:
            count, taps, stride, step, first, out, kernel = zip(rows, columns, strict=True)
            found.append(Windows(count, taps, stride, step, first, out_size, out, kernel))
    return found


class DepthConv(ConvStage):
    """A depthwise convolution: filter c * m + j sees channel c only, m = filters / channels.

    y[i, j] = sum over u, v of weight[u, v] * x[i*s + u*d - p, j*s + v*d - p], for rows of n * F numbers at once. The
    gradient by x is of the same form for each place within a stride, and so is that of the weights, with dy in the
    place of the weights. Nothing is padded: outputs at the border have fewer taps.
    """

    def __init__(
        self,
        w,
        name,
        shape,
        filters,
        kernel_size,
        stride=(1, 1),
        padding=((0, 0), (0, 0)),
        dilation=(1, 1),
        adds_bias=True,
        dx=True,
        norm=None,
        relu=False,
    ):
        self.prepare(w, name, shape, filters, kernel_size, stride, padding, dilation, adds_bias, dx, norm, relu)
        geometry = (shape[1:], self.out_size, kernel_size, stride, padding, dilation)
        self.times = filters // shape[0]
        self.windows = windows_forward(*geometry)
        length = max(Windows.longest // filters, *w.sizes) * filters
        self.rows = w.scratch((name, "rows"), lambda n: (*kernel_size, length))[0]
        self.y = w.outputs(lambda n: (*self.out_size, n, filters))
        self.x = [None] * len(w.sizes)
        if self.times > 1:
            self.wide = w.scratch("wide", lambda n: (*shape[1:], n, filters))
        if w.training:
            self.part = w.scratch("dweight", lambda n: (length,))[0]
            self.back = windows_backward(*geometry)
            self.dx = w.gradients(lambda n: (*shape[1:], n, shape[0])) if dx else None

    def refresh(self):
        """The weights, side by side for as many samples and pixels as there are in a row."""
        super().refresh()
        self.rows.reshape(*self.kernel_size, -1, self.filters)[...] = self.weight

    def forward(self, x):
        """x (H, W, n, C) -> y (Ho, Wo, n, F)."""
        b = self.w.block
        self.x[b], y = x, self.y[b]
        self.windows.combine(self.wide_rows(x), self.rows, long_rows(y))
        return self.with_bias(y)

    def wide_rows(self, x):
        """x (H, W, n, C) -> (H, W, n*F), every channel as often as there are filters that see it."""
        if self.times == 1:
            return long_rows(x)
        wide = self.wide[self.w.block]
        wide.reshape(*x.shape, self.times)[...] = x[..., None]
        return long_rows(wide)

    def backward(self, dy):
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C), None where nothing needs it."""
        b = self.w.block
        self.bias_gradient(dy)
        grad = self.w.grads[self.name + ".weight"][:, :, 0]
        if b == 0:
            grad[...] = 0
        for u, v, sums in self.windows.products(self.wide_rows(self.x[b]), long_rows(dy), self.part):
            grad[u, v] += sums.reshape(-1, self.filters).sum(axis=0)
        if not self.has_dx:
            return None
        dx = self.dx[b]
        found = dx if self.times == 1 else self.wide[b]
        for windows in self.back:
            windows.combine(long_rows(dy), self.rows, long_rows(found))
        return dx if self.times == 1 else np.sum(found.reshape(*dx.shape, self.times), axis=4, out=dx)


class AveragePool(Stage):
    """The mean of every window; of how many numbers along one axis, divisors(size, kernel_size, stride, padding, nopad,
    ceil) says."""

    own_output = own_gradient = True

    def __init__(self, w, shape, kernel_size, stride, padding, nopad, ceil, divisors):
        self.start(w)
        size, c = shape[1:], shape[0]
        axes = zip(size, kernel_size, stride, padding, strict=True)
        counts = [divisors(*axis, nopad, ceil) for axis in axes]
        out_size = tuple(map(len, counts))
        geometry = (size, out_size, kernel_size, stride, padding, (1, 1))
        self.windows, self.back = windows_forward(*geometry), windows_backward(*geometry)
        area = kernel_size[0] * kernel_size[1]
        factor = area / np.outer(*counts)[:, :, None, None]
        self.factor = None if (factor == 1).all() else factor.astype(w.dtype)
        self.ones = np.full((*kernel_size, max(Windows.longest, *(n * c for n in w.sizes))), 1 / area, w.dtype)
        self.y = w.outputs(lambda n: (*out_size, n, c))
        if w.training:
            self.dx = w.gradients(lambda n: (*size, n, c))

    def forward(self, x):
        y = self.y[self.w.block]
        self.windows.combine(long_rows(x), self.ones, long_rows(y))
        if self.factor is not None:
            y *= self.factor
        return y

    def backward(self, dy):
        dx = self.dx[self.w.block]
        if self.factor is not None:
            dy *= self.factor
        for windows in self.back:
            windows.combine(long_rows(dy), self.ones, long_rows(dx))
        return dx
