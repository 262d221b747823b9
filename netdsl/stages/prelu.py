"""A relu with a learned slope for negative numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.can import Can
from netdsl.stages.layout import inside
from netdsl.stages.stage import Stage, Worker


class Prelu(Stage):
    """y = max(x, 0) + weight * min(x, 0), one weight in all or one for each channel."""

    can = Can(is_named=True, has_own_output=True)

    def __init__(self, w: Worker, name: str, shape: Shape) -> None:
        self.start(w)
        self.name, self.weight = name, w.params[name + ".weight"]
        self.y = w.outputs(lambda n: inside(shape, n))
        self.part = w.scratch("part", lambda n: (n * int(np.prod(shape)),))
        self.x: list[Any] = [None] * len(w.sizes)

    def forward(self, x: Array) -> Array:
        """x (..., C) -> y (..., C)."""
        self.x[self.w.block], y = x, self.y[self.w.block]
        np.minimum(x, 0, out=y)
        y *= self.weight
        y += np.maximum(x, 0, out=self.part[self.w.block][: x.size].reshape(x.shape))
        return y

    def backward(self, dy: Array) -> Array:
        """dy (..., C) -> dx (..., C), in its place: dy where x > 0, else weight * dy. dweight sums dy * x
        where x <= 0."""
        x = self.x[self.w.block]
        part = np.minimum(x, 0, out=self.part[self.w.block][: x.size].reshape(x.shape))
        part *= dy
        channels = part.reshape(-1, len(self.weight)).sum(axis=0) if len(self.weight) > 1 else part.sum()
        self.add_gradient(self.name + ".weight", channels)
        np.multiply(dy, self.weight, out=part)
        np.copyto(dy, part, where=x <= 0)
        return dy
