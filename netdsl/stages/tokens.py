"""What tokens are given, and one of them: a token before all others, a vector for each position, one token."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Shape
from netdsl.kernels.positions import sincos_table
from netdsl.stages.can import Can
from netdsl.stages.stage import Stage, Worker


class ClassToken(Stage):
    """A learned token before all others."""

    can = Can(is_named=True, has_own_output=True, has_own_gradient=True)

    def __init__(self, w: Worker, name: str, shape: Shape) -> None:
        self.start(w)
        self.name, self.weight = name, w.params[name]  # (D, 1, 1)
        t, d = shape
        self.y = w.outputs(lambda n: (n, t + 1, d))
        if w.training:
            self.dx = w.gradients(lambda n: (n, t, d))

    def forward(self, x: Array) -> Array:
        """x (n, T, D) -> y (n, T + 1, D)."""
        y = self.y[self.w.block]
        y[:, 0], y[:, 1:] = self.weight.reshape(-1), x
        return y

    def backward(self, dy: Array) -> Array:
        """dy (n, T + 1, D) -> dx (n, T, D)."""
        self.add_gradient(self.name, dy[:, 0].sum(axis=0).reshape(self.weight.shape))
        dx = self.dx[self.w.block]
        dx[...] = dy[:, 1:]
        return dx


class Positions(Stage):
    """y = x + weight, a learned vector for each of the T positions."""

    can = Can(is_named=True, has_own_output=True)

    def __init__(self, w: Worker, name: str, shape: Shape) -> None:
        self.start(w)
        self.name, self.stored = name, w.params[name]  # (D, T, 1)
        self.weight = np.empty(shape, w.dtype)
        self.y = w.outputs(lambda n: (n, *shape))

    def refresh(self) -> None:
        """Lay the weight as tokens lie."""
        self.weight[...] = self.stored[:, :, 0].T

    def forward(self, x: Array) -> Array:
        """x (n, T, D) -> y (n, T, D)."""
        return np.add(x, self.weight, out=self.y[self.w.block])

    def backward(self, dy: Array) -> Array:
        """dy (n, T, D) -> dx, the same."""
        sums = np.dot(np.ones(len(dy), dy.dtype), dy.reshape(len(dy), -1))
        self.add_gradient(self.name, sums.reshape(self.weight.shape).T[..., None])
        return dy


class SinePositions(Stage):
    """y = x + weight, sines and cosines for each of the T positions (Vaswani et al. 2017, section 3.5)."""

    can = Can(has_own_output=True)

    def __init__(self, w: Worker, shape: Shape) -> None:
        self.start(w)
        self.weight = w.constants(sincos_table, 0, *shape)
        self.y = w.outputs(lambda n: (n, *shape))

    def forward(self, x: Array) -> Array:
        """x (n, T, D) -> y (n, T, D)."""
        return np.add(x, self.weight, out=self.y[self.w.block])

    def backward(self, dy: Array) -> Array:
        """dy (n, T, D) -> dx, the same."""
        return dy


class Take(Stage):
    """The token of that number."""

    can = Can(has_own_output=True, has_own_gradient=True)

    def __init__(self, w: Worker, shape: Shape, index: int) -> None:
        self.start(w)
        self.index = index
        self.y = w.outputs(lambda n: (n, shape[1]))
        if w.training:
            self.dx = w.gradients(lambda n: (n, *shape))

    def forward(self, x: Array) -> Array:
        """x (n, T, D) -> y (n, D)."""
        y = self.y[self.w.block]
        y[...] = x[:, self.index]
        return y

    def backward(self, dy: Array) -> Array:
        """dy (n, D) -> dx (n, T, D), dy at that token and zeros elsewhere."""
        dx = self.dx[self.w.block]
        dx[...] = 0
        dx[:, self.index] = dy
        return dx
