"""Numbers that only move: tokens of maps and back, channels shuffled or laid out as pixels."""

from __future__ import annotations

from collections.abc import Sequence

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.can import Can
from netdsl.stages.layout import inside
from netdsl.stages.stage import Stage, Worker


class Moved(Stage):
    """The numbers of x, of `shape`, seen as `split` with the axes in the order `order`: that is y, of `out_shape`. In
    `split` "n" stands for the samples; x lies as (H, W, n, C)."""

    can = Can(has_own_output=True, has_own_gradient=True)

    def __init__(
        self, w: Worker, shape: Shape, out_shape: Shape, split: Sequence[int | str], order: Sequence[int]
    ) -> None:
        self.start(w)
        self.split, self.order = split, order
        self.y = w.outputs(lambda n: inside(out_shape, n))
        if w.training:
            self.dx = w.gradients(lambda n: inside(shape, n))

    def moved(self, x: Array, n: int) -> Array:
        """x (H, W, n, C) -> a view of it, with the axes of `split` in the order `order`."""
        return x.reshape([size if isinstance(size, int) else n for size in self.split]).transpose(self.order)

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y of `out_shape`, as stages see it."""
        y = self.y[self.w.block]
        moved = self.moved(x, self.w.sizes[self.w.block])
        y.reshape(moved.shape)[...] = moved
        return y

    def backward(self, dy: Array) -> Array:
        """dy of `out_shape` -> dx (H, W, n, C), each number back at its place."""
        dx = self.dx[self.w.block]
        moved = self.moved(dx, self.w.sizes[self.w.block])
        moved[...] = dy.reshape(moved.shape)
        return dx
