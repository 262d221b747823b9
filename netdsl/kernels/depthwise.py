"""Convolutions whose filters see one channel each (depthwise); average pooling is one, by constants.

Measured on one core of an AVX2 machine (AMD Zen 3), float32, milliseconds forward, 3x3, 96 channels, 56x56, batch 8;
PyTorch takes 1.3. Multiply and add, row by row of the output: 8.9. np.einsum over the windows: 4.2, which is 5
multiply-adds a nanosecond, as fast as its loop gets. Estimated from the speed of their matrix products: matrices banded
along H, with the channels outermost, 3.4 and two transpositions; Winograd's transforms and a product for each point,
4.5. Larger kernels come nearer to PyTorch: 5x5 1.5 times its time, 7x7 twice.
"""

import math

import numpy as np

from netdsl.kernels.convolutions import ConvStage
from netdsl.kernels.plane_stages import long_rows
from netdsl.kernels.stages import Stage


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


class Windows:
    """Where outputs find their numbers: output q reads number q * stride + t * step + first at tap t, along H and W.

    out: where the outputs lie in a larger map; kernel: which taps of the whole kernel these are; slices.
    """

    longest = 2048  # numbers of a row that are worth being made longer

    def __init__(self, count, taps, stride, step, first, size, out, kernel):
        self.stride, self.step, self.out, self.kernel = stride, step, out, kernel
        rows, columns = (reach(*axis) for axis in zip(count, taps, stride, step, first, size, strict=True))
        self.parts = [(row, column) for row in rows for column in columns]

    def views(self, x, y):
        """x (H, W, L), y (Ho, Wo, L) -> for each part its taps (slices) and views of it: in x (rows, columns, Kh, Kw,
        P*L), in y (rows, columns, P*L). Where what is read lies side by side, P pixels count as one, for longer loops.
        """
        y = y[self.out]
        for (rows, kh, top), (columns, kw, left) in self.parts:
            target, (height, width) = y[rows, columns], (kh.stop - kh.start, kw.stop - kw.start)
            source = x[top:, left:] if height and width else x
            length = self.pixels(x, target) * x.shape[2]
            target = stepped(target, (1, 1), (target.shape[0], target.shape[1] * x.shape[2] // length), length)
            view = stepped(source, self.stride, target.shape[:2], length)
            strides = (*view.strides[:2], *(d * s for d, s in zip(self.step, x.strides, strict=False)), x.strides[2])
            view = np.lib.stride_tricks.as_strided(view, (*target.shape[:2], height, width, length), strides)
            yield (kh, kw), view, target

    def pixels(self, x, y):
        length, width = x.shape[2], y.shape[1]
        if self.stride[1] > 1 or any(a.strides[1] != length * a.itemsize for a in (x, y)):
            return 1
        return max(p for p in range(1, width + 1) if width % p == 0 and (p == 1 or p * length <= self.longest))

    def combine(self, x, weights, y):
        """Into y (Ho, Wo, L) the sums of what the taps find in x (H, W, L), times weights (Kh, Kw, L or more)."""
        weights = weights[self.kernel]
        for taps, view, target in self.views(x, y):
            np.einsum("hwuvc,uvc->hwc", view, weights[taps][..., : view.shape[-1]], out=target)


def stepped(x, stride, count, length):
    """A view of x (H, W, L) of `count` rows and columns, `length` numbers each, that takes every stride-th row and, of
    columns of that length, every stride-th."""
    row, column, number = x.strides
    strides = (row * stride[0], column * stride[1] * (length // x.shape[2]), number)
    return np.lib.stride_tricks.as_strided(x, (*count, length), strides)


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
    ):
        self.prepare(w, name, shape, filters, kernel_size, stride, padding, dilation, adds_bias, dx, norm)
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
        self.add_tap_gradients(self.wide_rows(self.x[b]), long_rows(dy))
        if not self.has_dx:
            return None
        dx = self.dx[b]
        found = dx if self.times == 1 else self.wide[b]
        for windows in self.back:
            windows.combine(long_rows(dy), self.rows, long_rows(found))
        return dx if self.times == 1 else np.sum(found.reshape(*dx.shape, self.times), axis=4, out=dx)

    def add_tap_gradients(self, x, dy):
        """A product of x and dy for each tap, since its sums then stay in the cache."""
        grad = self.w.grads[self.name + ".weight"][:, :, 0]
        if self.w.block == 0:
            grad[...] = 0
        for taps, view, target in self.windows.views(x, dy):
            part = self.part[: view.shape[-1]]
            for u, v in np.ndindex(view.shape[2:4]):
                np.einsum("hwc,hwc->c", view[:, :, u, v], target, out=part)
                grad[taps][u, v] += part.reshape(-1, self.filters).sum(axis=0)


class AveragePool(Stage):
    """The mean of every window; of how many numbers along one axis, divisors(size, kernel_size, stride, padding, nopad)
    says."""

    own_output = own_gradient = True

    def __init__(self, w, shape, kernel_size, stride, padding, nopad, divisors):
        self.start(w)
        size, c = shape[1:], shape[0]
        counts = [divisors(*axis, nopad) for axis in zip(size, kernel_size, stride, padding, strict=True)]
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
