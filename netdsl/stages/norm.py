"""What the norms of each sample by itself share."""

from __future__ import annotations

from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.layout import inside
from netdsl.stages.rows import add_to_rows, repeated_for
from netdsl.stages.stage import Stage, Worker


class NormStage(Stage):
    """y = weight * x_hat + bias, where the norm has them; keeps x_hat in training, else it is made in y."""

    def prepare(self, w: Worker, name: str, shape: Shape, eps: float) -> None:
        self.start(w)
        self.name, self.shape, self.eps = name, shape, eps
        self.weight, self.bias = w.params.get(name + ".weight"), w.params.get(name + ".bias")
        self.y = w.outputs(lambda n: inside(shape, n))
        self.inv_std: list[Any] = [None] * len(w.sizes)
        self.x_hat = self.y
        if w.training:
            self.x_hat = w.arrays(lambda n: inside(shape, n))
            self.part = w.scratch("part", lambda n: (n * int(np.prod(shape)),))

    def scaled(self, x_hat: Array, y: Array) -> None:
        """x_hat (..., C) -> y (..., C), with weight and bias where there are any; y may be x_hat."""
        if self.weight is None:
            y[...] = x_hat
        else:
            weight = repeated_for(y, self.weight)
            np.multiply(x_hat.reshape(-1, len(weight)), weight, out=y.reshape(-1, len(weight)))
        add_to_rows(y, self.bias)

    def add_gradients(self, dweight: Array, dbias: Array) -> None:
        """The gradients of weight and bias, (C,) each, by one block."""
        if self.weight is not None:
            self.add_gradient(self.name + ".weight", dweight)
        if self.bias is not None:
            self.add_gradient(self.name + ".bias", dbias)


def is_felt(left: Array, var: Array) -> bool:
    """Whether of some mean so much is left, beside the deviation, that it is not rounding: the sum of many numbers
    beside a large mean is that wrong."""
    return (left * left > 16 * np.finfo(var.dtype).eps ** 2 * var).any()
