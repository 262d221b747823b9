"""Normalisation over groups of channels: what group and instance normalisation share."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Grads, Param, Saved


def groups_forward(x: Array, groups: int, weight: Param, bias: Param, eps: float) -> tuple[Array, Saved]:
    """x (N, C, ...) -> y of that shape; weight and bias (C,), or None both.

    y = weight * (x - mean) / sqrt(var + eps) + bias, mean and var over each group of channels and all positions.
    """
    n, c = x.shape[:2]
    shape = (-1, *[1] * (x.ndim - 2))
    rows = x.reshape(n, groups, -1)
    mean = rows.mean(axis=2, keepdims=True)
    inv_std = 1 / np.sqrt(((rows - mean) ** 2).mean(axis=2, keepdims=True) + eps)
    x_hat = ((rows - mean) * inv_std).reshape(x.shape)
    y = x_hat if weight is None else weight.reshape(shape) * x_hat + bias.reshape(shape)
    return y, (x_hat, inv_std, weight, groups)


def groups_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, C, ...) -> dx of that shape, {weight, bias}, or {} where there are none.

    dx = inv_std * (g - mean(g) - x_hat * mean(g * x_hat)), g = dy * weight.
    """
    x_hat, inv_std, weight, groups = saved
    shape = (-1, *[1] * (dy.ndim - 2))
    g = (dy if weight is None else dy * weight.reshape(shape)).reshape(len(dy), groups, -1)
    rows = x_hat.reshape(len(dy), groups, -1)
    dx = inv_std * (g - g.mean(axis=2, keepdims=True) - rows * (g * rows).mean(axis=2, keepdims=True))
    if weight is None:
        return dx.reshape(dy.shape), {}
    axes = (0, *range(2, dy.ndim))
    return dx.reshape(dy.shape), {"weight": (dy * x_hat).sum(axis=axes), "bias": dy.sum(axis=axes)}
