"""A gated hidden layer of vectors or tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.can import Can
from netdsl.stages.product import ProductStage
from netdsl.stages.stage import Worker


class SwiGLU(ProductStage):
    """y = silu(g) * u, silu(g) = g * sigmoid(g), g = x gate and u = x up; the weights are stored as (D, F).

    In training silu(g), by which dy becomes du, is kept where u was, and what makes dg of it where g was.
    """

    can = Can(
        leave_out_dx=True,
        share_gradient=True,
        spares_output=True,
        is_named=True,
        has_own_output=True,
        has_own_gradient=True,
    )

    piece = 49152  # numbers that are worked on at a time: they stay in the cache

    def __init__(
        self, w: Worker, name: str, shape: Shape, features: int, dx: bool = True, common: bool = False
    ) -> None:
        self.start(w)
        self.common = common and not w.splits and w.num_workers > 1
        self.name, self.has_dx = name, dx
        self.gate, self.up = w.params[name + ".gate.weight"], w.params[name + ".up.weight"]
        self.x: list[Any] = [None] * len(w.sizes)
        hidden = (*shape[:-1], features)
        self.g, self.u = (self.kept(kind, hidden) for kind in ("gate", "up"))
        self.y = w.outputs(lambda n: (n, *hidden))
        most = max(self.piece, features)
        self.scratch = [w.scratch(("swiglu", i), lambda n: (most,))[0] for i in range(2)]
        if w.training:
            self.part = self.of_block(self.gate)
            if dx:
                self.dx = w.gradients(lambda n: (n, *shape))
                self.other = w.scratch("dx by up", lambda n: (n, *shape), common=True)

    def kept(self, kind: str, hidden: Shape) -> list[Array]:
        """Places for what one of the products gives; at inference of all such layers the same."""
        if self.w.training:
            return self.w.arrays(lambda n: (n, *hidden))
        return self.w.scratch((kind, hidden), lambda n: (n, *hidden), common=True)

    def forward(self, x: Array) -> Array:
        """x (n, ..., D) -> y (n, ..., F)."""
        b = self.w.block
        self.x[b], y = x, self.y[b]
        self.multiply_first(x, self.gate, self.g[b])
        self.multiply_first(x, self.up, self.u[b])
        self.w.each(self.w.cut(y.size // y.shape[-1], 4 * self.gate.size), self.forward_rows, x)
        return y

    def forward_rows(self, part: slice, x: Array) -> None:
        """Some of the rows of x to those of y."""
        b = self.w.block
        g = self.multiply_rows(part, x, self.gate, None, None, self.g[b])
        u = self.multiply_rows(part, x, self.up, None, None, self.u[b])
        y, step = self.y[b].reshape(-1, g.shape[1])[part], max(1, self.piece // g.shape[1])
        for i in range(0, len(y), step):
            self.compute(g[i : i + step], u[i : i + step], y[i : i + step])

    def compute(self, g: Array, u: Array, y: Array) -> None:
        """g and u (rows, F) -> y. In training u becomes silu(g), by which dy makes du, and g what makes dg of it: u *
        (s + silu(g) * (1 - s)), s = sigmoid(g)."""
        s, silu = (array[: g.size].reshape(g.shape) for array in self.scratch)
        np.negative(g, out=s)
        np.exp(s, out=s)
        s += 1
        np.reciprocal(s, out=s)
        np.multiply(g, s, out=silu)
        np.multiply(silu, u, out=y)
        if self.w.training:
            np.subtract(1, s, out=g)
            g *= silu
            g += s
            g *= u
            u[...] = silu

    def backward(self, dy: Array) -> Any:
        """dy (n, ..., F) -> dx (n, ..., D) if anything needs it."""
        b, features = self.w.block, dy.shape[-1]
        rows, x = dy.reshape(-1, features), self.x[b]
        dg, du = self.g[b].reshape(rows.shape), self.u[b].reshape(rows.shape)
        self.w.each(self.w.cut(len(rows), 60 * features), self.backward_rows, rows)
        x = x.reshape(-1, x.shape[-1])
        self.add_weight_gradient(self.name + ".gate.weight", x, dg, self.part)
        self.add_weight_gradient(self.name + ".up.weight", x, du, self.part)
        if not self.has_dx:
            return None
        dx, other = (array[b].reshape(x.shape) for array in (self.dx, self.other))
        self.w.multiply(dg, self.gate.T, dx)
        self.w.multiply(du, self.up.T, other)
        dx += other
        return self.dx[b]

    def backward_rows(self, part: slice, dy: Array) -> None:
        """Some rows of dy to those of dg and du."""
        b = self.w.block
        for factor in (self.g[b], self.u[b]):
            factor.reshape(dy.shape)[part] *= dy[part]
