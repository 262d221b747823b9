"""Some of the channels or features."""

from __future__ import annotations

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.can import Can
from netdsl.stages.layout import inside
from netdsl.stages.stage import Stage, Worker


class Slice(Stage):
    """Some of the channels of maps, or of the features of tokens or vectors."""

    can = Can(has_own_output=True, has_own_gradient=True)

    def __init__(self, w: Worker, shape: Shape, start: int, stop: int) -> None:
        self.start(w)
        self.part = slice(start, stop)
        self.y = w.outputs(lambda n: (*inside(shape, n)[:-1], stop - start))
        if w.training:
            self.dx = w.gradients(lambda n: inside(shape, n))

    def forward(self, x: Array) -> Array:
        """x (..., C) -> y (..., stop - start)."""
        y = self.y[self.w.block]
        y[...] = x[..., self.part]
        return y

    def backward(self, dy: Array) -> Array:
        """dy (..., stop - start) -> dx (..., C), zeros where nothing was taken."""
        dx = self.dx[self.w.block]
        dx[..., : self.part.start] = 0
        dx[..., self.part] = dy
        dx[..., self.part.stop :] = 0
        return dx
