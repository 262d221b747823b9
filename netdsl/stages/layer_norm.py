"""Layer normalisation, and that by the root of the mean square."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.can import Can
from netdsl.stages.norm import NormStage, is_felt
from netdsl.stages.stage import Worker


class LayerNorm(NormStage):
    """The channels of each position of a map, the features of each token or vector, to variance 1; and if `centered`
    to mean 0 (Ba et al. 2016), else of mean square 1 (Zhang & Sennrich 2019)."""

    can = Can(is_named=True, has_own_output=True)

    def __init__(self, w: Worker, name: str, shape: Shape, eps: float, centered: bool = True) -> None:
        self.prepare(w, name, shape, eps)
        self.centered = centered

    def forward(self, x: Array) -> Array:
        """x (..., C) -> y (..., C)."""
        b = self.w.block
        c = x.shape[-1]
        x_hat, y = self.x_hat[b], self.y[b]
        rows, hat = x.reshape(-1, c), x_hat.reshape(-1, c)
        share = np.full(c, 1 / c, rows.dtype)
        mean = np.dot(rows, share) if self.centered else np.zeros(len(rows), rows.dtype)
        np.subtract(rows, mean[:, None], out=hat)
        var = np.einsum("ij,ij->i", hat, hat) / c
        if self.centered and is_felt(left := np.dot(hat, share), var):
            hat -= left[:, None]
            var = np.einsum("ij,ij->i", hat, hat) / c
        self.inv_std[b] = 1 / np.sqrt(var + self.eps)
        hat *= self.inv_std[b][:, None]
        self.scaled(x_hat, y)
        return y

    def backward(self, dy: Array) -> Array:
        """dy (..., C) -> dx (..., C), in its place.

        dx = inv_std * (g - mean(g) - x_hat * mean(g * x_hat)), g = dy * weight.
        """
        b, c = self.w.block, dy.shape[-1]
        hat, rows = self.x_hat[b].reshape(-1, c), dy.reshape(-1, c)
        self.add_gradients(np.einsum("ij,ij->j", rows, hat), np.dot(np.ones(len(rows), rows.dtype), rows))
        if self.weight is not None:
            rows *= self.weight
        part = np.multiply(
            hat, (np.einsum("ij,ij->i", rows, hat) / c)[:, None], out=self.part[b][: hat.size].reshape(hat.shape)
        )
        if self.centered:
            part += np.dot(rows, np.full(c, 1 / c, rows.dtype))[:, None]
        rows -= part
        rows *= self.inv_std[b][:, None]
        return rows.reshape(dy.shape)
