"""Rows times weights, with the gradient of the weights."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Param
from netdsl.stages.rows import add_to_rows
from netdsl.stages.stage import Stage


class ProductStage(Stage):
    """What stages share that multiply the rows of vectors or tokens by weights, stored as (D, F)."""

    many = 1 << 18
    common: bool

    def parts_of(self, weight: Array) -> list[slice]:
        """Rows of a weight, of whose gradient workers make a part at a time."""
        return self.w.equal_parts(len(weight), -(-weight.size // (self.w.num_workers << 19)))

    def of_block(self, weight: Array) -> Array:
        """Scratch for what comes second to the gradient of a weight."""
        rows = max(part.stop - part.start for part in self.parts_of(weight)) if self.common else len(weight)
        return self.w.scratch("dweight", lambda n: (rows, weight.shape[1]))[0]

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
        if self.common:
            self.w.in_turns(self.parts_of(grad), self.add_rows, grad, x, dy, part)
        else:
            self.add_rows(slice(None), self.w.block == 0, grad, x, dy, part)

    def add_rows(self, rows: slice, is_first: bool, grad: Array, x: Array, dy: Array, part: Array) -> None:
        """Some rows of the gradient."""
        grad, x = grad[rows], x[:, rows]
        if is_first:
            self.w.multiply(x.T, dy, grad)
        else:
            grad += self.w.multiply(x.T, dy, part[: len(grad)])
