"""What a network does first with what it is given, where its `input` has a mean and a std."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netdsl.kernels.arrays import Array, Number, Shape


def constant(numbers: Number | Sequence[float], shape: Shape) -> Array:
    """One number, or one for each channel, as float32 that fits arrays (N, *shape): (C, 1, 1) for maps, else (D,)."""
    return np.array(numbers, np.float32).reshape(-1, *[1] * (len(shape) - 1 if len(shape) > 2 else 0))


def normalize(x: Array, mean: Number | Sequence[float], std: Number | Sequence[float]) -> Array:
    """x (N, *shape) -> (x - mean) / std, with one number each, or one for each channel (feature).

    The numbers are those of float32 for x of any dtype, so that every module of the network has the same.
    """
    return (x - constant(mean, x.shape[1:])) / constant(std, x.shape[1:])


def normalize_backward(dy: Array, std: Number | Sequence[float]) -> Array:
    """dx = dy / std."""
    return dy / constant(std, dy.shape[1:])
