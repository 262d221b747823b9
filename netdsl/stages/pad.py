"""Zeros around maps."""

from __future__ import annotations

from netdsl.kernels.arrays import Array, Shape, Sides
from netdsl.stages.can import Can
from netdsl.stages.stage import Stage, Worker


class Pad(Stage):
    """Rows and columns of zeros around maps."""

    can = Can()

    def __init__(self, w: Worker, shape: Shape, padding: Sides) -> None:
        self.start(w)
        c, height, width = shape
        (top, bottom), (left, right) = padding
        self.place = (slice(top, top + height), slice(left, left + width))
        self.y = w.zeros(lambda n: (top + height + bottom, left + width + right, n, c))

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, C)."""
        y = self.y[self.w.block]
        y[self.place] = x
        return y

    def backward(self, dy: Array) -> Array:
        """dy (Ho, Wo, n, C) -> dx (H, W, n, C), a view."""
        return dy[self.place]
