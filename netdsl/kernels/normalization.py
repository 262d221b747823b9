"""What a network does first with what it is given, where its `input` has a mean and a std."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netdsl.kernels.arrays import Array, Number


def constant(numbers: Number | Sequence[float], ndim: int, axis: int) -> Array:
    """One number, or one for each channel, as float32 that fits arrays of `ndim` axes with their channels along one."""
    return np.array(numbers, np.float32).reshape(-1, *[1] * (ndim - axis - 1))


def normalize(x: Array, mean: Number | Sequence[float], std: Number | Sequence[float], axis: int = 1) -> Array:
    """x (N, ...) -> (x - mean) / std, one number each, or one for each channel: axis 1 of maps, 2 of tokens (N, T, D).

    The numbers are those of float32 for x of any dtype, so that every module of the network has the same.
    """
    return (x - constant(mean, x.ndim, axis)) / constant(std, x.ndim, axis)


def normalize_backward(dy: Array, std: Number | Sequence[float], axis: int = 1) -> Array:
    """dx = dy / std."""
    return dy / constant(std, dy.ndim, axis)
