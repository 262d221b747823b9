"""Maximum pooling; it may add the bias of the convolution before it, and end in a relu."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Sides, Spatial
from netdsl.stages.can import Can
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.layout import folded, inner, long_rows, plane, unfolded
from netdsl.stages.relu import relu, stop_negative
from netdsl.stages.rows import place_sums, repeated
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
        self.size = tuple(size + sum(sides) for size, sides in zip(shape[1:], padding, strict=True))
        self.out_size = tuple(
            (size - d * (k - 1) - 1) // s + 1
            for size, d, k, s in zip(self.size, dilation, kernel_size, stride, strict=True)
        )
        self.pads = self.size != shape[1:]
        c = shape[0]
        self.y = w.outputs(lambda n: (*plane(self.out_size), n, c))
        if self.pads:
            self.padded = w.zeros(lambda n: (*self.size, n, c))
            for padded in self.padded:
                padded[...] = -np.inf
        if w.training:
            self.x = w.of_blocks()
            self.best = w.arrays(lambda n: (*self.out_size, n, c))
            self.part = w.scratch("pool", lambda n: (*self.out_size, n, c))
            self.dx = w.gradients(lambda n: (*self.size, n, c))
            self.mask = w.masks((c, *self.out_size))

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, C)."""
        b = self.w.block
        x = unfolded(x, self.shape[1:])
        if self.pads:
            inner(self.padded[b], self.padding, self.shape[1:])[...] = x
            x = self.padded[b]
        y = self.y[b]
        out = unfolded(y, self.out_size)
        places = self.places(x)
        np.maximum(places[0], places[-1], out=out)
        for place in places[1:-1]:
            np.maximum(out, place, out=out)
        if self.w.training:
            self.x[b] = x
            self.best[b][...] = out
        if self.conv is not None and self.conv.bias is not None:
            rows = long_rows(y)
            rows += repeated(self.conv.bias, rows.shape[-1])
        return relu(y, y) if self.relu else y

    def places(self, x: Array) -> list[Array]:
        """For each place of the window, in reading order: the numbers of x that lie there, (*out_size, n, C)."""
        axes = list(zip(self.out_size, self.stride, self.dilation, strict=True))
        return [
            x[tuple(slice(u * d, u * d + (size - 1) * s + 1, s) for u, (size, s, d) in zip(tap, axes, strict=True))]
            for tap in np.ndindex(self.kernel_size)
        ]

    def backward(self, dy: Array) -> Array:
        """dy (Ho, Wo, n, C) -> dx (H, W, n, C)."""
        b = self.w.block
        y = self.y[b]
        if self.relu:
            stop_negative(dy, y, self.mask[b])
        if self.conv is not None and self.conv.bias is not None:
            self.add_gradient(self.conv.name + ".bias", place_sums(dy))
        dx, dy = self.dx[b], unfolded(dy, self.out_size)
        dx[...] = 0
        part, best = self.part[b], self.best[b]
        mask = self.mask[b][: dy.size].reshape(dy.shape)
        for place, target in zip(self.places(self.x[b]), self.places(dx), strict=True):
            np.equal(place, best, out=mask)
            np.multiply(dy, mask, out=part)
            target += part
            dy -= part  # what found its maximum is gone
        return folded(inner(dx, self.padding, self.shape[1:]))
