"""Maximum pooling; it may add the bias of the convolution before it, and end in a relu."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Sides, Spatial
from netdsl.stages.can import Can
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.layout import long_rows
from netdsl.stages.relu import relu, stop_negative
from netdsl.stages.rows import column_sums, row_sums
from netdsl.stages.stage import Stage, Worker


class MaxPool(Stage):
    """Maximum pooling of x (H, W, n, C), then + bias, then relu: both keep the order, so they may wait for it.

    Every dy goes to the first maximum of its window. shape (C, H, W) of x.
    """

    can = Can(
        end_in_relu=True,
        wait_for_relu=True,
        add_bias=True,
        leave_out_dx=True,
        has_own_output=True,
        has_own_gradient=True,
    )

    def __init__(
        self,
        w: Worker,
        shape: Shape,
        kernel_size: Spatial,
        stride: Spatial,
        padding: Sides = ((0, 0), (0, 0)),
        dilation: Spatial = (1, 1),
        conv: ConvStage | None = None,
        relu: bool = False,
        dx: bool = True,
    ) -> None:
        self.start(w)
        self.kernel_size, self.stride, self.padding, self.dilation = kernel_size, stride, padding, dilation
        self.conv, self.relu, self.shape = conv, relu, shape
        (top, bottom), (left, right) = padding
        self.size = (shape[1] + top + bottom, shape[2] + left + right)
        self.out_size = tuple(
            (size - d * (k - 1) - 1) // s + 1
            for size, d, k, s in zip(self.size, dilation, kernel_size, stride, strict=True)
        )
        self.pads = self.size != shape[1:]
        self.pairs = kernel_size == stride == (2, 2) and dilation == (1, 1)
        c = shape[0]
        self.y = w.outputs(lambda n: (*self.out_size, n, c))
        if self.pads:
            self.padded = w.zeros(lambda n: (*self.size, n, c))
            for padded in self.padded:
                padded[...] = -np.inf
        if self.pairs:
            ho, wo = self.out_size
            self.wide = w.scratch("pool", lambda n: (2 * ho * wo * n * c,))
            if w.training:
                self.right = w.bits(lambda n: (2 * ho, wo, n * c))
                self.low = w.bits(lambda n: (ho, wo, n * c))
        elif w.training:
            self.x = w.of_blocks()
            self.best = w.arrays(lambda n: (*self.out_size, n, c))
            self.part = w.scratch("pool", lambda n: (*self.out_size, n, c))
        if w.training:
            self.dx = w.gradients(lambda n: (*self.size, n, c))
            self.mask = w.masks((c, *self.out_size))

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, C)."""
        b = self.w.block
        if self.pads:
            (top, _), (left, _) = self.padding
            self.padded[b][top : top + self.shape[1], left : left + self.shape[2]] = x
            x = self.padded[b]
        y = self.y[b]
        if self.pairs:
            self.pair_maximum(x.reshape(*x.shape[:2], -1), y.reshape(*y.shape[:2], -1))
        else:
            places = self.places(x)
            np.maximum(places[0], places[-1], out=y)
            for place in places[1:-1]:
                np.maximum(y, place, out=y)
            if self.w.training:
                self.x[b] = x
                self.best[b][...] = y
        if self.conv is not None and self.conv.bias is not None:
            rows = long_rows(y)
            rows += np.resize(self.conv.bias, rows.shape[-1])
        return relu(y, y) if self.relu else y

    def places(self, x: Array) -> list[Array]:
        """For each place of the window, in reading order: the numbers of x that lie there, (Ho, Wo, n, C)."""
        (ho, wo), (sh, sw), (dh, dw) = self.out_size, self.stride, self.dilation
        return [
            x[u * dh : u * dh + (ho - 1) * sh + 1 : sh, v * dw : v * dw + (wo - 1) * sw + 1 : sw]
            for u in range(self.kernel_size[0])
            for v in range(self.kernel_size[1])
        ]

    def pair_maximum(self, x: Array, y: Array) -> None:
        """Windows of 2x2 that do not overlap. In training first of columns, then of rows, with bits that remember where
        it was; at inference first of rows, which lie in one piece."""
        b = self.w.block
        ho, wo = self.out_size
        if not self.w.training:
            wide = self.wide[b].reshape(ho, 2 * wo, -1)
            np.maximum(x[: 2 * ho : 2, : 2 * wo], x[1 : 2 * ho : 2, : 2 * wo], out=wide)
            np.maximum(wide[:, ::2], wide[:, 1::2], out=y)
            return
        wide = self.wide[b].reshape(2 * ho, wo, -1)
        left, right = x[: 2 * ho, : 2 * wo : 2], x[: 2 * ho, 1 : 2 * wo : 2]
        np.maximum(left, right, out=wide)
        np.maximum(wide[::2], wide[1::2], out=y)
        np.greater(right, left, out=self.right[b])
        np.greater(wide[1::2], wide[::2], out=self.low[b])

    def backward(self, dy: Array) -> Array:
        """dy (Ho, Wo, n, C) -> dx (H, W, n, C)."""
        b = self.w.block
        y = self.y[b]
        if self.relu:
            stop_negative(dy, y, self.mask[b])
        if self.conv is not None and self.conv.bias is not None:
            self.add_gradient(self.conv.name + ".bias", column_sums(row_sums(dy), dy.shape[-1]))
        dx = self.dx[b]
        if self.pairs:
            self.pair_gradient(dy.reshape(*dy.shape[:2], -1), dx.reshape(*dx.shape[:2], -1))
        else:
            self.window_gradient(dy, dx)
        (top, _), (left, _) = self.padding
        return dx[top : top + self.shape[1], left : left + self.shape[2]]

    def pair_gradient(self, dy: Array, dx: Array) -> None:
        """dy (Ho, Wo, n*C) -> dx (H, W, n*C), for windows of 2x2 that do not overlap."""
        b = self.w.block
        ho, wo = self.out_size
        wide = self.wide[b].reshape(2 * ho, wo, -1)
        left, right = dx[: 2 * ho, : 2 * wo : 2], dx[: 2 * ho, 1 : 2 * wo : 2]
        dx[2 * ho :] = 0  # of odd planes; those that dx was handed to may have written there
        dx[:, 2 * wo :] = 0
        np.multiply(dy, self.low[b], out=wide[1::2])
        np.subtract(dy, wide[1::2], out=wide[::2])
        np.multiply(wide, self.right[b], out=right)
        np.subtract(wide, right, out=left)

    def window_gradient(self, dy: Array, dx: Array) -> None:
        """dy (Ho, Wo, n, C) -> dx (H, W, n, C), one place of the window after the other."""
        b = self.w.block
        dx[...] = 0
        part, best = self.part[b], self.best[b]
        mask = self.mask[b][: dy.size].reshape(dy.shape)
        for place, target in zip(self.places(self.x[b]), self.places(dx), strict=True):
            np.equal(place, best, out=mask)
            np.multiply(dy, mask, out=part)
            target += part
            dy -= part  # what found its maximum is gone
