"""Maximum pooling of pairs that do not overlap; it may add the bias of the convolution before it, and end in a relu."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Spatial
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.layout import plane
from netdsl.stages.max_pool import MaxPool
from netdsl.stages.relu import relu, stop_negative
from netdsl.stages.rows import place_sums, repeated
from netdsl.stages.stage import Stage, Worker


class PairPool(Stage):
    """Maximum pooling of x (H, W, n, C) by windows of 2, or 1 along some axes, that do not overlap; then + bias, then
    relu: both keep the order, so they may wait for it. shape (C, *space) of x.

    The axes are halved one after the other, and bits say of each pair whether the second is larger: so every dy goes to
    the first maximum of its window.
    """

    can = MaxPool.can

    def __init__(
        self,
        w: Worker,
        shape: Shape,
        kernel_size: Spatial,
        conv: ConvStage | None = None,
        relu: bool = False,
        dx: bool = True,
    ) -> None:
        self.start(w)
        self.conv, self.relu, c, self.size = conv, relu, shape[0], shape[1:]
        self.out_size = tuple(size // k for size, k in zip(self.size, kernel_size, strict=True))
        self.is_odd = any(size % k for size, k in zip(self.size, kernel_size, strict=True))
        self.whole = tuple(slice(k * size) for size, k in zip(self.out_size, kernel_size, strict=True))
        self.y = w.outputs(lambda n: (*plane(self.out_size), n, c))
        axes = [axis for axis, k in enumerate(kernel_size) if k == 2]
        self.axes = axes[::-1] if w.training else axes  # at inference rows lie in one piece
        size, self.made, self.later = [part.stop for part in self.whole], [], []
        for i, axis in enumerate(self.axes):
            size[axis] //= 2
            self.later.append(w.bits(lambda n: (*size, n * c)) if w.training else [])
            is_last = i == len(axes) - 1
            self.made.append(self.rows_of(self.y) if is_last else w.scratch(("pool", i), lambda n: (*size, n * c)))
        if w.training:
            self.dx = w.gradients(lambda n: (*plane(self.size), n, c))
            self.mask = w.masks((c, *self.out_size))

    def rows_of(self, arrays: list[Array]) -> list[Array]:
        """Arrays (Ho, Wo, n, C) -> views of them, (*out_size, n*C)."""
        return [array.reshape(*self.out_size, -1) for array in arrays]

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, C)."""
        b = self.w.block
        y, rows = self.y[b], x.reshape(*self.size, -1)
        if self.is_odd:
            rows = rows[self.whole]
        for axis, made, later in zip(self.axes, self.made, self.later, strict=True):
            first, second = halves(rows, axis)
            if self.w.training:
                np.greater(second, first, out=later[b])
            rows = np.maximum(first, second, out=made[b])
        if self.conv is not None and self.conv.bias is not None:
            rows += repeated(self.conv.bias, rows.shape[-1])
        return relu(y, y) if self.relu else y

    def backward(self, dy: Array) -> Array:
        """dy (Ho, Wo, n, C) -> dx (H, W, n, C)."""
        b = self.w.block
        if self.relu:
            stop_negative(dy, self.y[b], self.mask[b])
        if self.conv is not None and self.conv.bias is not None:
            self.add_gradient(self.conv.name + ".bias", place_sums(dy))
        dx, rows = self.dx[b].reshape(*self.size, -1), dy.reshape(*self.out_size, -1)
        if self.is_odd:
            for axis, part in enumerate(self.whole):  # those that dx was handed to may have written behind it
                dx[(*(slice(None),) * axis, slice(part.stop, None))] = 0
            dx = dx[self.whole]
        between = [dx, *(made[b] for made in self.made[:-1])]
        for axis, later, made in reversed(list(zip(self.axes, self.later, between, strict=True))):
            first, second = halves(made, axis)
            np.multiply(rows, later[b], out=second)
            np.subtract(rows, second, out=first)
            rows = made
        return self.dx[b]


def halves(x: Array, axis: int) -> tuple[Array, Array]:
    """The first and the second of each pair along an axis of x, views."""
    before = (slice(None),) * axis
    return x[(*before, slice(0, None, 2))], x[(*before, slice(1, None, 2))]
