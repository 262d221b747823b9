"""Maps to vectors."""

from __future__ import annotations

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.can import Can
from netdsl.stages.layout import plane
from netdsl.stages.stage import Stage, Worker


class Flatten(Stage):
    """(H, W, n, C) -> (n, C*H*W), PyTorch's order, by way of rows that lie n * C + 16 numbers apart: n * C is often a
    power of two, whose multiples share one place in the cache. Two copies take a third of the time of one."""

    can = Can(has_own_output=True, has_own_gradient=True, forgets_input=True)

    def __init__(self, w: Worker, shape: Shape) -> None:
        self.start(w)
        c, (height, width) = shape[0], plane(shape[1:])
        self.y = w.outputs(lambda n: (n * c, height * width))
        self.apart = w.scratch("flat", lambda n: (height * width, n * c + 16))
        if w.training:
            self.dx = w.gradients(lambda n: (height, width, n, c))

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y (n, C*H*W)."""
        y, apart = self.y[self.w.block], self.apart[self.w.block][:, :-16]
        apart[...] = x.reshape(len(apart), -1)
        y[...] = apart.T
        return y.reshape(x.shape[2], -1)

    def backward(self, dy: Array) -> Array:
        """dy (n, C*H*W) -> dx (H, W, n, C)."""
        dx = self.dx[self.w.block]
        dx[...] = dy.reshape(*dx.shape[2:], *dx.shape[:2]).transpose(2, 3, 0, 1)
        return dx
