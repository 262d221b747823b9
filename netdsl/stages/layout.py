"""How numbers lie in memory: maps as (H, W, n, C), n the samples of a block; tokens as (n, T, D); vectors as (n, D)."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Shape


def is_map(shape: Shape) -> bool:
    """Whether a value of these sizes is a map, (C, H, W)."""
    return len(shape) == 3


def inside(shape: Shape, n: int) -> Shape:
    """The sizes of n samples as stages keep them: (H, W, n, C) of maps, else (n, *shape)."""
    return (*shape[1:], n, shape[0]) if is_map(shape) else (n, *shape)


def long_rows(x: Array) -> Array:
    """x (..., n, C) -> a view (..., n*C): samples and channels become one axis."""
    return x.reshape(*x.shape[:-2], -1)


def to_textbook(x: Array) -> Array:
    """(H, W, n, C) -> (n, C, H, W); tokens and vectors stay."""
    return np.ascontiguousarray(x.transpose(2, 3, 0, 1)) if x.ndim == 4 else x


def from_textbook(x: Array) -> Array:
    """(n, C, H, W) -> (H, W, n, C); tokens and vectors stay."""
    return np.ascontiguousarray(x.transpose(2, 3, 0, 1)) if x.ndim == 4 else x
