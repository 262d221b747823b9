"""A learned vector for each number of a vocabulary."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array
from netdsl.stages.can import Can
from netdsl.stages.stage import Stage, Worker


class Embed(Stage):
    """y = the rows of weight for the numbers x; weight is stored as (D, V). In training all rows of a small table are
    laid one behind the other; else, and at inference, where nothing is derived from matrices, they are gathered."""

    can = Can(is_named=True, has_own_output=True)

    small = 1 << 20  # numbers of a table
    few = 512  # rows of a table, for which a product with ones and zeros is quicker than to sort

    def __init__(self, w: Worker, name: str, length: int, limit: int, features: int) -> None:
        self.start(w)
        self.name, self.limit = name, limit
        self.rows = w.params[name + ".weight"].T
        self.is_small = w.training and limit * features <= self.small
        if self.is_small:
            self.laid = w.shared((name, "rows"), (limit, features))
        self.x: list[Array] = [np.zeros(0)] * len(w.sizes)
        self.y = w.outputs(lambda n: (n, length, features))
        if w.training:
            self.is_few = limit <= self.few
            if self.is_few:
                self.ones = w.scratch("ones", lambda n: (n * length, limit))

    def refresh(self) -> None:
        """Lay this worker's part of the rows."""
        if self.is_small:
            part = slice(*self.w.part(self.limit))
            self.laid[part] = self.rows[part]

    def forward(self, x: Array) -> Array:
        """x (n, T), whole numbers -> y (n, T, D)."""
        b = self.w.block
        self.x[b], y = x, self.y[b]
        if self.is_small:
            return np.take(self.laid, x, axis=0, out=y, mode="clip")
        y[...] = self.rows[x]
        return y

    def backward(self, dy: Array) -> None:
        """dy (n, T, D) -> nothing: the numbers have no gradient."""
        b, rows = self.w.block, dy.reshape(-1, dy.shape[-1])
        x, grad = self.x[b].reshape(-1), self.w.grads[self.name + ".weight"]
        if b == 0:
            grad[...] = 0
        if self.is_few:
            ones = self.ones[b]
            ones[...] = x[:, None] == np.arange(self.limit)
            grad += np.dot(rows.T, ones)
        else:
            order = np.argsort(x, kind="stable")
            begins = np.flatnonzero(np.diff(x[order], prepend=-1))
            grad.T[x[order[begins]]] += np.add.reduceat(rows[order], begins, axis=0)
