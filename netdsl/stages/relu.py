"""A relu: a stage of its own, or the end of another stage, while the numbers are in the cache."""

from __future__ import annotations

import math

import numpy as np

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.can import Can
from netdsl.stages.layout import inside
from netdsl.stages.stage import Stage, Worker


def relu(x: Array, out: Array) -> Array:
    """x (..., C) -> max(x, 0), written to `out`; both lie in one piece along samples and channels. NumPy takes a third
    of the time for the maximum of two arrays that it takes for that of an array and a number."""
    rows, made = (array.reshape(*array.shape[:-2], -1) for array in (x, out))
    np.maximum(rows, np.zeros(rows.shape[-1], x.dtype), out=made)
    return out


def stop_negative(dy: Array, y: Array, mask: Array) -> None:
    """The gradient of a relu that gave y (..., C) stops: dy stays where y is above 0. mask: scratch, flat."""
    mask = mask[: y.size].reshape(y.shape)
    np.greater(y, 0, out=mask)
    np.multiply(dy, mask, out=dy)


class Relu(Stage):
    """y = max(x, 0). Most stages can do that at their end, and then there is no stage of its own."""

    can = Can(is_relu=True, has_own_output=True)

    def __init__(self, w: Worker, shape: Shape) -> None:
        self.start(w)
        self.y = w.outputs(lambda n: inside(shape, n))
        if w.training:
            self.mask = w.scratch("mask", lambda n: (n * math.prod(shape),), np.bool_)

    def forward(self, x: Array) -> Array:
        """x (..., C) -> y (..., C)."""
        return relu(x, self.y[self.w.block])

    def backward(self, dy: Array) -> Array:
        """dy (..., C) -> dx (..., C), in its place: dy where y > 0."""
        stop_negative(dy, self.y[self.w.block], self.mask[self.w.block])
        return dy
