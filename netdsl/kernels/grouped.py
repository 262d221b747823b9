"""Convolutions whose filters see a part of the channels only: one channel each (depthwise), or a group of them.

Measured on one core of an AVX2 machine (AMD Zen 3), float32, milliseconds forward, 3x3, 96 channels, 56x56, batch 8; PyTorch
takes 1.3: multiply and add, row by row of the output, 8.9; np.einsum over the windows of all rows, 4.2, which is 5 multiply-adds
a nanosecond, as fast as its loop gets; matrices that are banded along H, with the channels outermost, 3.4 and two transpositions;
Winograd's transforms and a product for each point, 4.5. The larger the kernel, the nearer PyTorch: 5x5 1.5, 7x7 2 times its time.
"""

import math

import numpy as np

from netdsl.kernels.convolutions import ConvStage
from netdsl.kernels.plane_stages import long_rows


def reach(count, taps, stride, step, first, size):
    """Along one axis output q reads number q * stride + t * step + first of `size`, zero outside, for every tap t.

    -> [(outputs, taps, the number that the first output reads at the first tap)], slices: outputs next to each other that
    find the same taps inside.
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
    """Where the outputs of a depthwise convolution find their numbers: `stride`, `step` (of the taps) and `first` for H
    and W, `out` the places of the outputs in a larger map, `kernel` the taps that these outputs have, slices."""

    def __init__(self, count, taps, stride, step, first, size, out, kernel):
        self.stride, self.step, self.out, self.kernel = stride, step, out, kernel
        rows, columns = (reach(*axis) for axis in zip(count, taps, stride, step, first, size, strict=True))
        self.parts = [(row, column) for row in rows for column in columns]

    def views(self, x, y, longest):
        """x (H, W, L), y (Ho, Wo, L) -> for each part its taps (slices) and views: of x (rows, columns, Kh, Kw, P*L), of y
        (rows, columns, P*L). Where pixels that are read lie side by side, P of them count as one, for longer loops."""
        y, length = y[self.out], x.shape[2]
        for (rows, kh, top), (columns, kw, left) in self.parts:
            target = y[rows, columns]
            height, width = target.shape[:2]
            pixels = 1
            if self.stride[1] == 1 and all(a.strides[1] == length * a.itemsize for a in (x, target)):
                pixels = max(p for p in range(1, width + 1) if width % p == 0 and (p == 1 or p * length <= longest))
            row, column, number = x.strides
            (sh, sw), (dh, dw) = self.stride, self.step
            taps = (kh.stop - kh.start, kw.stop - kw.start)
            shape = (height, width // pixels, *taps, pixels * length)
            strides = (row * sh, column * sw * pixels, row * dh, column * dw, number)
            start = x[top:, left:] if 0 not in taps else x
            view = np.lib.stride_tricks.as_strided(start, shape, strides)
            if pixels > 1:
                shape, strides = (height, width // pixels, pixels * length), target.strides
                strides = (strides[0], strides[1] * pixels, strides[2])
                target = np.lib.stride_tricks.as_strided(target, shape, strides)
            yield (kh, kw), view, target


class DepthConv(ConvStage):
    """A depthwise convolution: filter c * m + j sees channel c only, m = filters / channels.

    y[i, j] = sum over u, v of weight[u, v] * x[i*s + u*d - p, j*s + v*d - p], for rows of n * F numbers at once. The
    gradient by x is of the same form, one for each of the s * s places that an output's stride leaves (those of x that
    meet the same taps); so is the gradient of the weights, with dy in the place of the weights. Nothing is padded: the
    outputs at the border have fewer taps.
    """

    longest = 1536  # numbers of a row that are worth being made longer

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
        self.times = filters // shape[0]
        before = [-side for side, _ in padding]
        every = (slice(None), slice(None))
        self.windows = Windows(self.out_size, kernel_size, stride, dilation, before, shape[1:], every, every)
        length = max(self.longest, *(n * filters for n in w.sizes))
        self.rows = w.scratch((name, "rows"), lambda n: (*kernel_size, length // filters * filters))[0]
        self.y = w.arrays(lambda n: (*self.out_size, n, filters))
        self.x = [None] * len(w.sizes)
        if self.times > 1:
            self.repeated = w.arrays(lambda n: (*shape[1:], n, filters))
        if w.training:
            self.part = w.scratch("dweight", lambda n: (length,))[0]
            if dx:
                self.dx = w.arrays(lambda n: (*shape[1:], n, filters))
                self.ways = self.ways_back()

    def ways_back(self):
        """For each place of x within a stride the Windows of dx over dy: x number i = s*q + a meets output j = (i + p - u*d) / s
        at tap u, if that is a whole number."""
        axes = []
        for size, k, s, d, (before, _) in zip(
            self.shape[1:], self.kernel_size, self.stride, self.dilation, self.padding, strict=True
        ):
            step = s // math.gcd(s, d)
            axis = []
            for a in range(min(s, size)):
                taps = [u for u in range(k) if (a + before - u * d) % s == 0] or [k]
                kernel = slice(taps[0], k, step)
                first = (a + before - taps[0] * d) // s
                axis.append((-(-(size - a) // s), len(range(k)[kernel]), 1, -step * d // s, first, slice(a, None, s), kernel))
            axes.append(axis)
        found = []
        for rows in axes[0]:
            for columns in axes[1]:
                count, taps, stride, step, first, out, kernel = zip(rows, columns, strict=True)
                found.append(Windows(count, taps, stride, step, first, self.out_size, out, kernel))
        return found

    def refresh(self):
        """The weights, side by side for as many samples and pixels as there are in a row."""
        super().refresh()
        rows = self.rows.reshape(*self.kernel_size, -1, self.filters)
        rows[...] = self.weight

    def forward(self, x):
        """x (H, W, n, C) -> y (Ho, Wo, n, F)."""
        b = self.w.block
        if self.times > 1:
            repeated = self.repeated[b]
            repeated.reshape(*x.shape, self.times)[...] = x[..., None]
            x = repeated
        self.x[b] = x
        y = self.y[b]
        self.combine(self.windows, long_rows(x), long_rows(y))
        return self.with_bias(y)

    def combine(self, windows, x, y):
        """Into y the sums of what `windows` finds in x, times the weights."""
        weights = self.rows[windows.kernel]
        for taps, view, target in windows.views(x, y, self.longest):
            np.einsum("hwuvc,uvc->hwc", view, weights[taps][..., : view.shape[-1]], out=target)

    def backward(self, dy):
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C), None where nothing needs it."""
        b = self.w.block
        self.bias_gradient(dy)
        self.add_tap_gradients(long_rows(self.x[b]), long_rows(dy))
        if not self.has_dx:
            return None
        dx = self.dx[b]
        for windows in self.ways:
            self.combine(windows, long_rows(dy), long_rows(dx))
        return dx.reshape(*dx.shape[:3], -1, self.times).sum(axis=4) if self.times > 1 else dx

    def add_tap_gradients(self, x, dy):
        """A product of x and dy for each tap, since its sums then stay in the cache."""
        grad = self.w.grads[self.name + ".weight"][:, :, 0]
        if self.w.block == 0:
            grad[...] = 0
        for taps, view, target in self.windows.views(x, dy, self.longest):
            part = self.part[: view.shape[-1]]
            for u, v in np.ndindex(view.shape[2:4]):
                np.einsum("hwc,hwc->c", view[:, :, u, v], target, out=part)
                grad[taps][u, v] += part.reshape(-1, self.filters).sum(axis=0)
