"""Maps without their rims."""

from __future__ import annotations

from netdsl.kernels.arrays import Array, Shape, Sides
from netdsl.stages.can import Can
from netdsl.stages.stage import Stage, Worker


class Crop(Stage):
    """Maps without some rows and columns on each side; sides ((top, bottom), (left, right))."""

    can = Can(has_own_gradient=True)

    def __init__(self, w: Worker, shape: Shape, sides: Sides) -> None:
        self.start(w)
        c, height, width = shape
        (top, bottom), (left, right) = sides
        self.place = (slice(top, height - bottom), slice(left, width - right))
        if w.training:
            self.dx = w.gradients(lambda n: (height, width, n, c))

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, C), a view."""
        return x[self.place]

    def backward(self, dy: Array) -> Array:
        """dy (Ho, Wo, n, C) -> dx (H, W, n, C), zeros around it."""
        dx = self.dx[self.w.block]
        dx[...] = 0
        dx[self.place] = dy
        return dx
