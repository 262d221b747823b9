"""Maps of another size: each number repeated, or mixed along H and W by constant matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Spatial
from netdsl.stages.can import Can
from netdsl.stages.stage import Stage, Worker


class Repeat(Stage):
    """Each number of a map fh times along H and fw times along W."""

    can = Can(has_own_output=True, has_own_gradient=True)

    def __init__(self, w: Worker, shape: Shape, factor: Spatial) -> None:
        self.start(w)
        c, height, width = shape
        self.size = (height, factor[0], width, factor[1], -1)
        self.y = w.outputs(lambda n: (height * factor[0], width * factor[1], n, c))
        if w.training:
            self.dx = w.gradients(lambda n: (height, width, n, c))

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y (H*fh, W*fw, n, C)."""
        y = self.y[self.w.block]
        y.reshape(self.size)[...] = x.reshape(x.shape[0], 1, x.shape[1], 1, -1)
        return y

    def backward(self, dy: Array) -> Array:
        """dy (H*fh, W*fw, n, C) -> dx (H, W, n, C), the sum of what became of each number."""
        dx = self.dx[self.w.block]
        np.sum(dy.reshape(self.size), axis=(1, 3), out=dx.reshape(*dx.shape[:2], -1))
        return dx


class Resample(Stage):
    """y = rows x columns^T for each map, by the matrices make(*arguments, dtype) of each axis."""

    can = Can(has_own_output=True, has_own_gradient=True)

    def __init__(
        self, w: Worker, shape: Shape, out_size: Shape, make: Callable[..., Array], arguments: Sequence[tuple[Any, ...]]
    ) -> None:
        self.start(w)
        c, height, width = shape
        self.rows, self.columns = (w.constants(make, *axis) for axis in arguments)
        self.middle = w.scratch("middle", lambda n: (out_size[0] * width * n * c,))
        self.y = w.outputs(lambda n: (*out_size, n, c))
        if w.training:
            self.dx = w.gradients(lambda n: (height, width, n, c))

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, C)."""
        y = self.y[self.w.block]
        middle = self.middle[self.w.block][: len(y) * x[0].size].reshape(len(y), x.shape[1], -1)
        np.matmul(self.rows, x.reshape(len(x), -1), out=middle.reshape(len(y), -1))
        np.matmul(self.columns, middle, out=y.reshape(*y.shape[:2], -1))
        return y

    def backward(self, dy: Array) -> Array:
        """dy (Ho, Wo, n, C) -> dx (H, W, n, C), dx = rows^T dy columns for each map."""
        dx = self.dx[self.w.block]
        middle = self.middle[self.w.block][: len(dy) * dx[0].size].reshape(len(dy), dx.shape[1], -1)
        np.matmul(self.columns.T, dy.reshape(*dy.shape[:2], -1), out=middle)
        np.matmul(self.rows.T, middle.reshape(len(dy), -1), out=dx.reshape(len(dx), -1))
        return dx
