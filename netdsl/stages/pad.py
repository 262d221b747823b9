"""Zeros around maps."""

from __future__ import annotations

from netdsl.kernels.arrays import Array, Shape, Sides
from netdsl.stages.can import Can
from netdsl.stages.layout import folded, inner, plane, unfolded
from netdsl.stages.stage import Stage, Worker


class Pad(Stage):
    """Zeros around maps."""

    can = Can()

    def __init__(self, w: Worker, shape: Shape, padding: Sides) -> None:
        self.start(w)
        self.space, self.sides = shape[1:], padding
        self.out_size = tuple(size + sum(side) for size, side in zip(self.space, padding, strict=True))
        self.y = w.zeros(lambda n: (*plane(self.out_size), n, shape[0]))

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, C)."""
        y = self.y[self.w.block]
        inner(unfolded(y, self.out_size), self.sides, self.space)[...] = unfolded(x, self.space)
        return y

    def backward(self, dy: Array) -> Array:
        """dy (Ho, Wo, n, C) -> dx (H, W, n, C), a view, but of a volume."""
        return folded(inner(unfolded(dy, self.out_size), self.sides, self.space))
