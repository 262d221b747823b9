"""Maximum pooling; it may add the bias of the convolution before it, and end in a relu."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Sides, Spatial
from netdsl.stages.can import Can
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.layout import folded, inner, long_rows, plane, unfolded
from netdsl.stages.relu import relu, stop_negative
from netdsl.stages.rows import column_sums, repeated, row_sums
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
        self.pairs = kernel_size == stride and max(dilation) == 1 and set(kernel_size) in ({2}, {1, 2})
        c = shape[0]
        self.y = w.outputs(lambda n: (*plane(self.out_size), n, c))
        if self.pads:
            self.padded = w.zeros(lambda n: (*self.size, n, c))
            for padded in self.padded:
                padded[...] = -np.inf
        if self.pairs:
            self.make_room_for_pairs()
        elif w.training:
            self.x = w.of_blocks()
            self.best = w.arrays(lambda n: (*self.out_size, n, c))
            self.part = w.scratch("pool", lambda n: (*self.out_size, n, c))
        if w.training:
            self.dx = w.gradients(lambda n: (*self.size, n, c))
            self.mask = w.masks((c, *self.out_size))

    def make_room_for_pairs(self) -> None:
        """Arrays for what lies between the axes, which are halved one after the other, from the last to the first in
        training, and for bits that say where each maximum was. At inference from the first to the last: rows lie in
        one piece."""
        w, axes = self.w, [axis for axis, k in enumerate(self.kernel_size) if k == 2]
        self.axes = axes[::-1] if w.training else axes
        self.whole = tuple(k * size for k, size in zip(self.kernel_size, self.out_size, strict=True))
        sizes = [self.whole]
        for axis in self.axes:
            sizes.append((*sizes[-1][:axis], self.out_size[axis], *sizes[-1][axis + 1 :]))
        self.between = [self.of_size(("pool", i), size) for i, size in enumerate(sizes[1:-1])]
        if w.training:
            self.later = [self.bits_of(size) for size in sizes[1:]]

    def of_size(self, key: Hashable, size: Shape) -> list[Array]:
        """Scratch for rows of a size along the axes of space, (*size, n*C)."""
        return self.w.scratch(key, lambda n: (*size, n * self.shape[0]))

    def bits_of(self, size: Shape) -> list[Array]:
        """A bit for each number of such rows."""
        return self.w.bits(lambda n: (*size, n * self.shape[0]))

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, C)."""
        b = self.w.block
        x = unfolded(x, self.shape[1:])
        if self.pads:
            inner(self.padded[b], self.padding, self.shape[1:])[...] = x
            x = self.padded[b]
        y = self.y[b]
        out = unfolded(y, self.out_size)
        if self.pairs:
            self.pair_maximum(long_rows(x), long_rows(out))
        else:
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

    def halves(self, x: Array, axis: int) -> tuple[Array, Array]:
        """The first and the second of each pair along an axis, views."""
        before = (slice(None),) * axis
        return x[(*before, slice(None, None, 2))], x[(*before, slice(1, None, 2))]

    def pair_maximum(self, x: Array, y: Array) -> None:
        """x (*size, n*C) -> y (*out_size, n*C), for pairs that do not overlap, along each axis of them."""
        b = self.w.block
        given = x[tuple(slice(size) for size in self.whole)]
        for i, (axis, made) in enumerate(zip(self.axes, [*(array[b] for array in self.between), y], strict=True)):
            first, second = self.halves(given, axis)
            np.maximum(first, second, out=made)
            if self.w.training:
                np.greater(second, first, out=self.later[i][b])
            given = made

    def backward(self, dy: Array) -> Array:
        """dy (Ho, Wo, n, C) -> dx (H, W, n, C)."""
        b = self.w.block
        y = self.y[b]
        if self.relu:
            stop_negative(dy, y, self.mask[b])
        if self.conv is not None and self.conv.bias is not None:
            self.add_gradient(self.conv.name + ".bias", column_sums(row_sums(dy), dy.shape[-1]))
        dx, dy = self.dx[b], unfolded(dy, self.out_size)
        if self.pairs:
            self.pair_gradient(long_rows(dy), long_rows(dx))
        else:
            self.window_gradient(dy, dx)
        return folded(inner(dx, self.padding, self.shape[1:]))

    def pair_gradient(self, dy: Array, dx: Array) -> None:
        """dy (*out_size, n*C) -> dx (*size, n*C), for pairs that do not overlap."""
        b = self.w.block
        for axis, size in enumerate(self.whole):  # of odd sizes; those that dx was handed to may have written there
            dx[(*(slice(None),) * axis, slice(size, None))] = 0
        whole = dx[tuple(slice(size) for size in self.whole)]
        for i, made in reversed(list(enumerate([whole, *(array[b] for array in self.between)]))):
            first, second = self.halves(made, self.axes[i])
            np.multiply(dy, self.later[i][b], out=second)
            np.subtract(dy, second, out=first)
            dy = made

    def window_gradient(self, dy: Array, dx: Array) -> None:
        """dy (*out_size, n, C) -> dx (*size, n, C), one place of the window after the other."""
        b = self.w.block
        dx[...] = 0
        part, best = self.part[b], self.best[b]
        mask = self.mask[b][: dy.size].reshape(dy.shape)
        for place, target in zip(self.places(self.x[b]), self.places(dx), strict=True):
            np.equal(place, best, out=mask)
            np.multiply(dy, mask, out=part)
            target += part
            dy -= part  # what found its maximum is gone
