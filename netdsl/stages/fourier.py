"""The Fourier transform of a plane as constant matrices, along H, then along W (bilinear.py says what it is good for).

Blahut 2010, "Fast algorithms for signal processing". Errors, float32: it stays at rounding (3e-7 of the largest) at
every length. It mixes every number of a plane with every other: an outlier or a NaN spreads over it, and zeros become
rounding errors.
"""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Spatial, Type
from netdsl.stages.matrices import product


def fourier(
    in_size: Shape, out_size: Shape, kernel_size: Spatial, before: Shape, dtype: Type
) -> tuple[Separable, Array, Separable]:
    """The real Fourier transform -> the map of the input, that of the weights, a matrix (points, Kh*Kw), and the
    transpose of that back to the output. All sizes are pairs (H, W).

    y[o] = sum over u of w[u] * x[o + u - before], x zero outside 0..in_size-1, is a circular convolution of any length
    >= in_size + before and >= out_size + kernel_size - 1 - before: the shortest is taken, and no padding is needed.
    Complex products take three multiplications instead of four (Gauss), whose sums are part of the matrices: the input
    gives [re + im, re, im], the weights [re, im - re, re + im].
    """
    sizes = list(zip(in_size, out_size, kernel_size, before, strict=True))
    lengths = [max(n + b, o + k - 1 - b) for n, o, k, b in sizes]
    x = transform(lengths, [np.arange(n) for n in in_size], [[1, 1], [1, 0], [0, 1]], dtype)
    w = transform(lengths, [b - np.arange(k) for _, _, k, b in sizes], [[1, 0], [-1, 1], [1, 1]], dtype)
    y = transform(lengths, [np.arange(o) for o in out_size], [[1, 1], [0, 1], [-1, 0]], dtype, inverse=True)
    eye = np.eye(w.height * w.width, dtype=dtype)
    dense = np.empty((w.points, len(eye)), dtype)
    w.to_points(eye.reshape(w.height, -1), np.empty(w.length * w.width * len(eye), dtype), dense)
    return x, dense, y


def transform(
    lengths: list[int], places: list[Array], gauss: list[list[int]], dtype: Type, inverse: bool = False
) -> Separable:
    """Numbers at `places` along H and W to their frequencies, of which Gauss's factors make three from (re, im).
    inverse: the transpose of the way back. Along H half the frequencies are enough, since the numbers are real."""
    (_, width), (_, columns) = lengths, places
    rows, real = (spectrum(length, place, inverse) for length, place in zip(lengths, places, strict=True))
    alone = 2 - width % 2
    real = np.concatenate([real[:alone], *(gauss @ real[i : i + 2] for i in range(alone, width, 2))])
    angles = 2 * np.pi * np.arange(width)[:, None] / width * columns
    cos, sin = np.cos(angles), np.sin(angles)
    pairs = np.concatenate([gauss @ np.block([[c, s], [-s, c]]) for c, s in zip(cos, sin, strict=True)])
    return Separable(rows, real, pairs / width if inverse else pairs, 2 - lengths[0] % 2, dtype)


def spectrum(length: int, places: Array, inverse: bool) -> Array:
    """(length, len(places)): the real frequencies, 0 and length / 2 if that is even; then (re, im) of the rest, which
    stand for two each on the way back."""
    rows = [np.ones(len(places))] + [np.cos(np.pi * places)] * (length % 2 == 0)
    for k in range(1, (length + 1) // 2):
        rows += [np.cos(2 * np.pi * k / length * places), -np.sin(2 * np.pi * k / length * places)]
    alone = 2 - length % 2
    times = np.array([1.0] * alone + [2.0] * (length - alone)) / length if inverse else np.ones(length)
    return times[:, None] * np.array(rows)


class Separable:
    """A linear map from a plane to points: along H by `rows` (L, H), of which the first `alone` stand alone, the others
    are pairs (real, imaginary part); then along W by `real` (A, W) of a row that stands alone, by `pairs` (B, 2*W) of a
    pair, laid end to end."""

    def __init__(self, rows: Array, real: Array, pairs: Array, alone: int, dtype: Type) -> None:
        self.rows, self.real, self.pairs = (np.ascontiguousarray(m, dtype) for m in (rows, real, pairs))
        self.rows_t, self.real_t, self.pairs_t = (np.ascontiguousarray(m.T, dtype) for m in (rows, real, pairs))
        (self.length, self.height), self.width, self.alone = rows.shape, real.shape[1], alone
        self.points = alone * len(real) + (self.length - alone) // 2 * len(pairs)

    def split(self, rows: Array, v: Array) -> tuple[Array, Array, Array, Array]:
        """Rows (L, W, Q) and points (points, Q) -> views of both: of rows that stand alone, and of pairs."""
        q, end = v.shape[1], self.alone * len(self.real)
        alone, pairs = rows[: self.alone], rows[self.alone :].reshape(-1, 2 * self.width, q)
        at_pairs = v[end:].reshape(len(pairs), len(self.pairs), q)
        return alone, v[:end].reshape(self.alone, -1, q), pairs, at_pairs

    def to_points(self, x: Array, middle: Array, v: Array) -> None:
        """x (H, W*Q) -> v (points, Q). middle: scratch for what lies between, flat."""
        rows = middle[: self.length * x.shape[1]].reshape(self.length, -1)
        product(self.rows, x, rows)
        alone, at_real, pairs, at_pairs = self.split(rows.reshape(self.length, self.width, -1), v)
        product(self.real, alone, at_real, 512)
        product(self.pairs, pairs, at_pairs, 512)

    def from_points(self, v: Array, middle: Array, x: Array) -> None:
        """The transpose: v (points, Q) -> x (H, W*Q)."""
        rows = middle[: self.length * x.shape[1]].reshape(self.length, -1)
        alone, at_real, pairs, at_pairs = self.split(rows.reshape(self.length, self.width, -1), v)
        product(self.real_t, at_real, alone, 512)
        product(self.pairs_t, at_pairs, pairs, 512)
        product(self.rows_t, rows, x)
