"""Fast convolution as three constant matrices: y = Ty[(Tx x) . (Tw w)].

A convolution of two polynomials is a product of their values at enough points. So every fast algorithm has one form:
transform the input and the weights by constant matrices, multiply point by point (over channels: one matrix product
for each point), transform back. Winograd's F(m, r) and the discrete Fourier transform differ in the points alone, and
the backward pass is the same form with each matrix transposed. Here every transform is separable: along H, then along
W, both by plain matrix products, of tiles that overlap. fourier.py has the transform of a whole plane.

Winograd 1980, "Arithmetic complexity of computations"; Lavin & Gray 2016, "Fast algorithms for convolutional neural
networks". Errors, float32: the Fourier transform stays at rounding, Winograd F(4, 3) with square-root points at 3e-6.
Both mix every number of a tile with every other: an outlier or a NaN spreads over its tile.
"""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Spatial, Type
from netdsl.stages.fourier import Separable, fourier
from netdsl.stages.matrices import product


def toom_cook(tile: int, taps: int, dtype: Type) -> tuple[Array, ...]:
    """F(tile, taps), a convolution of one axis -> data (points, tile + taps - 1), weight (points, taps), output (tile,
    points): y = output @ ((data @ x) * (weight @ w)).

    By the method of Toom and Cook: polynomials are multiplied by their values at 0, pairs +-a, and infinity. Pairs lie
    around 1, as a and 1/a, which balances the sizes of the entries. One tap needs no algorithm.
    """
    if taps == 1:
        return np.eye(tile, dtype=dtype), np.ones((tile, 1), dtype), np.eye(tile, dtype=dtype)
    size = tile + taps - 1
    pairs = ((), (1.0,), (0.5**0.5, 2**0.5), (1.0, 0.5, 2.0), (0.45, 1 / 0.45, 0.8, 1 / 0.8))[(size - 1) // 2]
    a = np.array([0.0, *(sign * p for p in pairs for sign in (1, -1))])[: size - 1]
    scale = np.array([np.prod([a[i] - a[j] for j in range(size - 1) if j != i]) for i in range(size - 1)])
    weight, output = np.zeros((size, taps)), np.zeros((tile, size))
    weight[:-1] = a[:, None] ** np.arange(taps) / scale[:, None]
    output[:, :-1] = a[None, :] ** np.arange(tile)[:, None]
    weight[-1, -1] = output[-1, -1] = 1
    # Of `data` the sum over i of output[k, i] * weight[i, j] * data[i, l] is 1 where l = k + j, else 0.
    products = np.einsum("ki,ij->kji", output, weight).reshape(tile * taps, size)
    places = np.add.outer(np.arange(tile), np.arange(taps)).reshape(-1)
    data = np.linalg.lstsq(products, np.eye(size)[places], rcond=None)[0]
    return tuple(np.ascontiguousarray(matrix, dtype) for matrix in (data, weight, output))


def winograd(tile: int, kernel_size: Spatial, dtype: Type) -> tuple[Separable, Array, Separable]:
    """F(tile, r) along both axes of square tiles, r x r kernels -> the map of the input (Separable), that of the
    weights (a matrix), and the transpose of that back to the output (Separable)."""
    data, weight, output = toom_cook(tile, kernel_size[0], dtype)
    x, y = (Separable(m, m, np.zeros((0, 2 * m.shape[1])), len(m), dtype) for m in (data, output.T))
    return x, np.kron(weight, weight), y


def fourier_tiles(tile: int, kernel_size: Spatial, dtype: Type) -> tuple[Separable, Array, Separable]:
    """The Fourier transform of tiles of so many outputs, as `winograd` gives it."""
    return fourier(tuple(tile + k - 1 for k in kernel_size), (tile, tile), kernel_size, (0, 0), dtype)


def to_points(s: Separable, x: Array, middle: Array, v: Array) -> None:
    """x -> v (points, number of tiles, Q), by the Separable s. middle: scratch for what lies between, flat.

    x: rows of tiles, (I, J, H, W*Q) for J tiles in a row; (I, H, columns*Q) where neighbours in a row share columns,
    W tile + overlap: only without pairs, whose halves lie too far apart then.
    """
    tiles, q = v.shape[1:]
    if x.ndim == 3:
        columns = x.shape[2] // q
        rows = middle[: len(x) * s.length * columns * q].reshape(len(x), s.length, columns * q)
        product(s.rows, x, rows, 2048)
        given = windows_along(rows.reshape(len(x), s.length, columns, q), s.width, tiles // len(x))
        out = v.reshape(s.length, -1, len(x), tiles // len(x), q).transpose(2, 0, 3, 1, 4)
        np.matmul(s.real, given, out=out)
        return
    rows = middle[: tiles * s.length * s.width * q].reshape(*x.shape[:-2], s.length, s.width * q)
    product(s.rows, x, rows)
    alone, at_real, pairs, at_pairs = split_tiles(s, rows.reshape(tiles, s.length, s.width, q), v)
    product(s.real, alone, at_real, 512)
    product(s.pairs, pairs, at_pairs, 512)


def split_tiles(s: Separable, rows: Array, v: Array) -> tuple[Array, Array, Array, Array]:
    """Rows (tiles, L, W, Q) and points (points, tiles, Q) -> views of both: of rows that stand alone, and of pairs."""
    (tiles, _, _, q), end, num_pairs = rows.shape, s.alone * len(s.real), (s.length - s.alone) // 2
    alone, pairs = rows[:, : s.alone], rows[:, s.alone :].reshape(tiles, num_pairs, 2 * s.width, q)
    at_real = v[:end].reshape(s.alone, -1, tiles, q).transpose(2, 0, 1, 3)
    return alone, at_real, pairs, v[end:].reshape(num_pairs, len(s.pairs), tiles, q).transpose(2, 0, 1, 3)


def windows_along(rows: Array, width: int, count: int) -> Array:
    """rows (I, L, columns, Q) -> a view (I, L, count, width, Q) of windows that end where the columns end."""
    step = (rows.shape[2] - width) // max(count - 1, 1)
    strides = rows.strides
    shape = (*rows.shape[:2], count, width, rows.shape[3])
    return np.lib.stride_tricks.as_strided(rows, shape, (*strides[:2], step * strides[2], *strides[2:]))


def from_points(s: Separable, v: Array, middle: Array, x: Array) -> None:
    """The transpose of `to_points` for tiles that lie apart: v (points, number of tiles, Q) -> x (I, J, H, W*Q)."""
    tiles, q = v.shape[1:]
    rows = middle[: tiles * s.length * s.width * q].reshape(tiles, s.length, s.width, q)
    alone, at_real, pairs, at_pairs = split_tiles(s, rows, v)
    product(s.real_t, at_real, alone, 512)
    product(s.pairs_t, at_pairs, pairs, 512)
    product(s.rows_t, rows.reshape(*x.shape[:-2], s.length, s.width * q), x)


def from_points_over(s: Separable, v: Array, step: int, middle: Array, x: Array) -> None:
    """v (points, number of tiles, Q) -> x (I, H, columns*Q), the sum of tiles of a row that overlap; without pairs.

    Else it does as `from_points`. What a tile shares with the one before is added to it between the two products; so
    the second one works on less.
    """
    tiles, q = v.shape[1:]
    count = tiles // len(x)
    rows = middle[: tiles * s.length * s.width * q].reshape(len(x), s.length, count, s.width, q)
    given = v.reshape(s.length, -1, len(x), count, q).transpose(2, 0, 3, 1, 4)
    np.matmul(s.real_t, given, out=rows)
    over = s.width - step
    rows[:, :, 1:, :over] += rows[:, :, :-1, step:]
    main = rows[:, :, :, :step].reshape(*rows.shape[:3], step * q).swapaxes(1, 2)
    out = x[:, :, : count * step * q].reshape(len(x), s.height, count, step * q).swapaxes(1, 2)
    np.matmul(s.rows_t, main, out=out)
    if over:
        last = rows[:, :, -1, step:].reshape(len(x), s.length, over * q)
        np.matmul(s.rows_t, last, out=x[:, :, count * step * q :])
