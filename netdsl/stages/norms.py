"""Norms as stages, other than that of the batch: each sample by itself, and batch norms whose statistics stay."""

import numpy as np

from netdsl.stages.pointwise import inside
from netdsl.stages.stage import Stage, long_rows, relu


class NormStage(Stage):
    """y = weight * x_hat + bias, where the norm has them; keeps x_hat."""

    own_output = True

    def prepare(self, w, name, shape, eps):
        self.start(w)
        self.name, self.shape, self.eps = name, shape, eps
        self.weight, self.bias = w.params.get(name + ".weight"), w.params.get(name + ".bias")
        keep = w.arrays if w.training else lambda shape: w.scratch("x_hat", shape)
        self.x_hat, self.y = keep(lambda n: inside(shape, n)), w.outputs(lambda n: inside(shape, n))
        self.inv_std = [None] * len(w.sizes)
        self.part = w.scratch("part", lambda n: (n * int(np.prod(shape)),))

    def scaled(self, x_hat, y):
        """x_hat, y (..., C)."""
        if self.weight is None:
            y[...] = x_hat
        else:
            np.multiply(x_hat, self.weight, out=y)
        if self.bias is not None:
            y += self.bias

    def add_gradients(self, dweight, dbias):
        if self.weight is not None:
            self.add_gradient(self.name + ".weight", dweight)
        if self.bias is not None:
            self.add_gradient(self.name + ".bias", dbias)


def is_felt(left, var):
    """Whether of some mean so much is left, beside the deviation, that it is not rounding: the sum of many numbers
    beside a large mean is that wrong."""
    return (left * left > 16 * np.finfo(var.dtype).eps ** 2 * var).any()


class GroupNorm(NormStage):
    """Groups of the channels of each sample to mean 0 and variance 1 (Wu & He 2018); maps or vectors."""

    def __init__(self, w, name, shape, groups, eps=1e-5):
        self.prepare(w, name, shape, eps)
        self.groups = groups

    def group_means(self, row, n):
        """row (n*C) of sums -> (n*C): of each group the mean over its channels and all positions."""
        per_group = row.reshape(n, self.groups, -1)
        count = per_group.shape[2] * int(np.prod(self.shape[1:]))
        return np.repeat(per_group.sum(axis=2) / count, per_group.shape[2], axis=1).reshape(-1)

    def forward(self, x):
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

    def backward(self, dy):
        """dx = inv_std * (g - mean(g) - x_hat * mean(g * x_hat)), g = dy * weight; in place."""
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


class LayerNorm(NormStage):
    """The channels of each position of a map, the features of each token or vector, to variance 1; and if `centered`
    to mean 0 (Ba et al. 2016), else of mean square 1 (Zhang & Sennrich 2019)."""

    def __init__(self, w, name, shape, eps, centered=True):
        self.prepare(w, name, shape, eps)
        self.centered = centered

    def forward(self, x):
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

    def backward(self, dy):
        """dx = inv_std * (g - mean(g) - x_hat * mean(g * x_hat)), g = dy * weight; in place."""
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


class FrozenNorm(Stage):
    """A batch norm at inference: y = scale * x + shift, by the statistics of the training; then relu."""

    own_output = True

    def __init__(self, w, name, shape, eps=1e-5, relu=False):
        self.start(w)
        self.name, self.eps, self.relu = name, eps, relu
        self.weight, self.bias = w.params.get(name + ".weight"), w.params.get(name + ".bias")
        self.mean, self.var = (w.network.buffers[f"{name}.running_{what}"] for what in ("mean", "var"))
        self.y = w.outputs(lambda n: inside(shape, n))

    def refresh(self):
        self.scale = 1 / np.sqrt(self.var + self.eps)
        if self.weight is not None:
            self.scale *= self.weight
        self.shift = -self.mean * self.scale
        if self.bias is not None:
            self.shift += self.bias

    def forward(self, x):
        y = self.y[self.w.block]
        n = x.shape[-2]
        rows = np.multiply(long_rows(x), np.tile(self.scale, n), out=long_rows(y))
        rows += np.tile(self.shift, n)
        if self.relu:
            relu(y, y)
        return y
