"""Convolutions in groups: every filter sees the channels of its group only."""

from __future__ import annotations

from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.convolution import ConvGeometry, Epilogue
from netdsl.stages.stage import Worker


class GroupedConv(ConvStage):
    """A convolution in groups, by patches: a matrix product for each block of groups, a band of output rows at a time.

    Groups of few channels are joined to blocks of at least `least`, with zeros between what does not belong together:
    products of larger matrices are so much faster that the zeros cost less than they bring.
    """

    can = ConvStage.can.but(add_map=False)

    band_bytes = 1 << 18
    least = 16

    def __init__(
        self,
        w: Worker,
        name: str,
        geometry: ConvGeometry,
        epilogue: Epilogue = Epilogue(),
        dx: bool = True,
    ) -> None:
        self.prepare(w, name, geometry, epilogue, dx)
        c, (ho, wo), filters, groups = self.channels, self.out_size, self.filters, geometry.groups
        taps = self.kernel_size[0] * self.kernel_size[1]
        wanted = [m for m in range(1, groups + 1) if groups % m == 0 and (m * c >= self.least * groups or m == groups)]
        self.joined, self.blocks = wanted[0], groups // wanted[0]
        self.split = (taps, c // groups, self.blocks, self.joined, filters // groups)  # of the weights
        self.dense = w.scratch(
            (name, "dense"), lambda n: (self.blocks, taps * c // self.blocks, filters // self.blocks)
        )[0]
        self.bands = [max(1, self.band_bytes // (wo * n * taps * c * w.dtype.itemsize)) for n in w.sizes]
        rows = dict(zip(w.sizes, self.bands, strict=True))
        self.patches = w.scratch("patches", lambda n: (min(rows[n], ho) * wo * n * taps * c,))
        self.size = height, width = geometry.padded_size
        self.padded = w.frame(
            lambda n: (height, width, n, c), (self.padding[0][0], self.padding[1][0], *self.shape[1:])
        )
        self.x: list[Any] = [None] * len(w.sizes)
        self.y = w.outputs(lambda n: (ho, wo, n, filters))
        if w.training:
            self.grad_dense = w.scratch("grad_dense", lambda n: (2, *self.dense.shape))[0]
            self.dx = w.gradients(lambda n: (height, width, n, c)) if dx else []

    def refresh(self) -> None:
        """Makes one matrix of the weights of each block, zeros between groups."""
        super().refresh()
        self.dense[...] = 0
        weight = self.weight.reshape(self.split).transpose(2, 3, 0, 1, 4)
        for i, place in enumerate(self.diagonal(self.dense)):
            place[...] = weight[:, i]

    def diagonal(self, dense: Array) -> list[Array]:
        """The places of each group of a block, (blocks, taps, C/groups, F/groups)."""
        taps, c, blocks, joined, f = self.split
        dense = dense.reshape(blocks, taps, joined, c, joined, f)
        return [dense[:, :, i, :, i] for i in range(joined)]

    def of_blocks(self, rows: Array) -> Array:
        """y or dy (M, F) -> (blocks, M, F/blocks)."""
        return rows.reshape(-1, self.blocks, self.filters // self.blocks).swapaxes(0, 1)

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, F)."""
        b = self.w.block
        self.x[b], y = x, self.y[b]
        for band, places in self.bands_of(self.with_padding(x)):
            patches = self.patches_of(places.shape)
            patches[...] = places
            np.matmul(patches.reshape(self.blocks, -1, self.dense.shape[1]), self.dense, out=self.of_blocks(y[band]))
        self.complete(y)
        return y

    def with_padding(self, x: Array) -> Array:
        """x (H, W, n, C) -> the same with zeros around it."""
        (top, _), (left, _) = self.padding
        padded = self.padded[self.w.block]
        padded[top : top + x.shape[0], left : left + x.shape[1]] = x
        return padded

    def bands_of(self, x: Array) -> list[tuple[slice, Array]]:
        """x (H, W, n, C), padded -> for some output rows at a time: which rows, and what they see, a view (blocks,
        rows, Wo, n, Kh, Kw, C/blocks)."""
        (ho, wo), (sh, sw), (dh, dw) = self.out_size, self.stride, self.dilation
        row, column, sample, channel = x.strides
        c = self.channels // self.blocks
        shape = (self.blocks, ho, wo, x.shape[2], *self.kernel_size, c)
        view = np.lib.stride_tricks.as_strided(
            x, shape, (channel * c, row * sh, column * sw, sample, row * dh, column * dw, channel)
        )
        step = self.bands[self.w.block]
        return [(slice(begin, begin + step), view[:, begin : begin + step]) for begin in range(0, ho, step)]

    def patches_of(self, shape: Shape) -> Array:
        """Scratch of a shape, for the patches of a band."""
        return self.patches[self.w.block][: int(np.prod(shape))].reshape(shape)

    def backward(self, dy: Array) -> Array | None:
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C) if anything needs it."""
        b = self.w.block
        self.bias_gradient(dy)
        total, part = self.grad_dense
        total[...] = 0
        for band, places in self.bands_of(self.with_padding(self.x[b])):
            patches = self.patches_of(places.shape)
            patches[...] = places
            rows = patches.reshape(self.blocks, -1, self.dense.shape[1])
            total += np.matmul(rows.swapaxes(1, 2), self.of_blocks(dy[band]), out=part)
        grad = self.w.grads[self.name + ".weight"].reshape(self.split).transpose(2, 3, 0, 1, 4)
        for i, place in enumerate(self.diagonal(total)):
            if b == 0:
                grad[:, i] = place
            else:
                grad[:, i] += place
        return self.input_gradient(dy) if self.has_dx else None

    def input_gradient(self, dy: Array) -> Array:
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C)."""
        dx = self.dx[self.w.block]
        dx[...] = 0
        for band, places in self.bands_of(dx):
            dpatches = self.patches_of(places.shape)
            rows = dpatches.reshape(self.blocks, -1, self.dense.shape[1])
            np.matmul(self.of_blocks(dy[band]), self.dense.swapaxes(1, 2), out=rows)
            for tap in np.ndindex(self.kernel_size):
                places[(..., *tap, slice(None))] += dpatches[(..., *tap, slice(None))]
        (top, _), (left, _) = self.padding
        return dx[top : top + self.shape[1], left : left + self.shape[2]]
