"""Branches behind each other."""

from __future__ import annotations

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.can import Can
from netdsl.stages.layout import inside
from netdsl.stages.stage import Stage, Worker


class Cat(Stage):
    """Puts the channels of maps, the features of tokens or vectors, behind each other. shapes: one of each input."""

    can = Can(has_own_output=True, has_own_gradient=True, forgets_input=True)

    def __init__(self, w: Worker, *shapes: Shape) -> None:
        self.start(w)
        sizes = [inside(shape, 1)[-1] for shape in shapes]
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        self.parts = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
        self.y = w.outputs(lambda n: (*inside(shapes[0], n)[:-1], ends[-1]))
        if w.training:
            self.dx = [self.gradients(w, shape) for shape in shapes]

    def gradients(self, w: Worker, shape: Shape) -> list[Array]:
        """The arrays for the gradients by one of the inputs."""
        return w.gradients(lambda n: inside(shape, n))

    def forward(self, *xs: Array) -> Array:
        """Each x (..., C_i) -> y (..., sum of all C_i)."""
        y = self.y[self.w.block]
        for part, x in zip(self.parts, xs, strict=True):
            y[..., part] = x
        return y

    def backward(self, dy: Array) -> tuple[Array, ...]:
        """dy (..., sum of all C_i) -> for each input its part, dx (..., C_i)."""
        dxs = [dx[self.w.block] for dx in self.dx]
        for part, dx in zip(self.parts, dxs, strict=True):
            dx[...] = dy[..., part]
        return tuple(dxs)
