"""Passes over the long rows of maps: in bands that stay in the cache, and sums."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array


def bands(x: Array, numbers: int = 32768) -> list[slice]:
    """x (H, W, n, C) -> slices of its rows, so that several passes over one of them stay in the cache; else one of
    all."""
    if x.ndim < 4:
        return [slice(None)]
    rows = max(1, numbers * len(x) // max(x.size, 1))
    return [slice(i, i + rows) for i in range(0, len(x), rows)]


def column_sums(row: Array, channels: int) -> Array:
    """(..., C) flat -> (C,): a product with ones is quicker than a sum along the first axis."""
    rows = row.reshape(-1, channels)
    return np.dot(np.ones(len(rows), row.dtype), rows)


def row_sums(a: Array, b: Array | None = None) -> Array:
    """a, or a * b, of maps (H, W, n, C) or vectors (n, C), summed over H -> (W*n*C,) or (n*C,)."""
    a = a.reshape(len(a) if a.ndim == 4 else 1, -1)
    if b is None:
        return np.dot(np.ones(len(a), a.dtype), a)
    return np.einsum("ij,ij->j", a, b.reshape(a.shape))


def place_sums(x: Array) -> Array:
    """x (..., C) -> (C,), the sum over all places and samples; that of tokens by a product with ones."""
    if x.ndim == 3:
        return column_sums(x, x.shape[-1])
    return x.reshape(len(x), -1).sum(axis=0).reshape(-1, x.shape[-1]).sum(axis=0)
