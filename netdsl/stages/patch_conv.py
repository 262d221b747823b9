"""Any convolution, by patches."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.convolution import ConvGeometry, Epilogue
from netdsl.stages.layout import folded, inner, plane, unfolded
from netdsl.stages.stage import Worker

Bands = Sequence[tuple[slice, Array]]
"""For some rows of the output at a time: which they are, and what they see, a view (rows, Wo, n, *kernel, C)."""


class Patches:
    """The patches that the windows of a convolution see of x, a band of rows of the output at a time."""

    def __init__(self, w: Worker, g: ConvGeometry, band_bytes: int, keeps: bool = False) -> None:
        self.w, self.g, self.size = w, g, math.prod(g.kernel_size) * g.shape[0]
        (*slices, ho, wo), at_tap = g.out_size, (*g.kernel_size, g.shape[0])
        rows = {n: min(ho, max(1, band_bytes // (wo * n * self.size * w.dtype.itemsize))) for n in w.sizes}
        self.keeps = keeps and not slices and min(rows.values()) == ho
        self.rows = [rows[n] for n in w.sizes]
        if self.keeps:
            self.patches = w.arrays(lambda n: (ho, wo, n, *at_tap))
        else:
            self.patches = w.scratch("patches", lambda n: (rows[n], wo, n, *at_tap))
        self.padded = []
        if g.padded_size != g.shape[1:]:
            place = (*(before for before, _ in g.padding), *g.shape[1:])
            self.padded = w.frame(lambda n: (*g.padded_size, n, g.shape[0]), place)
            self.seen = [self.bands(padded, rows) for padded, rows in zip(self.padded, self.rows, strict=True)]

    def share_rows(self) -> None:
        """Have bands that workers share."""
        self.rows = [self.shared_rows(n, rows) for n, rows in zip(self.w.sizes, self.rows, strict=True)]
        self.seen = [self.bands(padded, rows) for padded, rows in zip(self.padded, self.rows, strict=False)]

    def shared_rows(self, n: int, most: int) -> int:
        """How many rows of n samples a band has, `most` or fewer, so that workers have as many bands."""
        if self.goes_by_filters(n):
            return most
        (*_, ho, wo), g = self.g.out_size, self.g
        longest = self.w.cut(ho, 2 * wo * n * self.size * g.filters)[-1]
        count = longest.stop - longest.start
        return -(-count // -(-count // most))

    def goes_by_filters(self, n: int) -> bool:
        """Whether workers share the filters rather than the rows of n samples: few rows, for which each would read all
        weights."""
        return 4 * n * math.prod(self.g.out_size) < self.g.filters

    def bands(self, x: Array, rows: int) -> Bands:
        """x with its zeros (*size, n, C) -> what the rows of the output see of it."""
        g, (*space, sample, channel) = self.g, x.strides
        along = [step * s for step, s in zip(space, g.stride, strict=True)]
        across = [step * d for step, d in zip(space, g.dilation, strict=True)]
        shape = (*g.out_size, x.shape[-2], *g.kernel_size, g.shape[0])
        view = np.lib.stride_tricks.as_strided(x, shape, (*along, sample, *across, channel))
        (*slices, ho, _), bands = g.out_size, []
        for number, place in enumerate(np.ndindex(*slices)):
            for begin in range(0, ho, rows):
                part = view[place][begin : begin + rows]
                bands.append((slice(number * ho + begin, number * ho + begin + len(part)), part))
        return bands

    def pad(self, x: Array) -> None:
        """Put zeros around x (H, W, n, C), if it needs some."""
        if self.padded:
            inner(self.padded[self.w.block], self.g.padding, self.g.shape[1:])[...] = unfolded(x, self.g.shape[1:])

    def bands_of(self, x: Array) -> Bands:
        """What the rows of the output see of x (H, W, n, C), which `pad` was given."""
        b = self.w.block
        return self.seen[b] if self.padded else self.bands(unfolded(x, self.g.shape[1:]), self.rows[b])

    def of(self, rows: slice, seen: Array) -> Array:
        """The patches of a band, (M, K)."""
        patches = self.patches[self.w.block][rows if self.keeps else slice(len(seen))]
        patches[...] = seen
        return patches.reshape(-1, self.size)


def turned(g: ConvGeometry) -> ConvGeometry | None:
    """The convolution of dy by the weights turned round, which gives the gradient by x. None where there is none: with
    a stride, or with more zeros on a side of x than a window has taps before its last."""
    axes = zip(g.kernel_size, g.dilation, g.padding, strict=True)
    padding = tuple((d * (k - 1) - before, d * (k - 1) - behind) for k, d, (before, behind) in axes)
    if max(g.stride) > 1 or min(map(min, padding)) < 0:
        return None
    return dataclasses.replace(g, shape=(g.filters, *g.out_size), filters=g.shape[0], padding=padding)


class PatchConv(ConvStage):
    """Any convolution as one matrix product over patches (im2col), a band of output rows at a time, so that the
    patches stay in the cache. The backward pass makes the patches again, which is quicker than reading them back; one
    band alone is kept. With stride 1 the gradient by x is a convolution, too: of dy, by the weights turned round. Of a
    volume a band is of one slice of the output."""

    can = ConvStage.can.but(share_gradient=True)

    band_bytes = 1 << 20

    def __init__(
        self,
        w: Worker,
        name: str,
        geometry: ConvGeometry,
        epilogue: Epilogue = Epilogue(),
        dx: bool = True,
        common: bool = False,
    ) -> None:
        self.prepare(w, name, geometry, epilogue, dx, common)
        self.share_weight()
        f, back = self.filters, turned(geometry)
        self.patches = Patches(w, geometry, self.band_bytes, keeps=w.training)
        if w.splits:
            self.patches.share_rows()
        self.y = w.outputs(lambda n: (*plane(self.out_size), n, f))
        self.x: list[Any] = [None] * len(w.sizes)
        self.back: Patches | None = None
        if not w.training:
            return
        own = self.scratch_for_gradient() if self.common else w.grads[name + ".weight"]
        self.grad_rows = own.reshape(-1, f)
        self.grad_part = w.scratch("dweight", lambda n: self.grad_rows.shape)[0]
        if dx and back:
            self.back = Patches(w, back, self.band_bytes)
            if w.splits:
                self.back.share_rows()
            self.turned = w.scratch("turned", lambda n: (*self.kernel_size, f, self.channels), common=True)[0]
        self.size = geometry.shape[1:] if self.back else geometry.padded_size
        if dx:
            self.dx = w.gradients(lambda n: (*self.size, n, self.channels))

    def forward(self, x: Array, plus: Array | None = None) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, F)."""
        b = self.w.block
        self.x[b], y = x, self.y[b]
        self.product(self.patches, x, self.weight, y)
        self.complete(y, plus)
        return y

    def product(self, patches: Patches, x: Array, weight: Array, y: Array) -> None:
        """x (H, W, n, C), weight (*kernel, C, F) -> y (Ho, Wo, n, F), one product for each band of patches."""
        patches.pad(x)
        count, weight = len(patches.bands_of(x)), weight.reshape(patches.size, -1)
        if self.w.splits and patches.goes_by_filters(x.shape[-2]):
            parts = self.w.cut(weight.shape[1], 2 * weight.shape[0] * y.size / y.shape[-1])
            self.w.each(parts, self.product_filters, x, weight, y, patches is self.back)
            return
        parts = self.w.cut(count, 2 * weight.size * y.size / y.shape[-1] / count)
        self.w.each(parts, self.product_bands, x, weight, y, patches is self.back)

    def product_bands(self, part: slice, x: Array, weight: Array, y: Array, is_back: bool) -> None:
        patches = self.back if is_back and self.back else self.patches
        for rows, seen in patches.bands_of(x)[part]:
            np.matmul(patches.of(rows, seen), weight, out=y[rows].reshape(-1, y.shape[-1]))

    def product_filters(self, part: slice, x: Array, weight: Array, y: Array, is_back: bool) -> None:
        """Some filters of y; each worker makes all patches."""
        patches = self.back if is_back and self.back else self.patches
        for rows, seen in patches.bands_of(x):
            np.matmul(patches.of(rows, seen), weight[:, part], out=y[rows].reshape(-1, y.shape[-1])[:, part])

    def backward(self, dy: Array) -> Array | None:
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C) if anything needs it."""
        self.bias_gradient(dy)
        self.has_gradient = False if self.common else self.w.block > 0
        if self.patches.keeps:
            kept = self.patches.patches[self.w.block]
            self.add_weight_gradient(kept.reshape(-1, self.patches.size), dy.reshape(-1, self.filters))
        else:
            self.patches.pad(self.x[self.w.block])
            for rows, seen in self.patches.bands_of(self.x[self.w.block]):
                self.add_weight_gradient(self.patches.of(rows, seen), dy[rows].reshape(-1, self.filters))
        if self.common:
            self.hand_in()
        return self.input_gradient(dy) if self.has_dx else None

    def input_gradient(self, dy: Array) -> Array:
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C): with a stride each window gets back what it gave."""
        b = self.w.block
        dx = self.dx[b]
        if self.back:
            taps = (slice(None, None, -1),) * len(self.kernel_size)
            self.turned[...] = self.weight[taps].swapaxes(-1, -2)
            self.product(self.back, dy, self.turned, folded(dx))
            return folded(dx)
        dx[...] = 0
        weight = self.weight.reshape(-1, self.filters)
        for rows, places in self.patches.bands(dx, self.patches.rows[b]):
            dpatches = self.patches.patches[b][: len(places)]
            np.matmul(dy[rows].reshape(-1, self.filters), weight.T, out=dpatches.reshape(-1, self.patches.size))
            for tap in np.ndindex(self.kernel_size):
                places[(..., *tap, slice(None))] += dpatches[(..., *tap, slice(None))]
        return folded(inner(dx, self.padding, self.shape[1:]))
