"""Layer normalisation, and that by the root of the mean square."""

from __future__ import annotations

import math

import numpy as np

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.can import Can
from netdsl.stages.layout import inside
from netdsl.stages.norm import NormStage, is_felt
from netdsl.stages.stage import Worker


class LayerNorm(NormStage):
    """The channels of each position of a map, the features of each token or vector, to variance 1; and if `centered`
    to mean 0 (Ba et al. 2016), else of mean square 1 (Zhang & Sennrich 2019)."""

    can = Can(is_named=True, has_own_output=True)

    def __init__(self, w: Worker, name: str, shape: Shape, eps: float, centered: bool = True) -> None:
        self.prepare(w, name, shape, eps)
        *places, c = inside(shape, 1)
        self.mean = np.full(c, 1 / c, w.dtype)  # a product with it is the mean
        self.center = self.mean * centered
        if w.training:
            self.inv_std = w.arrays(lambda n: (n * math.prod(places), 1))

    def forward(self, x: Array) -> Array:
        """x (..., C) -> y (..., C)."""
        self.w.each(self.w.cut(x.size // x.shape[-1], 200 * x.shape[-1]), self.forward_rows, x)
        return self.y[self.w.block]

    def forward_rows(self, part: slice, x: Array) -> None:
        """Some rows of x (..., C)."""
        b, x = self.w.block, x.reshape(-1, x.shape[-1])
        hat, y = self.x_hat[b].reshape(x.shape)[part], self.y[b].reshape(x.shape)[part]
        np.subtract(x[part], np.dot(x[part], self.center)[:, None], out=hat)
        var = np.einsum("ij,ij->i", hat, hat) / x.shape[1]
        if is_felt(left := np.dot(hat, self.center), var):
            hat -= left[:, None]
            var = np.einsum("ij,ij->i", hat, hat) / x.shape[1]
        inv_std = 1 / np.sqrt(var + self.eps)[:, None]
        hat *= inv_std
        if self.w.training:
            self.inv_std[b][part] = inv_std
        self.scaled(hat, y)

    def backward(self, dy: Array) -> Array:
        """dy (..., C) -> dx (..., C), in its place.

        dx = inv_std * (g - mean(g) - x_hat * mean(g * x_hat)), g = dy * weight.
        """
        rows = dy.reshape(-1, dy.shape[-1])
        hat = self.x_hat[self.w.block].reshape(rows.shape)
        self.add_gradients(np.einsum("ij,ij->j", rows, hat), np.dot(np.ones(len(rows), rows.dtype), rows))
        self.w.each(self.w.cut(len(rows), 200 * rows.shape[1]), self.backward_rows, rows)
        return rows.reshape(dy.shape)

    def backward_rows(self, part: slice, dy: Array) -> None:
        """Some rows of dy (rows, C)."""
        b, g = self.w.block, dy[part]
        hat, product = self.x_hat[b].reshape(dy.shape)[part], self.part[b][: g.size].reshape(g.shape)
        if self.weight is not None:
            g *= self.weight
        np.multiply(g, hat, out=product)
        np.multiply(hat, np.dot(product, self.mean)[:, None], out=product)
        product += np.dot(g, self.center)[:, None]
        g -= product
        g *= self.inv_std[b][part]
