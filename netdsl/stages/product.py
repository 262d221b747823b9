"""Rows times weights, with the gradient of the weights."""

from __future__ import annotations

from netdsl.kernels.arrays import Array
from netdsl.stages.stage import Stage


class ProductStage(Stage):
    """What stages share that multiply the rows of vectors or tokens by weights, stored as (D, F)."""

    def of_block(self, weight: Array) -> Array:
        """Scratch for the gradient of a weight by one block."""
        return self.w.scratch("dweight", lambda n: weight.shape)[0]

    def add_weight_gradient(self, name: str, x: Array, dy: Array, part: Array) -> None:
        """x (rows, D), dy (rows, F) -> the gradient x^T dy of the weights of that name, added to that of the blocks
        before; part: what `of_block` gave."""
        grad = self.w.grads[name]
        if self.w.block == 0:
            self.w.multiply(x.T, dy, grad)
        else:
            grad += self.w.multiply(x.T, dy, part)
