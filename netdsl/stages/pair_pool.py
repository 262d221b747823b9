"""Maximum pooling of pairs that do not overlap; it may add the bias of the convolution before it, and end in a relu."""

from __future__ import annotations

import math
from typing import Any

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
    relu: both keep the order, so they may wait for it. shape (C, *space) of x. The axes are halved one after the other,
    and bits say of each pair whether the second is larger: so every dy goes to the first maximum of its window."""

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
        whole = tuple(n * k for n, k in zip(self.out_size, kernel_size, strict=True))
        self.is_odd, self.whole, size = whole != self.size, tuple(map(slice, whole)), list(whole)
        self.y = w.outputs(lambda n: (*plane(self.out_size), n, c))
        axes = [axis for axis, k in enumerate(kernel_size) if k == 2]
        self.steps: list[tuple[Any, Any, list[Array], list[Array]]] = []
        for axis in axes[::-1] if w.training else axes:  # at inference rows lie in one piece
            first, second = ((*[slice(None)] * axis, slice(i, None, 2)) for i in (0, 1))
            size[axis] //= 2
            later = w.arrays(lambda n: (*size, n * c), np.bool_) if w.training else []
            made = w.scratch(("pool", axis), lambda n: (*size, n * c)) if len(self.steps) + 1 < len(axes) else []
            self.steps.append((first, second, later, made or [y.reshape(*size, -1) for y in self.y]))
        if w.training:
            self.dx = w.gradients(lambda n: (*plane(self.size), n, c))
            self.mask = w.scratch("mask", lambda n: (n * c * math.prod(self.out_size),), np.bool_)

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, C)."""
        b, y, rows = self.w.block, self.y[self.w.block], x.reshape(*self.size, -1)
        if self.is_odd:
            rows = rows[self.whole]
        for first, second, later, made in self.steps:
            if self.w.training:
                np.greater(rows[second], rows[first], out=later[b])
            rows = np.maximum(rows[first], rows[second], out=made[b])
        if self.conv is not None:
            rows += repeated(self.conv.bias, rows.shape[-1])
        return relu(y, y) if self.relu else y

    def backward(self, dy: Array) -> Array:
        """dy (Ho, Wo, n, C) -> dx (H, W, n, C)."""
        b = self.w.block
        if self.relu:
            stop_negative(dy, self.y[b], self.mask[b])
        if self.conv is not None:
            self.add_gradient(self.conv.name + ".bias", place_sums(dy))
        dx, rows = self.dx[b].reshape(*self.size, -1), dy.reshape(*self.out_size, -1)
        if self.is_odd:
            for axis, part in enumerate(self.whole):  # those that dx was handed to may have written behind it
                dx[(*(slice(None),) * axis, slice(part.stop, None))] = 0
            dx = dx[self.whole]
        given = [dx, *(made[b] for *_, made in self.steps[:-1])]
        for (first, second, later, _), made in reversed(list(zip(self.steps, given, strict=True))):
            np.multiply(rows, later[b], out=made[second])
            np.subtract(rows, made[second], out=made[first])
            rows = made
        return self.dx[b]
