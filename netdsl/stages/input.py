"""The first stage of a network: what it is given, as stages see it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netdsl.kernels.arrays import Array, Number, Shape
from netdsl.kernels.normalization import constant
from netdsl.stages.can import Can
from netdsl.stages.layout import inside, is_map, plane
from netdsl.stages.stage import Stage, Worker


class Input(Stage):
    """The network's input, a map (n, C, *space) -> (H, W, n, C)."""

    can = Can(has_own_output=True)

    def __init__(self, w: Worker, shape: Shape) -> None:
        self.start(w)
        self.y = w.arrays(lambda n: (*plane(shape[1:]), n, shape[0]))

    def forward(self, x: Array) -> Array:
        """x (n, C, *space) -> y (H, W, n, C)."""
        y = self.y[self.w.block]
        y[...] = x.reshape(*x.shape[:2], *y.shape[:2]).transpose(2, 3, 0, 1)
        return y


class NormalizedInput(Input):
    """The network's input, (n, C, *space) -> (x - mean) / std as (H, W, n, C); vectors and tokens keep their axes."""

    can = Can(has_own_output=True)

    def __init__(self, w: Worker, shape: Shape, mean: Number | Sequence[float], std: Number | Sequence[float]) -> None:
        self.start(w)
        self.z = w.arrays(lambda n: (n, *shape))
        self.y = w.arrays(lambda n: inside(shape, n)) if is_map(shape) else []
        axis = 1 if is_map(shape) else len(shape)  # of the channels
        self.mean, self.std = (constant(numbers, 1 + len(shape), axis) for numbers in (mean, std))

    def forward(self, x: Array) -> Array:
        """x (n, C, *space) -> y (H, W, n, C), normalized; vectors (n, D) and tokens (n, T, D) keep their axes."""
        z = self.z[self.w.block]
        np.subtract(x.reshape(z.shape), self.mean, out=z)
        z /= self.std
        return super().forward(z) if self.y else z
