"""Group normalisation, and instance normalisation as groups of one channel."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.can import Can
from netdsl.stages.norm import NormStage, is_felt
from netdsl.stages.stage import Worker


class GroupNorm(NormStage):
    """Groups of the channels of each sample to mean 0 and variance 1 (Wu & He 2018); maps or vectors."""

    can = Can(is_named=True, has_own_output=True)

    def __init__(self, w: Worker, name: str, shape: Shape, groups: int, eps: float = 1e-5) -> None:
        self.prepare(w, name, shape, eps)
        self.groups = groups

    def group_means(self, row: Array, n: int) -> Array:
        """row (n*C) of sums -> (n*C): of each group the mean over its channels and all positions."""
        per_group = row.reshape(n, self.groups, -1)
        count = per_group.shape[2] * int(np.prod(self.shape[1:]))
        return np.repeat(per_group.sum(axis=2) / count, per_group.shape[2], axis=1).reshape(-1)

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) or (n, C) -> y of that shape."""
        b = self.w.block
        n, x_hat, y = self.w.sizes[b], self.x_hat[b], self.y[b]
        rows, hat = x.reshape(-1, n * self.shape[0]), x_hat.reshape(-1, n * self.shape[0])
        ones = np.ones(len(rows), rows.dtype)
        np.subtract(rows, self.group_means(np.dot(ones, rows), n), out=hat)
        var, left = self.group_means(np.einsum("ij,ij->j", hat, hat), n), self.group_means(np.dot(ones, hat), n)
        if is_felt(left, var):
            hat -= left
            var = self.group_means(np.einsum("ij,ij->j", hat, hat), n)
        self.inv_std[b] = 1 / np.sqrt(var + self.eps)
        hat *= self.inv_std[b]
        self.scaled(x_hat, y)
        return y

    def backward(self, dy: Array) -> Array:
        """dy (H, W, n, C) or (n, C) -> dx, in its place.

        dx = inv_std * (g - mean(g) - x_hat * mean(g * x_hat)), g = dy * weight.
        """
        b, c = self.w.block, self.shape[0]
        n, inv_std = self.w.sizes[b], self.inv_std[b]
        hat, rows = self.x_hat[b].reshape(-1, n * c), dy.reshape(-1, n * c)
        sums = np.dot(np.ones(len(rows), rows.dtype), rows)
        products = np.einsum("ij,ij->j", rows, hat)
        self.add_gradients(products.reshape(n, c).sum(axis=0), sums.reshape(n, c).sum(axis=0))
        weight = 1 if self.weight is None else np.tile(self.weight, n)
        part = np.multiply(
            hat, inv_std * self.group_means(products * weight, n), out=self.part[b][: hat.size].reshape(hat.shape)
        )
        part += inv_std * self.group_means(sums * weight, n)
        rows *= inv_std * weight
        rows -= part
        return rows.reshape(dy.shape)
