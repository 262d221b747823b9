"""A learned factor for each channel or feature."""

from __future__ import annotations

from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.can import Can
from netdsl.stages.layout import inside
from netdsl.stages.stage import Stage, Worker


class Scale(Stage):
    """y = weight * x, a weight for each channel of maps, each feature of tokens or vectors."""

    can = Can(is_named=True, has_own_output=True)

    def __init__(self, w: Worker, name: str, shape: Shape) -> None:
        self.start(w)
        self.name, self.weight = name, w.params[name].reshape(-1)
        self.x: list[Any] = [None] * len(w.sizes)
        self.y = w.outputs(lambda n: inside(shape, n))

    def forward(self, x: Array) -> Array:
        """x (..., C) -> y (..., C)."""
        self.x[self.w.block] = x
        return np.multiply(x, self.weight, out=self.y[self.w.block])

    def backward(self, dy: Array) -> Array:
        """dy (..., C) -> dx = weight * dy, in its place; dweight sums dy * x over all but the channels."""
        rows, x = (a.reshape(-1, len(self.weight)) for a in (dy, self.x[self.w.block]))
        products = np.einsum("ij,ij->j", rows, x)
        self.add_gradient(self.name, products.reshape(self.w.grads[self.name].shape))
        dy *= self.weight
        return dy
