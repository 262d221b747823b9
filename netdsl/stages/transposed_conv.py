"""Transposed convolution as a stage. Weights are stored as (Kh, Kw, F, C)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Spatial
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.convolution import ConvGeometry, Epilogue
from netdsl.stages.layout import folded, inner, plane, unfolded
from netdsl.stages.stage import Worker


class TransposedConv(ConvStage):
    """Each x[i, j] adds its products with the weights to the window of y at (i*s - p, j*s - p): one matrix product over
    the channels of every pixel, whose numbers are then added where they belong; windows that do not overlap are only
    moved there. Some rows of x at a time, so that the products stay in the cache."""

    can = ConvStage.can.but(end_in_relu=False, end_in_clip=False, take_norm=False, add_map=False)

    band_bytes = 1 << 18

    def __init__(
        self,
        w: Worker,
        name: str,
        geometry: ConvGeometry,
        output_padding: Spatial = (0, 0),
        epilogue: Epilogue = Epilogue(),
        dx: bool = True,
    ) -> None:
        self.prepare(w, name, geometry, epilogue, dx)
        shape, filters, kernel_size = self.shape, self.filters, self.kernel_size
        padding = tuple(before for before, _ in self.padding)
        c, (height, width) = self.channels, shape[-2:]
        self.weight = self.weight.reshape(-1, c)
        axes = zip(shape[1:], self.stride, self.dilation, kernel_size, output_padding, strict=True)
        self.whole = tuple((size - 1) * s + d * (k - 1) + 1 + more for size, s, d, k, more in axes)
        self.out_size = tuple(size - 2 * p for size, p in zip(self.whole, padding, strict=True))
        self.overlap = kernel_size != self.stride or any(output_padding) or max(self.dilation) > 1
        band_bytes = max(self.band_bytes, self.weight.nbytes)  # for fewer rows the weights would be read too often
        self.bands = [max(1, band_bytes * c // (width * n * self.weight.nbytes)) for n in w.sizes]
        rows = dict(zip(w.sizes, self.bands, strict=True))
        self.windows = w.scratch("patches", lambda n: (min(rows[n], height) * width * n * len(self.weight),))
        self.x: list[Any] = [None] * len(w.sizes)
        self.y = w.outputs(lambda n: (*self.whole, n, filters))
        if w.training:
            self.grad = w.grads[name + ".weight"].reshape(-1, c)
            self.grad_part = w.scratch("dweight", lambda n: self.weight.shape)[0]
            self.dy = w.frame(lambda n: (*self.whole, n, filters), (*padding, *self.out_size)) if any(padding) else []
            self.dx = w.gradients(lambda n: (*plane(shape[1:]), n, c)) if dx else []

    def bands_of(self, y: Array) -> Iterator[tuple[slice, Array, Array]]:
        """y (*whole, n, F) -> for some rows of x at a time: which rows, the windows of y that they see (rows, W, n,
        *kernel, F), and scratch of that shape. Of a volume the rows are of one slice."""
        *space, sample, number = y.strides
        *slices, height, width = self.shape[1:]
        shape = (*slices, height, width, y.shape[-2], *self.kernel_size, self.filters)
        along = [step * s for step, s in zip(space, self.stride, strict=True)]
        across = [step * d for step, d in zip(space, self.dilation, strict=True)]
        view = np.lib.stride_tricks.as_strided(y, shape, (*along, sample, *across, number))
        step = self.bands[self.w.block]
        for count, place in enumerate(np.ndindex(*slices)):
            for begin in range(0, height, step):
                places = view[place][begin : begin + step]
                windows = self.windows[self.w.block][: places.size].reshape(places.shape)
                yield slice(count * height + begin, count * height + begin + len(places)), places, windows

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, F)."""
        b = self.w.block
        self.x[b], y = x, self.y[b]
        if self.overlap:
            y[...] = 0
        for band, places, windows in self.bands_of(y):
            np.matmul(x[band].reshape(-1, self.channels), self.weight.T, out=windows.reshape(-1, len(self.weight)))
            if not self.overlap:
                places[...] = windows
                continue
            for tap in np.ndindex(self.kernel_size):
                places[(..., *tap, slice(None))] += windows[(..., *tap, slice(None))]
        y = folded(inner(y, self.padding, self.out_size))
        self.complete(y)
        return y

    def backward(self, dy: Array) -> Array | None:
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C), a convolution of dy, if anything needs it."""
        b = self.w.block
        self.bias_gradient(dy)
        dy = unfolded(dy, self.out_size)
        if self.dy:
            inner(self.dy[b], self.padding, self.out_size)[...] = dy
            dy = self.dy[b]
        if b == 0:
            self.grad[...] = 0
        for band, places, windows in self.bands_of(dy):
            windows[...] = places
            rows = windows.reshape(-1, len(self.weight))
            self.grad += np.matmul(rows.T, self.x[b][band].reshape(-1, self.channels), out=self.grad_part)
            if self.has_dx:
                np.matmul(rows, self.weight, out=self.dx[b][band].reshape(-1, self.channels))
        return self.dx[b] if self.has_dx else None
