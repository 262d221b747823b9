"""An activation that keeps numbers between two bounds (`relu6`)."""

from __future__ import annotations

import math

import numpy as np

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.can import Can
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.pointwise import Pointwise
from netdsl.stages.stage import Worker


class Clip(Pointwise):
    """y = x + bias, between `low` and `high`, by one pass; dx is dy where y lies between."""

    can = Can(is_clip=True, add_bias=True, work_in_place=True, has_own_output=True)

    piece = 65536

    def __init__(
        self, w: Worker, shape: Shape, low: float, high: float, conv: ConvStage | None = None, copies: bool = False
    ) -> None:
        super().__init__(w, shape, None, None, low, high, conv=conv, copies=copies)
        self.mask = w.scratch("mask", lambda n: (2 * n * math.prod(shape),), np.bool_)

    def forward(self, x: Array) -> Array:
        """x (..., C) -> y (..., C)."""
        y = x if self.in_place else self.y[self.w.block]
        if self.conv is None:
            return np.clip(x, *self.arguments, out=y)
        bias = np.resize(self.conv.bias, x.shape[-2:])
        for rows in self.pieces(x):
            np.add(x[rows], bias, out=y[rows])
            np.clip(y[rows], *self.arguments, out=y[rows])
        return y

    def backward(self, dy: Array) -> Array:
        """dy (..., C) -> dx (..., C), in its place."""
        low, high = self.arguments
        y = self.y[self.w.block]
        for rows in self.pieces(dy):
            part = dy[rows]
            above, below = self.mask[self.w.block][: 2 * part.size].reshape(2, *part.shape)
            np.greater(y[rows], low, out=above)
            np.less(y[rows], high, out=below)
            above &= below
            np.multiply(part, above, out=part)
        return self.with_bias_gradient(dy)
