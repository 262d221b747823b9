"""Fast convolution as three constant matrices: y = Ty[(Tx x) . (Tw w)].

A convolution of two polynomials is a product of their values at enough points. So every fast algorithm has one form:
transform the input and the weights by constant matrices, multiply point by point (over channels: one matrix product
for each point), transform back. Winograd's F(m, r) and the discrete Fourier transform differ in the points alone, and
the backward pass is the same form with each matrix transposed. Here every transform is separable: along H, then along
W, both by plain matrix products.

Winograd 1980, "Arithmetic complexity of computations"; Lavin & Gray 2016, "Fast algorithms for convolutional neural
networks"; Blahut 2010, "Fast algorithms for signal processing". Errors, float32: the Fourier transform stays at
rounding (3e-7 of the largest) at every length, Winograd F(4, 3) with square-root points at 3e-6. Both mix every number
of a tile with every other: an outlier or a NaN spreads over its tile, and zeros become rounding errors.
"""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Spatial, Type


class Separable:
    """A linear map from a plane to points, and its transpose: `rows` along H, then along W.

    rows (L, H): the first `num_real` rows stand alone, the others are pairs (real, imaginary part).
    real (A, W): what happens along W to a row that stands alone; pairs (B, 2*W): to a pair of rows, laid end to end.
    There are num_real * A + num_pairs * B points.
    """

    def __init__(self, rows: Array, real: Array, pairs: Array, num_real: int, dtype: Type) -> None:
        self.rows, self.real, self.pairs = (np.ascontiguousarray(m, dtype) for m in (rows, real, pairs))
        self.rows_t, self.real_t, self.pairs_t = (np.ascontiguousarray(m.T, dtype) for m in (rows, real, pairs))
        self.length, self.height = self.rows.shape
        self.width = self.real.shape[1]
        self.num_real, self.num_pairs = num_real, (self.length - num_real) // 2
        self.real_points = num_real * len(self.real)
        self.points = self.real_points + self.num_pairs * len(self.pairs)


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


def winograd(
    tile: int, in_size: Shape, out_size: Shape, kernel_size: Spatial, before: Shape, dtype: Type
) -> tuple[Separable, Array, Separable]:
    """F(tile, r) along both axes of square tiles, r x r kernels -> the map of the input (Separable), that of the
    weights (a matrix), and the transpose of that back to the output (Separable).

    Of `in_size`, `out_size`, `before` a tile knows nothing.
    """
    data, weight, output = toom_cook(tile, kernel_size[0], np.float64)
    none = np.zeros((0, 0))
    x, w, y = (Separable(m, m, none, len(data), dtype) for m in (data, weight, output.T))
    return x, dense(w), y


def fourier(
    tile: int, in_size: Shape, out_size: Shape, kernel_size: Spatial, before: Shape, dtype: Type
) -> tuple[Separable, Array, Separable]:
    """The real Fourier transform -> the maps of input, weights and output, as `winograd` gives them. All but `tile` are
    pairs (H, W).

    y[o] = sum over u of w[u] * x[o + u - before], x zero outside 0..in_size-1, is a circular convolution of any length
    >= in_size + before and >= out_size + kernel_size - 1 - before: the shortest is taken. With tile > 0 it is for tiles
    of that many outputs, without padding. Along H half the frequencies are enough, since the input is real. Complex
    products take three multiplications instead of four (Gauss), whose sums are part of the matrices: the input gives
    [re + im, re, im], the weights [re, im - re, re + im].
    """
    if tile:
        in_size, out_size, before = tuple(tile + k - 1 for k in kernel_size), (tile, tile), (0, 0)
    sizes = list(zip(in_size, out_size, kernel_size, before, strict=True))
    height, width = (max(n + b, o + k - 1 - b) for n, o, k, b in sizes)
    places = [(np.arange(n), b - np.arange(k), np.arange(o)) for n, o, k, b in sizes]
    gauss_x, gauss_w = np.array([[1, 1], [1, 0], [0, 1]]), np.array([[1, 0], [-1, 1], [1, 1]])
    gauss_y = np.array([[1, 1], [0, 1], [-1, 0]])
    num_real = 2 if height % 2 == 0 else 1
    maps = [
        (
            spectrum(height, places[0][i]),
            gauss_rows(spectrum(width, places[1][i]), g),
            gauss_pairs(width, places[1][i], g),
        )
        for i, g in ((0, gauss_x), (1, gauss_w))
    ]
    rows, real = (inverse_spectrum(length, axis[2]) for length, axis in zip((height, width), places, strict=True))
    maps.append((rows, gauss_rows(real, gauss_y), gauss_pairs(width, places[1][2], gauss_y) / width))
    x, w, y = (Separable(*matrices, num_real, dtype) for matrices in maps)
    return x, dense(w), y


def dense(s: Separable) -> Array:
    """A Separable -> the same map as one matrix (points, H*W)."""
    eye = np.eye(s.height * s.width, dtype=s.rows.dtype).reshape(1, 1, s.height, -1)
    v = np.empty((s.points, 1, s.height * s.width), s.rows.dtype)
    to_points(s, eye, np.empty(s.length * s.width * s.height * s.width, s.rows.dtype), v)
    return v.reshape(s.points, -1)


def spectrum(length: int, places: Array) -> Array:
    """(length, len(places)): the real frequencies, 0 and length / 2 if that is even; then (re, im) of the rest."""
    rows = [np.ones(len(places))] + [np.cos(np.pi * places)] * (length % 2 == 0)
    for k in range(1, (length + 1) // 2):
        rows += [np.cos(2 * np.pi * k / length * places), -np.sin(2 * np.pi * k / length * places)]
    return np.array(rows)


def inverse_spectrum(length: int, places: Array) -> Array:
    """The transpose of the inverse of `spectrum`: frequencies that stand for two count twice."""
    twice = np.full(length, 2.0)
    twice[: 2 if length % 2 == 0 else 1] = 1
    return spectrum(length, places) * (twice / length)[:, None]


def gauss_rows(rows: Array, gauss: Array) -> Array:
    """Pairs of rows (re, im) to the three factors of Gauss's complex product; the real rows stay."""
    num_real = 2 if len(rows) % 2 == 0 else 1
    return np.concatenate([rows[:num_real], *(gauss @ rows[i : i + 2] for i in range(num_real, len(rows), 2))])


def gauss_pairs(length: int, places: Array, gauss: Array) -> Array:
    """Complex rows laid end to end (re, im) -> for each of all `length` frequencies Gauss's three factors."""
    blocks = []
    for k in range(length):
        cos, sin = np.cos(2 * np.pi * k / length * places), np.sin(2 * np.pi * k / length * places)
        blocks.append(gauss @ np.block([[cos, sin], [-sin, cos]]))
    return np.concatenate(blocks)


def product(matrix: Array, x: Array, out: Array, limit: int = 1024) -> None:
    """matrix (m, k) @ x (..., k, Q) -> out (..., m, Q), in columns of at most `limit` numbers, so that what a product
    reads stays in the cache: two or three times as fast as one product with very long rows."""
    size = x.shape[-1]
    parts = max(1, -(-size // limit))
    while size % parts:
        parts += 1
    if parts == 1 or size // parts < limit // 8:
        np.matmul(matrix, x, out=out)
        return
    x = x.reshape(*x.shape[:-1], parts, size // parts).swapaxes(-3, -2)
    np.matmul(matrix, x, out=out.reshape(*out.shape[:-1], parts, size // parts).swapaxes(-3, -2))


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
    lines = rows.reshape(tiles, s.length, s.width, q)
    out = v[: s.real_points].reshape(s.num_real, -1, tiles, q).transpose(2, 0, 1, 3)
    product(s.real, lines[:, : s.num_real], out, 512)
    if s.num_pairs:
        pairs = lines[:, s.num_real :].reshape(tiles, s.num_pairs, 2 * s.width, q)
        out = v[s.real_points :].reshape(s.num_pairs, -1, tiles, q).transpose(2, 0, 1, 3)
        product(s.pairs, pairs, out, 512)


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
    given = v[: s.real_points].reshape(s.num_real, -1, tiles, q).transpose(2, 0, 1, 3)
    product(s.real_t, given, rows[:, : s.num_real], 512)
    if s.num_pairs:
        pairs = rows[:, s.num_real :].reshape(tiles, s.num_pairs, 2 * s.width, q)
        given = v[s.real_points :].reshape(s.num_pairs, -1, tiles, q).transpose(2, 0, 1, 3)
        product(s.pairs_t, given, pairs, 512)
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
