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

import numpy as np

from netdsl.stages.convolutions import ConvStage

# ------------------------------------------------------------------------------------------------ the constant matrices


class Separable:
    """A linear map from a plane to points, and its transpose: `rows` along H, then along W.

    rows (L, H): the first `num_real` rows stand alone, the others are pairs (real, imaginary part).
    real (A, W): what happens along W to a row that stands alone; pairs (B, 2*W): to a pair of rows, laid end to end.
    There are num_real * A + num_pairs * B points.
    """

    def __init__(self, rows, real, pairs, num_real, dtype):
        self.rows, self.real, self.pairs = (np.ascontiguousarray(m, dtype) for m in (rows, real, pairs))
        self.rows_t, self.real_t, self.pairs_t = (np.ascontiguousarray(m.T, dtype) for m in (rows, real, pairs))
        self.length, self.height = self.rows.shape
        self.width = self.real.shape[1]
        self.num_real, self.num_pairs = num_real, (self.length - num_real) // 2
        self.real_points = num_real * len(self.real)
        self.points = self.real_points + self.num_pairs * len(self.pairs)


def toom_cook(tile, taps, dtype):
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


def winograd(tile, in_size, out_size, kernel_size, before, dtype):
    """F(tile, r) along both axes of square tiles, r x r kernels -> the map of the input (Separable), that of the
    weights (a matrix), and the transpose of that back to the output (Separable).

    Of `in_size`, `out_size`, `before` a tile knows nothing.
    """
    data, weight, output = toom_cook(tile, kernel_size[0], np.float64)
    none = np.zeros((0, 0))
    x, w, y = (Separable(m, m, none, len(data), dtype) for m in (data, weight, output.T))
    return x, dense(w), y


def fourier(tile, in_size, out_size, kernel_size, before, dtype):
    """The real Fourier transform -> the maps of input, weights and output, as `winograd` gives them. All but `tile` are
    pairs (H, W).

    y[o] = sum over u of w[u] * x[o + u - before], x zero outside 0..in_size-1, is a circular convolution of any length
    >= in_size + before and >= out_size + kernel_size - 1 - before: the shortest is taken. With tile > 0 it is for tiles
    of that many outputs, without padding. Along H half the frequencies are enough, since the input is real. Complex
    products take three multiplications instead of four (Gauss), whose sums are part of the matrices: the input gives
    [re + im, re, im], the weights [re, im - re, re + im].
    """
    if tile:
        in_size, out_size, before = [tile + k - 1 for k in kernel_size], (tile, tile), (0, 0)
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


def dense(s):
    """A Separable as one matrix (points, H*W)."""
    eye = np.eye(s.height * s.width, dtype=s.rows.dtype).reshape(1, 1, s.height, -1)
    v = np.empty((s.points, 1, s.height * s.width), s.rows.dtype)
    to_points(s, eye, np.empty(s.length * s.width * s.height * s.width, s.rows.dtype), v)
    return v.reshape(s.points, -1)


def spectrum(length, places):
    """(length, len(places)): the real frequencies, 0 and length / 2 if that is even; then (re, im) of the rest."""
    rows = [np.ones(len(places))] + [np.cos(np.pi * places)] * (length % 2 == 0)
    for k in range(1, (length + 1) // 2):
        rows += [np.cos(2 * np.pi * k / length * places), -np.sin(2 * np.pi * k / length * places)]
    return np.array(rows)


def inverse_spectrum(length, places):
    """The transpose of the inverse of `spectrum`: frequencies that stand for two count twice."""
    twice = np.full(length, 2.0)
    twice[: 2 if length % 2 == 0 else 1] = 1
    return spectrum(length, places) * (twice / length)[:, None]


def gauss_rows(rows, gauss):
    """Pairs of rows (re, im) to the three factors of Gauss's complex product; the real rows stay."""
    num_real = 2 if len(rows) % 2 == 0 else 1
    return np.concatenate([rows[:num_real], *(gauss @ rows[i : i + 2] for i in range(num_real, len(rows), 2))])


def gauss_pairs(length, places, gauss):
    """Complex rows laid end to end (re, im) -> for each of all `length` frequencies Gauss's three factors."""
    blocks = []
    for k in range(length):
        cos, sin = np.cos(2 * np.pi * k / length * places), np.sin(2 * np.pi * k / length * places)
        blocks.append(gauss @ np.block([[cos, sin], [-sin, cos]]))
    return np.concatenate(blocks)


# ------------------------------------------------------------------------------------------------ transforms


def product(matrix, x, out, limit=1024):
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


def to_points(s, x, middle, v):
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
    rows = rows.reshape(tiles, s.length, s.width, q)
    out = v[: s.real_points].reshape(s.num_real, -1, tiles, q).transpose(2, 0, 1, 3)
    product(s.real, rows[:, : s.num_real], out, 512)
    if s.num_pairs:
        pairs = rows[:, s.num_real :].reshape(tiles, s.num_pairs, 2 * s.width, q)
        out = v[s.real_points :].reshape(s.num_pairs, -1, tiles, q).transpose(2, 0, 1, 3)
        product(s.pairs, pairs, out, 512)


def windows_along(rows, width, count):
    """rows (I, L, columns, Q) -> a view (I, L, count, width, Q) of windows that end where the columns end."""
    step = (rows.shape[2] - width) // max(count - 1, 1)
    strides = rows.strides
    shape = (*rows.shape[:2], count, width, rows.shape[3])
    return np.lib.stride_tricks.as_strided(rows, shape, (*strides[:2], step * strides[2], *strides[2:]))


def from_points(s, v, middle, x):
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


def from_points_over(s, v, step, middle, x):
    """As `from_points`, for neighbours in a row that overlap: their sum goes to x (I, H, columns*Q). No pairs.

    What a tile shares with the one before is added to it between the two products; so the second one works on less.
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


class BilinearConv(ConvStage):
    """Convolution with stride 1 by constant matrices; keeps the transformed input for the gradient of the weights.

    algorithm: what makes the matrices, `winograd` or `fourier`. tile: outputs of a tile along each axis, 0 for the
    whole plane at once, with the padding in the matrices. Rows of tiles go through all three steps in bands, as many
    as stay in the cache.
    """

    is_local = False
    band_bytes = 1 << 20

    def __init__(
        self,
        w,
        name,
        shape,
        filters,
        kernel_size,
        padding,
        algorithm,
        tile=0,
        adds_bias=True,
        dx=True,
        norm=None,
        relu=False,
    ):
        self.prepare(w, name, shape, filters, kernel_size, (1, 1), padding, (1, 1), adds_bias, dx, norm, relu)
        assert not tile or tile >= max(kernel_size) - 1, f"tiles of {tile} meet more than their neighbours"
        self.tile = tile
        before = tuple(side for side, _ in padding)
        self.tx, self.tw, self.ty = w.constants(algorithm, tile, shape[1:], self.out_size, kernel_size, before)
        self.tw_t = np.ascontiguousarray(self.tw.T)
        c, f, points = shape[0], filters, self.tx.points
        rows, columns = self.grid = tuple(-(-o // tile) for o in self.out_size) if tile else (1, 1)
        self.bands = []
        for n in w.sizes:
            bytes_of_row = points * columns * n * (c + f) * w.dtype.itemsize
            count = min(rows, max(1, round(rows * bytes_of_row / self.band_bytes), 1))
            count = min(count, max(1, rows * columns * n // 64))
            self.bands.append([slice(i * rows // count, (i + 1) * rows // count) for i in range(count)])
        longest = [max(band.stop - band.start for band in bands) for bands in self.bands]
        at_work = dict(zip(w.sizes, longest, strict=True))
        self.is_rowwise = bool(tile) and self.tx.num_pairs == 0

        def at_points(count, channels):
            return count * columns * channels + 32  # rows that are not a multiple of 4096 bytes apart

        wide = columns * max(self.tx.length * self.tx.width * c, self.ty.length * self.ty.width * f)
        self.middle = w.scratch("middle", lambda n: (at_work[n] * n * wide,))
        self.u = w.shared((name, "u"), (points, c * f))
        size = tuple(g * tile for g in self.grid) if tile else self.out_size
        self.y = w.outputs(lambda n: (*size, n, f))
        if tile:
            whole = tuple((g - 1) * tile + k for g, k in zip(self.grid, (self.tx.height, self.tx.width), strict=True))
            self.padded = w.frame(lambda n: (*whole, n, c), (*before, *shape[1:]))
        if w.training:
            self.v = w.arrays(lambda n: (points, at_points(rows * n, c)))
            self.z = w.scratch("z", lambda n: (points, at_points(rows * n, f)))
            self.channels_at_once = max(1, min(c, (1 << 20) // (points * f)))
            self.du = w.scratch("du", lambda n: (points, self.channels_at_once * f))[0]
            self.grad = w.grads[name + ".weight"].reshape(-1, c * f)
            self.grad_part = w.scratch("dweight", lambda n: self.grad.shape)[0]
            self.dv = w.scratch("v", lambda n: (points, at_points(at_work[n] * n, c)))
            self.dy = w.frame(lambda n: (*size, n, f), (0, 0, *self.out_size)) if size != self.out_size else None
            self.dx = w.gradients(lambda n: (*(whole if tile else shape[1:]), n, c))
            if tile:
                columns_of_row = whole[1] if self.is_rowwise else columns * self.tx.width
                self.dtiles = w.scratch("tiles", lambda n: (at_work[n] * self.tx.height * columns_of_row * n * c,))
        else:
            self.v = w.scratch("v", lambda n: (points, at_points(at_work[n] * n, c)))
        self.m = w.scratch("m", lambda n: (points, at_points(at_work[n] * n, f)))

    def refresh(self):
        """Transform this worker's part of the weights."""
        self.fold()
        c, f = self.channels, self.filters
        begin, end = self.w.part(c * f)
        weight = self.weight.reshape(-1, c * f)[:, begin:end]
        if self.norm is not None:
            weight = weight * np.resize(self.scale, c * f)[begin:end]
        product(self.tw, weight, self.u[:, begin:end])

    def forward(self, x, plus=None):
        """x (H, W, n, C) -> y (Ho, Wo, n, F); at inference another map of that shape may be added."""
        b, n = self.w.block, x.shape[2]
        c, f, middle, y = self.channels, self.filters, self.middle[b], self.y[b]
        u = self.u.reshape(-1, c, f)
        if self.tile:
            (top, _), (left, _) = self.padding
            padded = self.padded[b]
            padded[top : top + x.shape[0], left : left + x.shape[1]] = x
            x = padded
        for band in self.bands[b]:
            count = (band.stop - band.start) * self.grid[1]
            first = band.start * self.grid[1] if self.w.training else 0
            v = self.v[b][:, first * n * c : (first + count) * n * c]
            m = self.m[b][:, : count * n * f]
            to_points(self.tx, self.tiles_of(x, band), middle, v.reshape(-1, count, n * c))
            np.matmul(v.reshape(-1, count * n, c), u, out=m.reshape(-1, count * n, f))
            from_points(self.ty, m.reshape(-1, count, n * f), middle, self.out_tiles(y, band))
            rows = slice(band.start * self.tile, band.stop * self.tile) if self.tile else slice(None)
            self.with_bias(
                y[rows, : self.out_size[1]][: self.out_size[0] - (rows.start or 0)],
                plus if plus is None else plus[rows],
            )
        return y[: self.out_size[0], : self.out_size[1]]

    def tiles_of(self, x, band):
        """The tiles that rows of x (H, W, n, C), padded, fall into, as `to_points` takes them."""
        if not self.tile:
            return x.reshape(1, 1, x.shape[0], -1)
        row, column, _, one = x.strides
        q = x.shape[2] * x.shape[3]
        start = x[band.start * self.tile :]
        if self.is_rowwise:
            shape, strides = (self.tx.height, x.shape[1] * q), (row, one)
        else:
            shape, strides = (self.grid[1], self.tx.height, self.tx.width * q), (column * self.tile, row, one)
        shape, strides = (band.stop - band.start, *shape), (row * self.tile, *strides)
        return np.lib.stride_tricks.as_strided(start, shape, strides)

    def out_tiles(self, y, band):
        """y (I*h, J*w, n, F) -> a view of the tiles in a band of rows, (I, J, h, w*n*F)."""
        if not self.tile:
            return y.reshape(1, 1, y.shape[0], -1)
        part = y[band.start * self.tile : band.stop * self.tile]
        return part.reshape(-1, self.tile, self.grid[1], self.tile * y.shape[2] * y.shape[3]).transpose(0, 2, 1, 3)

    def backward(self, dy):
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C), None where nothing needs it."""
        b, n = self.w.block, dy.shape[2]
        c, f, middle, points = self.channels, self.filters, self.middle[b], self.tx.points
        u = self.u.reshape(points, c, f).transpose(0, 2, 1)
        self.bias_gradient(dy)
        if self.dy is not None:
            self.dy[b][: dy.shape[0], : dy.shape[1]] = dy
            dy = self.dy[b]
        for band in self.bands[b]:
            count = (band.stop - band.start) * self.grid[1]
            first = band.start * self.grid[1]
            z = self.z[b][:, first * n * f : (first + count) * n * f]
            to_points(self.ty, self.out_tiles(dy, band), middle, z.reshape(points, count, n * f))
            if self.has_dx:
                dv = self.dv[b][:, : count * n * c]
                z = z.reshape(points, count * n, f)
                np.matmul(z, u, out=dv.reshape(points, count * n, c))
                self.add_dx(dv.reshape(points, count, n * c), band)
        v, z = self.v[b][:, :-32].reshape(points, -1, c), self.z[b][:, :-32].reshape(points, -1, f)
        self.add_weight_gradient(v, z)
        if not self.has_dx:
            return None
        dx = self.dx[b]
        if not self.tile:
            return dx
        (top, _), (left, _) = self.padding
        return dx[top : top + self.shape[1], left : left + self.shape[2]]

    def add_weight_gradient(self, v, z):
        """v (points, M, C), z (points, M, F) -> their products, back from the points; some channels at a time, so that
        those stay in the cache."""
        points, f = len(v), self.filters
        for begin in range(0, self.channels, self.channels_at_once):
            part = v[:, :, begin : begin + self.channels_at_once]
            du = self.du[:, : part.shape[2] * f]
            np.matmul(part.transpose(0, 2, 1), z, out=du.reshape(points, -1, f))
            place = slice(begin * f, (begin + part.shape[2]) * f)
            if self.w.block == 0:
                product(self.tw_t, du, self.grad[:, place])
            else:
                rest = self.grad_part[:, place]
                product(self.tw_t, du, rest)
                self.grad[:, place] += rest

    def add_dx(self, dv, band):
        """What a band of tiles sends back to x; its first rows overlap with the last ones of the band before."""
        b, tile, s = self.w.block, self.tile, self.tx
        dx, middle, q = self.dx[b], self.middle[b], dv.shape[2]
        if not tile:
            from_points(s, dv, middle, dx.reshape(1, 1, s.height, -1))
            return
        rows, columns = band.stop - band.start, self.grid[1]
        if self.is_rowwise:
            tiles = self.dtiles[b][: rows * s.height * dx.shape[1] * q].reshape(rows, s.height, -1)
            from_points_over(s, dv, tile, middle, tiles)
        else:
            apart = self.dtiles[b][: rows * columns * s.height * s.width * q].reshape(rows, columns, s.height, -1)
            from_points(s, dv, middle, apart)
            tiles = self.joined(apart, middle, q)
        over, begin = s.height - tile, band.start * tile
        dx = dx.reshape(len(dx), -1)
        if begin:
            tiles[0, :over] += dx[begin : begin + over]
        tiles[1:, :over] += tiles[:-1, tile:]
        dx[begin : begin + rows * tile].reshape(rows, tile, -1)[...] = tiles[:, :tile]
        dx[begin + rows * tile : begin + rows * tile + over] = tiles[-1, tile:]

    def joined(self, tiles, middle, q):
        """Tiles of a row that overlap, (I, J, h, w*Q), added up to rows (I, h, columns*Q)."""
        tile, s = self.tile, self.tx
        over = (s.width - tile) * q
        tiles[:, 1:, :, :over] += tiles[:, :-1, :, tile * q :]
        rows, columns = tiles.shape[:2]
        out = middle[: rows * s.height * (columns * tile * q + over)].reshape(rows, s.height, -1)
        main = out[:, :, : columns * tile * q].reshape(rows, s.height, columns, tile * q)
        main[...] = tiles[:, :, :, : tile * q].swapaxes(1, 2)
        out[:, :, columns * tile * q :] = tiles[:, -1, :, tile * q :]
        return out
