"""The sum of what several branches give."""

from __future__ import annotations

import math

import numpy as np

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.can import Can
from netdsl.stages.layout import inside
from netdsl.stages.relu import relu, stop_negative
from netdsl.stages.rows import bands
from netdsl.stages.stage import Stage, Worker


class Add(Stage):
    """Adds up maps, tokens or vectors, and may end in a relu."""

    can = Can(is_sum=True, end_in_relu=True, has_own_output=True, copies_gradient=True, forgets_input=True)

    def __init__(self, w: Worker, shape: Shape, relu: bool = False) -> None:
        self.start(w)
        self.relu = relu
        self.y = w.outputs(lambda n: inside(shape, n))
        if w.training:
            self.copy = w.gradients(lambda n: inside(shape, n))
            self.mask = w.scratch("mask", lambda n: (n * math.prod(shape),), np.bool_)

    def forward(self, *xs: Array) -> Array:
        """Each x (..., C) -> y (..., C), the sum of all, band by band."""
        y, self.num_inputs = self.y[self.w.block], len(xs)
        self.w.each(bands(y), self.add, *xs)
        return y

    def add(self, band: slice, *xs: Array) -> None:
        """A band of y."""
        part = self.y[self.w.block][band]
        np.add(xs[0][band], xs[1][band], out=part)
        for x in xs[2:]:
            part += x[band]
        if self.relu:
            relu(part, part)

    def backward(self, dy: Array) -> tuple[Array, ...]:
        """dy (..., C) -> dx for each input, each its own array."""
        copies = [self.copy[self.w.block], *(np.empty_like(dy) for _ in range(self.num_inputs - 2))]
        self.w.each(bands(dy), self.send, dy, *copies)
        return dy, *copies

    def send(self, band: slice, dy: Array, *copies: Array) -> None:
        """A band of dy, as it goes back, to the other inputs."""
        part = dy[band]
        if self.relu:
            stop_negative(part, self.y[self.w.block][band], self.mask[self.w.block])
        for dx in copies:
            dx[band] = part
