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


def wide_rows(x: Array, longest: int = 2048) -> Array:
    """x (H, W, n, C) -> a view (H, W/k, k*n*C), k pixels as one: a loop over 100 numbers takes twice its time. Other
    arrays, and maps whose columns lie apart: (..., n*C)."""
    *space, n, channels = x.shape
    pixels = n * channels
    if len(space) != 2 or x.strides[1] != pixels * x.itemsize:
        return x.reshape(*space, pixels)
    k = max(k for k in range(1, space[1] + 1) if space[1] % k == 0 and (k == 1 or k * pixels <= longest))
    return x.reshape(space[0], -1, k * pixels)


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


def channel_sums(a: Array, b: Array | None = None, longest: int = 1024) -> Array:
    """a, or a * b, of a band (..., C) that lies in the cache, summed over all but the channels -> (C,), in float64."""
    channels = a.shape[-1]
    count = a.size // channels
    k = next(k for k in range(max(1, min(count, longest // channels)), 0, -1) if count % k == 0)
    a = a.reshape(-1, k * channels)
    sums = np.dot(np.ones(len(a), a.dtype), a) if b is None else np.einsum("ij,ij->j", a, b.reshape(a.shape))
    return sums.reshape(k, channels).sum(axis=0, dtype=np.float64)
