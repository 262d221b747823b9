"""Winograd's algorithm along H alone; along W the plain sum over the taps of the kernel.

For few channels the products of F(4x4, 3x3) are too small to be fast, and most of its time goes into the transforms.
With one axis transformed, every number goes through two small products instead of four. The tiles can then be longer,
F(8, 3): 3.75 products for an output instead of 9, at the rounding errors of F(4x4, 3x3). A column of points is a long
row of memory, so that a tap is a slice: no padding is stored, no patch copied. At the rims the matrices lose the rows
and columns that stand for zeros.
"""

import numpy as np

from netdsl.kernels.bilinear import product, toom_cook
from netdsl.kernels.convolutions import ConvStage


def tiles_along(tile, size, out_size, before, data, output):
    """The tiles of one axis: (rows, inputs, data, output), which outputs and which inputs each has, as slices, and its
    part of the matrices data (points, inputs) and output (rows, points)."""
    found = []
    for begin in range(0, out_size, tile):
        count = min(tile, out_size - begin)
        first, end = begin - before, begin - before + count + data.shape[1] - tile
        inputs = slice(min(max(first, 0), size), max(min(end, size), 0))
        part = data[:, inputs.start - first : max(inputs.stop, inputs.start) - first]
        rows = slice(begin, begin + count)
        found.append((rows, inputs, np.ascontiguousarray(part), np.ascontiguousarray(output[:count])))
    return found


def strips_along(size, out_size, shifts, longest):
    """target[j] = sum over k of source[j + shifts[k]] in strips of the targets -> (begin, end, reach, taps) of each.

    A strip needs the sources before `reach`. Its taps are (k, the columns of the source, those of the strip) as slices;
    the first covers the strip, or it is None and the strip starts as zeros.
    """
    strips = []
    count = -(-out_size // max(1, longest))
    for i in range(count):
        begin, end = i * out_size // count, (i + 1) * out_size // count
        taps = []
        for k, shift in enumerate(shifts):
            first, last = max(begin, -shift), min(end, size - shift)
            if first < last:
                taps.append((k, slice(first + shift, last + shift), slice(first - begin, last - begin)))
        taps.sort(key=lambda tap: tap[2].start - tap[2].stop)
        if not taps or taps[0][2] != slice(0, end - begin):
            taps.insert(0, None)
        strips.append((begin, end, min(size, max(0, end + max(shifts))), taps))
    return strips


class WinogradRows(ConvStage):
    """Convolution with stride 1 by F(tile, kernel height) along H; keeps the transformed input for the gradient of the
    weights.

    Rows of tiles are worked on one by one, in strips of columns short enough for the cache.
    """

    is_local = False
    strip_numbers = 1 << 14

    def __init__(
        self, w, name, shape, filters, kernel_size, padding, tile, adds_bias=True, dx=True, norm=None, relu=False
    ):
        self.prepare(w, name, shape, filters, kernel_size, (1, 1), padding, (1, 1), adds_bias, dx, norm, relu)
        (c, height, width), f, (taps, columns) = shape, filters, kernel_size
        (top, _), (left, _), out_width = *padding, self.out_size[1]
        data, self.tw, output = w.constants(toom_cook, tile, taps)
        self.tw_t = np.ascontiguousarray(self.tw.T)
        self.points = points = len(data)
        self.tiles = tiles_along(tile, height, self.out_size[0], top, data, output)
        self.u = w.shared((name, "u"), (points, columns * c * f))
        shifts = [k - left for k in range(columns)]
        longest = [self.strip_numbers // (n * max(c, f)) for n in w.sizes]
        self.strips = [strips_along(width, out_width, shifts, most) for most in longest]
        self.y = w.outputs(lambda n: (*self.out_size, n, f))

        def at_points(numbers):
            return (points, numbers + 32)  # rows that are not a multiple of 4096 bytes apart

        most = max(width, out_width) * max(c, f)
        self.sums = [w.scratch(("sums", k), lambda n: at_points(n * most)) for k in range(2)]
        if not w.training:
            self.v = w.scratch("v", lambda n: at_points(width * n * c))
            return
        self.v = w.arrays(lambda n: at_points(len(self.tiles) * width * n * c))
        self.z = w.scratch("z", lambda n: at_points(out_width * n * f))
        self.dx = w.gradients(lambda n: (height, width, n, c))
        self.shared_rows = w.scratch("shared rows", lambda n: ((taps - 1) * width * n * c,))
        self.strips_back = [strips_along(out_width, width, [-s for s in shifts], most) for most in longest]
        self.whole_rows = strips_along(width, out_width, shifts, out_width)[0][-1]
        self.du = w.scratch("du", lambda n: (points, columns * c * f))[0]
        self.du_part = w.scratch("du part", lambda n: (points, c, f))[0]
        self.grad = w.grads[name + ".weight"].reshape(taps, columns * c * f)
        self.grad_part = w.scratch("dweight", lambda n: self.grad.shape)[0]

    def refresh(self):
        """Transform this worker's part of the weights."""
        self.fold()
        begin, end = self.w.part(self.u.shape[1])
        weight = self.weight.reshape(self.kernel_size[0], -1)[:, begin:end]
        if self.norm is not None:
            weight = weight * np.resize(self.scale, self.u.shape[1])[begin:end]
        product(self.tw, weight, self.u[:, begin:end])

    def forward(self, x, plus=None):
        """x (H, W, n, C) -> y (Ho, Wo, n, F); at inference another map of that shape may be added."""
        b, c, f = self.w.block, self.channels, self.filters
        u = self.u.reshape(self.points, -1, c, f)
        y, q = self.y[b], x.shape[2] * f
        rows, out = x.reshape(len(x), -1), y.reshape(len(y), -1)
        size = rows.shape[1]
        for i, (band, inputs, data, output) in enumerate(self.tiles):
            v = self.v[b][:, i * size : (i + 1) * size] if self.w.training else self.v[b][:, :size]
            for begin, end, sums in self.taps(data, rows[inputs], v, u, self.strips[b]):
                product(output, sums, out[band, begin * q : end * q], 2048)
            self.with_bias(y[band], plus if plus is None else plus[band])
        return y

    def taps(self, matrix, rows, at_points, factors, strips):
        """rows (R, columns*n*K) -> at_points (points, columns*n*K), by the matrix; from there the sums over the taps,
        strip by strip: (begin, end, (points, columns*n*L)). factors: (points, taps, K, L)."""
        b, n = self.w.block, self.w.sizes[self.w.block]
        inner, outer = factors.shape[2:]
        done = 0
        for begin, end, reach, taps in strips:
            fresh = slice(done, reach * n * inner)
            if fresh.start < fresh.stop:
                product(matrix, rows[:, fresh], at_points[:, fresh], 2048)
                done = fresh.stop
            sums, part = (each[b][:, : (end - begin) * n * outer] for each in self.sums)
            for number, tap in enumerate(taps):
                if tap is None:
                    sums[...] = 0
                    continue
                k, source, target = tap
                given = at_points[:, source.start * n * inner : source.stop * n * inner]
                place = slice(target.start * n * outer, target.stop * n * outer)
                out = part[:, place] if number else sums
                np.matmul(given.reshape(self.points, -1, inner), factors[:, k], out=out.reshape(self.points, -1, outer))
                if number:
                    sums[:, place] += out
            yield begin, end, sums

    def backward(self, dy):
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C), None where nothing needs it."""
        b, c, n = self.w.block, self.channels, dy.shape[2]
        self.bias_gradient(dy)
        back = self.u.reshape(self.points, -1, c, self.filters).swapaxes(2, 3)
        rows, dx = dy.reshape(len(dy), -1), self.dx[b].reshape(len(self.dx[b]), -1)
        z, size, covered = self.z[b][:, : rows.shape[1]], dx.shape[1], 0
        for i, (band, inputs, data, output) in enumerate(self.tiles):
            if self.has_dx:
                overlap = max(0, min(covered, inputs.stop) - inputs.start)
                own = slice(inputs.start + overlap, inputs.stop)
                shared = slice(inputs.start, own.start)
                for begin, end, sums in self.taps(output.T, rows[band], z, back, self.strips_back[b]):
                    place = slice(begin * n * c, end * n * c)
                    product(data.T[overlap:], sums, dx[own, place], 2048)
                    if overlap:
                        added = self.shared_rows[b][: overlap * sums.shape[1]].reshape(overlap, -1)
                        product(data.T[:overlap], sums, added, 2048)
                        dx[shared, place] += added
                covered = max(covered, inputs.stop)
            else:
                product(output.T, rows[band], z, 2048)
            self.add_to_du(self.v[b][:, i * size : (i + 1) * size], z, n, i == 0)
        if self.w.block == 0:
            product(self.tw_t, self.du, self.grad)
        else:
            product(self.tw_t, self.du, self.grad_part)
            self.grad += self.grad_part
        return self.dx[b] if self.has_dx else None

    def add_to_du(self, v, z, n, is_first):
        """The gradient by the transformed weights of one row of tiles: for each tap a product of what met there."""
        c, f, points = self.channels, self.filters, self.points
        du = self.du.reshape(points, -1, c, f)
        if is_first:
            du[...] = 0
        for tap in self.whole_rows:
            if tap is None:
                continue
            k, source, target = tap
            met = v[:, source.start * n * c : source.stop * n * c].reshape(points, -1, c)
            with_z = z[:, target.start * n * f : target.stop * n * f].reshape(points, -1, f)
            if is_first:
                np.matmul(met.swapaxes(1, 2), with_z, out=du[:, k])
            else:
                np.matmul(met.swapaxes(1, 2), with_z, out=self.du_part)
                du[:, k] += self.du_part
