"""Passes over the long rows of maps: in bands that stay in the cache, and sums."""

from __future__ import annotations

import math

import numpy as np

from netdsl.kernels.arrays import Array, Type


def bands(x: Array, numbers: int = 32768, within: slice = slice(None)) -> list[slice]:
    """x (H, W, n, C) -> slices of its rows, of those `within` a slice, so that several passes over one of them stay in
    the cache; of other arrays one of all."""
    if x.ndim < 4:
        return [within]
    begin, end, _ = within.indices(len(x))
    rows = max(1, numbers * len(x) // max(x.size, 1))
    return [slice(i, min(i + rows, end)) for i in range(begin, end, rows)]


def wide_rows(x: Array, longest: int = 8192) -> Array:
    """x (H, W, n, C) -> a view (H, W/k, k*n*C), k pixels as one: a loop over 100 numbers takes twice its time. Other
    arrays, and maps whose columns lie apart: (..., n*C)."""
    *space, n, channels = x.shape
    pixels = n * channels
    if len(space) != 2 or x.strides[1] != pixels * x.itemsize:
        return x.reshape(*space, pixels)
    k = max(1, min(space[1], longest // pixels))
    while space[1] % k:
        k -= 1
    return x.reshape(space[0], -1, k * pixels)


def repeated(a: Array, size: int, dtype: Type | None = None) -> Array:
    """a (C,) -> (size,), again and again, in 1 us; np.resize takes 20 to 50."""
    out = np.empty((size // len(a), len(a)), a.dtype if dtype is None else dtype)
    out[...] = a
    return out.reshape(-1)


def repeated_for(x: Array, a: Array) -> Array:
    """a (C,) for x (..., C) -> (k*C,), for a view of x with k rows as one: a loop over 100 numbers takes twice its
    time. For few numbers a as it is."""
    if x.size < 65536:
        return a
    k = math.gcd(x.size // len(a), 1 << max(1, 4096 // len(a)).bit_length() - 1)
    return repeated(a, k * len(a))


def add_to_rows(x: Array, a: Array | None) -> None:
    """x (..., C), in one piece, plus a (C,) if there is one, in place."""
    if a is not None:
        a = repeated_for(x, a)
        rows = x.reshape(-1, len(a))
        rows += a


def column_sums(row: Array, channels: int) -> Array:
    """(..., C) flat -> (C,): a product with ones is quicker than a sum along the first axis."""
    rows = row.reshape(-1, channels)
    return np.dot(np.ones(len(rows), row.dtype), rows)


def place_sums(x: Array) -> Array:
    """x (..., C) -> (C,), the sum over all places and samples: two products with ones are quicker than sums."""
    rows = x.reshape(len(x), -1)
    row = np.dot(np.ones(len(rows), x.dtype), rows).reshape(-1, x.shape[-1])
    return np.dot(np.ones(len(row), x.dtype), row)


def sums_by_channel(a: Array, longest: int = 1024) -> Array:
    """A band (..., C) that lies in the cache, summed over all but the channels -> (C,), in float64."""
    pixels = beside(a, longest)
    rows = a.reshape(-1, pixels * a.shape[-1])
    return np.dot(np.ones(len(rows), a.dtype), rows).reshape(pixels, -1).sum(axis=0, dtype=np.float64)


def moments_by_channel(a: Array, b: Array, longest: int = 1024) -> Array:
    """Bands a and b (..., C) that lie in the cache -> the sums of a and of a * b over all but the channels, (2, C), in
    float64."""
    pixels = beside(a, longest)
    a, b = (x.reshape(-1, pixels * x.shape[-1]) for x in (a, b))
    sums = np.empty((2, a.shape[1]), a.dtype)
    sums[0] = np.dot(np.ones(len(a), a.dtype), a)
    sums[1] = np.einsum("ij,ij->j", a, b)
    return sums.reshape(2, pixels, -1).sum(axis=1, dtype=np.float64)


def beside(a: Array, longest: int) -> int:
    """How many of the pixels of a (..., C) are as good as one: a power of 2 that divides them."""
    return math.gcd(a.size // a.shape[-1], 1 << max(1, longest // a.shape[-1]).bit_length() - 1)
