"""A linear layer."""

from __future__ import annotations

from typing import Any

from netdsl.kernels.arrays import Array
from netdsl.stages.can import Can
from netdsl.stages.relu import relu
from netdsl.stages.stage import Stage, Worker


class Linear(Stage):
    """y = x weight + bias, then relu; weight is stored as (D, F)."""

    can = Can(
        end_in_relu=True,
        leave_out_dx=True,
        share_gradient=True,
        shows_samples=True,
        is_named=True,
        has_own_output=True,
        has_own_gradient=True,
    )

    def __init__(
        self, w: Worker, name: str, filters: int, relu: bool = False, dx: bool = True, common: bool = False
    ) -> None:
        self.start(w)
        self.common = common
        self.name, self.relu, self.has_dx = name, relu, dx
        self.weight, self.bias = w.params[name + ".weight"], w.params.get(name + ".bias")
        self.x: list[Any] = [None] * len(w.sizes)
        self.y = w.outputs(lambda n: (n, filters))
        if w.training:
            self.part = w.scratch("dweight", lambda n: self.weight.shape)[0]
            if dx:
                self.dx = w.gradients(lambda n: (n, len(self.weight)))

    def forward(self, x: Array) -> Array:
        """x (n, D) -> y (n, F)."""
        self.x[self.w.block] = x
        y = self.w.multiply(x, self.weight, self.y[self.w.block])
        if self.bias is not None:
            y += self.bias
        return relu(y, y) if self.relu else y

    def backward(self, dy: Array) -> Array | None:
        """dy (n, F) -> dx (n, D) if anything needs it."""
        b = self.w.block
        if self.relu:
            dy *= self.y[b] > 0
        if self.common and self.w.num_workers > 1:
            self.make_part(dy)
        else:
            grad = self.w.grads[self.name + ".weight"]
            self.w.multiply(self.x[b].T, dy, grad if b == 0 else self.part)
            if b > 0:
                grad += self.part
        if self.bias is not None:
            self.add_gradient(self.name + ".bias", dy.sum(axis=0))
        return self.w.multiply(dy, self.weight.T, self.dx[b]) if self.has_dx else None

    def make_part(self, dy: Array) -> None:
        """This worker's rows of the weight's gradient by the whole batch, once every worker has shown its samples."""
        w = self.w
        xs, dys = (w.network.io[f"{what} {self.name}"][: w.n] for what in ("x", "dy"))
        rows = w.rows[w.block]
        xs[rows], dys[rows] = self.x[w.block], dy
        if w.block == len(w.rows) - 1:
            w.network.team.sync()
            part = slice(*w.part(len(self.weight)))
            w.multiply(xs[:, part].T, dys, w.grads[self.name + ".weight"][part])
