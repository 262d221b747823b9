"""Maps without their rims."""

from __future__ import annotations

from netdsl.kernels.arrays import Array, Shape, Sides
from netdsl.stages.can import Can
from netdsl.stages.layout import folded, inner, inside, unfolded
from netdsl.stages.stage import Stage, Worker


class Crop(Stage):
    """Maps without some of their numbers on each side; sides ((top, bottom), (left, right))."""

    can = Can(has_own_gradient=True)

    def __init__(self, w: Worker, shape: Shape, sides: Sides) -> None:
        self.start(w)
        self.space = shape[1:]
        self.out_size = tuple(size - sum(side) for size, side in zip(self.space, sides, strict=True))
        self.sides = sides
        if w.training:
            self.dx = w.gradients(lambda n: inside(shape, n))

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, C), a view, but of a volume."""
        return folded(inner(unfolded(x, self.space), self.sides, self.out_size))

    def backward(self, dy: Array) -> Array:
        """dy (Ho, Wo, n, C) -> dx (H, W, n, C), zeros around it."""
        dx = self.dx[self.w.block]
        dx[...] = 0
        inner(unfolded(dx, self.space), self.sides, self.out_size)[...] = unfolded(dy, self.out_size)
        return dx
