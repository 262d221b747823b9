"""The product of what several branches give."""

from __future__ import annotations

from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.can import Can
from netdsl.stages.layout import inside
from netdsl.stages.stage import Stage, Worker


class Mul(Stage):
    """Multiplies its inputs. What has one number where others have many counts for all of them; a vector beside
    maps is a factor for each channel, as it lies."""

    can = Can(has_own_output=True, has_own_gradient=True)

    def __init__(self, w: Worker, *shapes: Shape) -> None:
        self.start(w)

        def whole(n: int) -> Shape:
            return np.broadcast_shapes(*(inside(shape, n) for shape in shapes))

        self.xs: list[Any] = [None] * len(w.sizes)
        self.y = w.outputs(whole)
        if w.training:
            self.dx = [w.gradients(whole) for _ in shapes]

    def forward(self, *xs: Array) -> Array:
        """Each x (..., C), or ones in place of some sizes -> y (..., C)."""
        y = self.y[self.w.block]
        self.xs[self.w.block] = xs
        np.multiply(xs[0], xs[1], out=y)
        for x in xs[2:]:
            y *= x
        return y

    def backward(self, dy: Array) -> tuple[Array, ...]:
        """dy (..., C) -> dx for each input, in its shape.

        dx = dy * (the product of the others), summed over what x counted for.
        """
        xs, dxs = self.xs[self.w.block], []
        for i, x in enumerate(xs):
            dx = self.dx[i][self.w.block]
            others = [other for j, other in enumerate(xs) if j != i]
            np.multiply(dy, others[0], out=dx)
            for other in others[1:]:
                dx *= other
            sizes = (*[1] * (dx.ndim - x.ndim), *x.shape)
            many = tuple(axis for axis in range(dx.ndim) if sizes[axis] == 1 != dx.shape[axis])
            dxs.append((dx.sum(axis=many, keepdims=True) if many else dx).reshape(x.shape))
        return tuple(dxs)
