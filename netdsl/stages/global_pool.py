"""Pooling of whole maps to vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.can import Can
from netdsl.stages.layout import inside
from netdsl.stages.stage import Stage, Worker


class GlobalAverage(Stage):
    """Global average pooling, (H, W, n, C) -> (n, C)."""

    can = Can(has_own_output=True, has_own_gradient=True, forgets_input=True)

    def __init__(self, w: Worker, shape: Shape) -> None:
        self.start(w)
        self.places = math.prod(shape[1:])
        self.y = w.outputs(lambda n: (n, shape[0]))
        if w.training:
            self.dx = w.gradients(lambda n: inside(shape, n))

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y (n, C), the mean of every map."""
        return np.mean(x.reshape(-1, *x.shape[2:]), axis=0, out=self.y[self.w.block])

    def backward(self, dy: Array) -> Array:
        """dy (n, C) -> dx (H, W, n, C), dy / (H*W) everywhere."""
        dx = self.dx[self.w.block]
        dx[...] = dy / self.places
        return dx


class GlobalMaximum(Stage):
    """Global maximum pooling, (H, W, n, C) -> (n, C). Every dy goes to the first maximum of its map: the first row that
    has it, and the first place there."""

    can = Can(has_own_gradient=True)

    def __init__(self, w: Worker, shape: Shape) -> None:
        self.start(w)
        self.winner: list[Any] = [None] * len(w.sizes)
        if w.training:
            self.dx = w.gradients(lambda n: inside(shape, n))

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y (n, C), the maximum of every map."""
        maps = x.reshape(*x.shape[:2], -1)  # (H, W, n*C)
        if not self.w.training:
            return maps.max(axis=(0, 1)).reshape(x.shape[2:])
        every = np.arange(maps.shape[2])
        row = maps.max(axis=1).argmax(axis=0)
        rows = maps[row, :, every]  # (n*C, W)
        column = rows.argmax(axis=1)
        self.winner[self.w.block] = (row, column, every)
        return rows[every, column].reshape(x.shape[2:])

    def backward(self, dy: Array) -> Array:
        """dy (n, C) -> dx (H, W, n, C), dy where the maximum was."""
        dx = self.dx[self.w.block]
        dx[...] = 0
        dx.reshape(*dx.shape[:2], -1)[self.winner[self.w.block]] = dy.reshape(-1)
        return dx
