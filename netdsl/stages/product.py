"""Rows times weights, with the gradient of the weights."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Param
from netdsl.stages.rows import add_to_rows
from netdsl.stages.stage import Stage


class ProductStage(Stage):
    """What stages share that multiply the rows of vectors or tokens by weights, stored as (D, F)."""

    many = 1 << 18

    def of_block(self, weight: Array) -> Array:
        """Scratch for the gradient of a weight by one block."""
        return self.w.scratch("dweight", lambda n: weight.shape)[0]

    def multiply_first(self, x: Array, weight: Array, y: Array) -> None:
        """y (..., F) = x weight, x (..., D), by columns where the rows of a product would each read many weights."""
        if self.w.splits and weight.size > self.many:
            self.w.multiply(x.reshape(-1, x.shape[-1]), weight, y.reshape(-1, y.shape[-1]))

    def multiply_rows(self, part: slice, x: Array, weight: Array, bias: Param, plus: Array | None, y: Array) -> Array:
        """Some rows of y (..., F) = x weight + bias, plus (..., F) or None, which `multiply_first` was given."""
        rows = y.reshape(-1, y.shape[-1])[part]
        if not (self.w.splits and weight.size > self.many):
            np.matmul(x.reshape(-1, x.shape[-1])[part], weight, out=rows)
        add_to_rows(rows, bias)
        if plus is not None:
            rows += plus.reshape(-1, plus.shape[-1])[part]
        return rows

    def add_weight_gradient(self, name: str, x: Array, dy: Array, part: Array) -> None:
        """x (rows, D), dy (rows, F) -> the gradient x^T dy of the weights of that name, added to that of the blocks
        before; part: what `of_block` gave."""
        grad = self.w.grads[name]
        if self.w.block == 0:
            self.w.multiply(x.T, dy, grad)
        else:
            grad += self.w.multiply(x.T, dy, part)
