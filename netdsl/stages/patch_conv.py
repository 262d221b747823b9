"""Any convolution, by patches."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from netdsl.kernels.arrays import Array
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.convolution import ConvGeometry, Epilogue
from netdsl.stages.layout import folded, inner, plane, unfolded
from netdsl.stages.stage import Worker


class PatchConv(ConvStage):
    """Any convolution as one matrix product over patches (im2col), a band of output rows at a time, so that the
    patches stay in the cache. The backward pass makes the patches again: that is quicker than reading them back. Of a
    volume a band is of one slice of the output."""

    can = ConvStage.can

    band_bytes = 1 << 18

    def __init__(
        self,
        w: Worker,
        name: str,
        geometry: ConvGeometry,
        epilogue: Epilogue = Epilogue(),
        dx: bool = True,
    ) -> None:
        self.prepare(w, name, geometry, epilogue, dx)
        ho, wo = self.out_size[-2:]
        c, k, f = self.channels, math.prod(self.kernel_size) * self.channels, self.filters
        self.rows_of_patch = k
        self.bands = [max(1, self.band_bytes // (wo * n * k * w.dtype.itemsize)) for n in w.sizes]
        rows = dict(zip(w.sizes, self.bands, strict=True))
        self.patches = w.scratch("patches", lambda n: (min(rows[n], ho), wo, n, *self.kernel_size, c))
        self.y = w.outputs(lambda n: (*plane(self.out_size), n, f))
        self.size = geometry.padded_size
        self.pads = self.size != self.shape[1:]
        self.x = w.of_blocks()
        if self.pads:
            place = (*(before for before, _ in self.padding), *self.shape[1:])
            self.padded = w.frame(lambda n: (*self.size, n, c), place)
        if w.training:
            self.grad_rows = w.grads[name + ".weight"].reshape(k, f)
            self.grad_part = w.scratch("dweight", lambda n: (k, f))[0]
            if dx:
                self.dx = w.gradients(lambda n: (*self.size, n, c))

    def forward(self, x: Array, plus: Array | None = None) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, F); at inference another map of that shape may be added."""
        b = self.w.block
        self.x[b] = x
        y = self.y[b]
        weight = self.weight.reshape(-1, self.filters)
        for begin, patches in self.bands_of(x):
            out = y[begin : begin + len(patches)]
            np.matmul(patches.reshape(-1, self.rows_of_patch), weight, out=out.reshape(-1, self.filters))
        return self.with_bias(y, plus)

    def bands_of(self, x: Array) -> Iterator[tuple[int, Array]]:
        """x (H, W, n, C) -> for some output rows at a time: the first of them, and their patches (rows, Wo, n, *kernel,
        C)."""
        x = unfolded(x, self.shape[1:])
        if self.pads:
            padded = self.padded[self.w.block]
            inner(padded, self.padding, self.shape[1:])[...] = x
            x = padded
        for begin, part in self.places_of(x):
            patches = self.patches[self.w.block][: len(part)]
            patches[...] = part
            yield begin, patches

    def places_of(self, x: Array) -> Iterator[tuple[int, Array]]:
        """x with its padding (*size, n, C) -> for some output rows at a time: the first of them, and what they see, a
        view (rows, Wo, n, *kernel, C)."""
        *space, sample, channel = x.strides
        shape = (*self.out_size, x.shape[-2], *self.kernel_size, self.channels)
        along = [step * s for step, s in zip(space, self.stride, strict=True)]
        across = [step * d for step, d in zip(space, self.dilation, strict=True)]
        view = np.lib.stride_tricks.as_strided(x, shape, (*along, sample, *across, channel))
        *slices, ho, _ = self.out_size
        for number, place in enumerate(np.ndindex(*slices)):
            for begin in range(0, ho, self.bands[self.w.block]):
                yield number * ho + begin, view[place][begin : begin + self.bands[self.w.block]]

    def backward(self, dy: Array) -> Array | None:
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C), None where nothing needs it."""
        b = self.w.block
        self.bias_gradient(dy)
        self.has_gradient = False
        for begin, patches in self.bands_of(self.x[b]):
            rows = dy[begin : begin + len(patches)].reshape(-1, self.filters)
            self.add_weight_gradient(patches.reshape(-1, self.rows_of_patch), rows)
        if not self.has_dx:
            return None
        dx = self.dx[b]
        dx[...] = 0
        weight = self.weight.reshape(-1, self.filters)
        for begin, places in self.places_of(dx):
            part = dy[begin : begin + len(places)]
            dpatches = self.patches[b][: len(part)]
            np.matmul(part.reshape(-1, self.filters), weight.T, out=dpatches.reshape(-1, self.rows_of_patch))
            for tap in np.ndindex(self.kernel_size):
                places[(..., *tap, slice(None))] += dpatches[(..., *tap, slice(None))]
        return folded(inner(dx, self.padding, self.shape[1:]))
