"""Winograd's algorithm along H alone; along W the plain sum over the taps of the kernel.

For few channels the products of F(4x4, 3x3) are too small to be fast, and most of its time goes into the transforms.
With one axis transformed, every number goes through two small products instead of four. The tiles can then be longer,
F(8, 3): 3.75 products for an output instead of 9. Rounding, float32, is 2e-6 to 6e-6 of the largest number, two to
three times that of F(4x4, 3x3); no other ten points do better (searched: pairs +-a, +-1/a, +-b, +-1/b, and 1,500 sets
at random). A column of points is a long row of memory, so that what a tap sees is a view: no patch is copied. At the
rims along H the matrices lose the rows and columns that stand for zeros.

A stride s along H is a sum of s convolutions, of every s-th row with every s-th tap: F(8, 2) and F(8, 1) for three taps
and stride 2. Along W the columns are sorted by their number modulo the stride, so that a tap still sees a view.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Type
from netdsl.stages.bilinear import toom_cook
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.convolution import ConvGeometry, Epilogue
from netdsl.stages.matrices import product
from netdsl.stages.stage import Worker
from netdsl.stages.strips import Frame, Product, Strip, Taps, along_h, cuts, taps_by_rest


def strided_toom_cook(tile: int, taps: int, stride: int, dtype: Type) -> tuple[Array, Array, Array]:
    """F(tile, taps) with a stride, a convolution of one axis -> data (points, inputs), weight (points, taps), output
    (tile, points), of (tile - 1) * stride + taps inputs."""
    inputs = (tile - 1) * stride + taps
    parts = [toom_cook(tile, len(range(phase, taps, stride)), dtype) for phase in range(min(stride, taps))]
    points = sum(len(part[0]) for part in parts)
    data, weight = np.zeros((points, inputs), dtype), np.zeros((points, taps), dtype)
    begin = 0
    for phase, (part, part_weight, _) in enumerate(parts):
        rows = slice(begin, begin + len(part))
        data[rows, phase::stride][:, : part.shape[1]] = part
        weight[rows, phase::stride] = part_weight
        begin = rows.stop
    return data, weight, np.concatenate([output for _, _, output in parts], axis=1)


def tiles_along(
    tile: int, stride: int, size: int, out_size: int, before: int, data: Array, output: Array
) -> list[tuple[slice, slice, Array, Array]]:
    """The tiles of one axis: (rows, inputs, data, output), which outputs and which inputs each has, as slices, and its
    part of the matrices data (points, inputs) and output (rows, points)."""
    every = []
    for begin in range(0, out_size, tile):
        count = min(tile, out_size - begin)
        first = begin * stride - before
        end = first + data.shape[1] - (tile - count) * stride
        inputs = slice(min(max(first, 0), size), max(min(end, size), 0))
        part = data[:, inputs.start - first : max(inputs.stop, inputs.start) - first]
        rows = slice(begin, begin + count)
        every.append((rows, inputs, np.ascontiguousarray(part), np.ascontiguousarray(output[:count])))
    return every


class WinogradRows(ConvStage):
    """Convolution by Winograd's F(tile, kernel height) along H, and by the plain sum over the taps along W.

    With the matrices of `strided_toom_cook`, at each point a product over the channels,
    y[:, j] = output @ (sum over k of (data @ x)[:, j * stride + k - left] (weight @ w)[:, k]), for a row of tiles after
    the other, in strips of columns short enough for the cache. One call makes the products of all taps, from views of
    the points that overlap, and `output` with each of its columns once for every tap adds them up. Every product goes
    the other way in the backward pass. That transforms the input once more: it takes no longer than to keep all of it.
    """

    can = ConvStage.can.but(is_local=False, share_gradient=True)

    strip_numbers = 1 << 13
    narrow = 64  # channels: of so few BLAS takes up to twice the time for a product with a transposed matrix

    def __init__(
        self,
        w: Worker,
        name: str,
        geometry: ConvGeometry,
        tile: int,
        epilogue: Epilogue = Epilogue(),
        dx: bool = True,
        common: bool = False,
    ) -> None:
        self.prepare(w, name, geometry, epilogue, dx, common)
        (c, height, width), f, (taps, columns) = self.shape, self.filters, self.kernel_size
        (top, _), (left, _), out_width, (down, step) = *self.padding, self.out_size[1], self.stride
        data, self.tw, output = w.constants(strided_toom_cook, tile, taps, down)
        self.tw_t = np.ascontiguousarray(self.tw.T)
        self.points = points = len(data)
        self.taps = taps_by_rest(width, columns, step, left)
        self.tiles = tiles_along(tile, down, height, self.out_size[0], top, data, output)
        self.outputs = [self.for_all_taps(matrix) for *_, matrix in self.tiles]
        self.u = w.shared(name, (points, columns * c * f))
        self.factors = self.u.reshape(points, columns, c, f)
        self.y = w.outputs(lambda n: (*self.out_size, n, f))
        longest, widest = max(width, out_width), max(c, f)
        numbers = max(self.strip_numbers, c * f)  # each strip reads all weights
        operations = 2 * points * columns * c * f * out_width if taps <= (tile + 1) * down else 0
        self.groups = [w.cut(len(self.tiles), n * operations) for n in w.sizes]  # else groups meet two others
        self.longest = {n: min(longest, max(1, numbers // (n * widest))) for n in w.sizes}
        self.sums = self.rows_at("sums", points * columns + 1, lambda n: self.longest[n] * n * widest)
        self.seen = [out_width + t.count - 1 if t.count else 0 for t in self.taps]
        rooms = self.rows_at("v", points, lambda n: sum(self.seen) * n * c)
        self.v = [self.frames_of(*both) for both in zip(rooms, w.sizes, strict=True)]
        self.strips = [self.strips_of(b) for b in range(len(w.sizes))]
        if w.training:
            self.prepare_backward()

    def prepare_backward(self) -> None:
        """Arrays and strips for the backward pass, of dy (Ho, Wo, n, F)."""
        w, c, f, (height, width) = self.w, self.channels, self.filters, self.shape[1:]
        (taps, columns), out_width = self.kernel_size, self.out_size[1]
        self.x: list[Any] = [None] * len(w.sizes)
        before = max(0, *(t.count - 1 - t.before for t in self.taps))
        seen = max(out_width, *(t.before + t.size for t in self.taps))
        rooms = self.rows_at("z", self.points, lambda n: (before + seen) * n * f)
        self.z = [Frame(room, before, out_width, before + seen, n * f) for room, n in zip(rooms, w.sizes, strict=True)]
        self.dx = w.gradients(lambda n: (height, width, n, c))
        self.shared_rows = w.scratch("shared rows", lambda n: (taps * width * n * c,))
        self.du = w.scratch("du", lambda n: (self.points, c * f))[0]  # for one column of taps at a time
        own = self.scratch_for_gradient() if self.common else w.grads[self.name + ".weight"]
        self.grad = own.reshape(taps, columns, c * f)
        self.grad_part = w.scratch("dweight", lambda n: (taps, c * f))[0]
        more = max(map(len, self.groups)) - 1
        self.more_grads = w.scratch("grads", lambda n: (more, taps, columns, c * f), common=True)
        self.rims = w.scratch("rims", lambda n: (more, taps, width, n * c), common=True)
        self.is_turned = self.has_dx and max(c, f) <= self.narrow
        self.factors_back = self.factors.swapaxes(2, 3)
        if self.is_turned:
            self.turned = w.shared((self.name, "turned"), (self.points, columns * f * c))
            self.factors_back = self.turned.reshape(self.points, columns, f, c)
        self.meetings = [self.meetings_of(b) for b in range(len(w.sizes))]
        self.strips_back = [[self.strips_to(t, b) for t in self.taps] for b in range(len(w.sizes))]

    def rows_at(self, key: str, rows: int, numbers: Callable[[int], int]) -> list[Array]:
        """Scratch for so many numbers a row; rows are no multiple of 4096 bytes apart."""
        arrays = self.w.scratch(key, lambda n: (rows, numbers(n) + 32))
        return [array[:, :-32] for array in arrays]

    def for_all_taps(self, matrix: Array) -> Array:
        """(rows, points) -> the same with each column for every tap, and one for the bias."""
        bias = [np.ones((len(matrix), 1), matrix.dtype)] * self.adds_bias
        return np.concatenate([*(np.repeat(matrix, t.count, axis=1) for t in self.taps), *bias], axis=1)

    def frames_of(self, room: Array, n: int) -> list[Frame]:
        """For each rest its columns of x at the points."""
        frames, q, end = [], n * self.channels, 0
        for t, seen in zip(self.taps, self.seen, strict=True):
            begin, end = end, end + seen * q
            before = min(t.before, seen)
            frames.append(Frame(room[:, begin:end], before, min(t.size, seen - before), seen, q))
        return frames

    def sums_of(self, b: int, begin: int, end: int, columns: int, channels: int) -> Array:
        """Rows begin..end-1 of the scratch for sums, (rows, columns, n * channels)."""
        q = self.w.sizes[b] * channels
        return self.sums[b][begin:end, : columns * q].reshape(end - begin, columns, q)

    def products_of(self, frame: Frame, begin: int, taps: int, factors: Array, sums: Array) -> list[Product]:
        """What each tap gives: the first sees columns begin... of the frame. sums (points * taps, columns, Q)."""
        if not taps:
            return []
        given = frame.windows(begin, begin + sums.shape[1], taps, factors.shape[2])
        return [(given, factors, sums.reshape(*given.shape[:3], factors.shape[3]))]

    def strips_of(self, b: int) -> list[Strip]:
        """The strips of the output."""
        strips, done = [], 0
        for begin, end in cuts(self.out_size[1], self.longest[self.w.sizes[b]]):
            fills, products, row = [], [], 0
            for t, frame in zip(self.taps, self.v[b], strict=True):
                fills.append(frame.fill(t.columns, done and done + t.count - 1, end + t.count - 1))
                first, row = row, row + self.points * t.count
                sums = self.sums_of(b, first, row, end - begin, self.filters)
                products += self.products_of(frame, begin, t.count, self.factors[:, t.taps], sums)
            every = self.sums_of(b, 0, row + self.adds_bias, end - begin, self.filters)
            strips.append(Strip(slice(begin, end), fills, products, every))
            done = end
        return strips

    def strips_to(self, t: Taps, b: int) -> list[Strip]:
        """The strips of the gradient of the columns of a rest: its taps see dy in turn from the last to the first."""
        z, strips, rows = self.z[b], [], self.points * t.count
        first, factors = z.before + t.before - t.count + 1, self.factors_back[:, t.taps][:, ::-1]
        for begin, end in cuts(t.size, self.longest[self.w.sizes[b]]):
            sums = self.sums_of(b, 0, rows, end - begin, self.channels)
            products = self.products_of(z, first + begin, t.count, factors, sums)
            strips.append(Strip(slice(begin, end), [], products, sums))
        return strips

    def meetings_of(self, b: int) -> list[tuple[int, Array, Array]]:
        """(tap, what it sees of x, (points, C, M), the gradients there, (points, M, F)) for every tap along W."""
        met: list[tuple[int, Array, Array]] = []
        z, width = self.z[b], self.out_size[1]
        for t, frame in zip(self.taps, self.v[b], strict=True):
            for i, tap in enumerate(range(self.kernel_size[1])[t.taps]):
                low, high = max(0, frame.before - i), min(width, frame.before + frame.size - i)
                if low < high:
                    seen = frame.whole[:, low + i : high + i].reshape(self.points, -1, self.channels)
                    met.append((tap, seen.swapaxes(1, 2), z.inside[:, low:high].reshape(self.points, -1, self.filters)))
        return met

    def refresh(self) -> None:
        """Transform this worker's part of the weights."""
        self.fold()
        begin, end = self.w.part(self.u.shape[1])
        weight = self.weight.reshape(self.kernel_size[0], -1)[:, begin:end]
        if self.norm is not None:
            weight = weight * np.resize(self.scale, self.u.shape[1])[begin:end]
        product(self.tw, weight, self.u[:, begin:end])
        if self.w.training and self.is_turned:
            turned = self.weight.swapaxes(2, 3).reshape(self.kernel_size[0], -1)[:, begin:end]
            product(self.tw, turned, self.turned[:, begin:end])

    def forward(self, x: Array, plus: Any = None) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, F)."""
        rows = x.reshape(*x.shape[:2], -1)
        if self.w.training:
            self.x[self.w.block] = rows
        self.w.each(self.groups[self.w.block], self.forward_tiles, rows, plus)
        return self.y[self.w.block]

    def forward_tiles(self, group: slice, rows: Array, plus: Any) -> None:
        """Some rows of tiles of x (H, W, n*C), and another map or None, to those of y."""
        b, y = self.w.block, self.y[self.w.block]
        out = y.reshape(*y.shape[:2], -1)
        if self.adds_bias:
            for strip in self.strips[b]:
                strip.sums[-1].reshape(-1, self.filters)[...] = self.bias
        for frame in self.v[b]:
            frame.clear()
        tiles, begin = self.tiles[group], self.tiles[group][0][0].start
        for (band, inputs, data, _), output in zip(tiles, self.outputs[group], strict=True):
            for strip in self.strips[b]:
                strip.fill(data, rows[inputs])
                strip.make()
                along_h(output, strip.sums, out[band, strip.place])
            if band is tiles[-1][0] or out[begin : band.stop].size >= 1 << 16:  # several small ones at a time
                done, begin = slice(begin, band.stop), band.stop
                self.complete(y[done], plus[done] if self.adds_map else None, has_bias=True)

    def backward(self, dy: Array) -> Array | None:
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C) if anything needs it."""
        b = self.w.block
        self.bias_gradient(dy)
        self.has_gradient = False if self.common else b > 0
        if not self.has_gradient:
            self.grad[...] = 0
        dx, groups = self.dx[b].reshape(*self.shape[1:], -1), self.groups[b]
        self.w.each(range(len(groups)), self.backward_tiles, dy.reshape(*dy.shape[:2], -1), self.x[b])
        for number, group in enumerate(groups[1:]):
            self.grad += self.more_grads[b][number]
            if self.has_dx:
                rim = slice(self.tiles[group.start][1].start, self.covered(group.start))
                dx[rim] += self.rims[b][number, : rim.stop - rim.start]
        if self.common:
            self.hand_in()
        if not self.has_dx:
            return None
        dx[self.covered(len(self.tiles)) :] = 0
        return self.dx[b]

    def covered(self, count: int) -> int:
        """How many rows of dx the first tiles, so many, give something to."""
        return max((inputs.stop for _, inputs, *_ in self.tiles[:count]), default=0)

    def backward_tiles(self, number: int, rows: Array, x: Array) -> None:
        """One group of rows of tiles: rows, of dy (Ho, Wo, n*F), to dx, and with x (H, W, n*C) to the gradient of the
        weights. All but the first put aside what others give something to, too: the gradient, and first rows of dx."""
        b, group, grad = self.w.block, self.groups[self.w.block][number], self.grad
        dx, z = self.dx[b].reshape(*self.shape[1:], -1), self.z[b]
        for frame in (z, *self.v[b]):
            frame.clear()
        if number:
            grad = self.more_grads[b][number - 1]
            grad[...] = 0
        for i, (band, inputs, data, output) in enumerate(self.tiles[group], group.start):
            along_h(output.T, rows[band], z.inside)
            self.add_tile_gradient(data, x[inputs], grad)
            if self.has_dx:
                covered = self.covered(i)
                dx[covered : inputs.start] = 0
                rim = self.rims[b][number - 1] if number and i == group.start else None
                self.add_dx(dx, min(max(covered, inputs.start), inputs.stop), inputs, data.T, rim)

    def add_dx(self, dx: Array, covered: int, inputs: slice, data_t: Array, rim: Array | None) -> None:
        """What a row of tiles sends back: its first rows are added to those that have something (covered) already, or
        put aside in `rim`."""
        b, overlap = self.w.block, covered - inputs.start
        for t, strips in zip(self.taps, self.strips_back[b], strict=True):
            matrix = np.repeat(data_t, t.count, axis=1)
            target = dx[inputs, t.columns]
            for strip in strips:
                strip.make()
                part = target[:, strip.place]
                along_h(matrix[overlap:], strip.sums, part[overlap:])
                if overlap:
                    added = self.shared_rows[b][: overlap * part[0].size].reshape(overlap, *part.shape[1:])
                    along_h(matrix[:overlap], strip.sums, added)
                    if rim is None:
                        part[:overlap] += added
                    else:
                        rim[:overlap, t.columns][:, strip.place] = added

    def add_tile_gradient(self, data: Array, x: Array, grad: Array) -> None:
        """One row of tiles: for each tap a product of what met there, and back from the points to the weights, added to
        `grad`."""
        b, du = self.w.block, self.du.reshape(self.points, self.channels, self.filters)
        for t, frame in zip(self.taps, self.v[b], strict=True):
            columns, out = frame.fill(t.columns, 0, frame.before + frame.size)
            along_h(data, x[:, columns], out)
        for tap, seen, given in self.meetings[b]:
            np.matmul(seen, given, out=du)
            product(self.tw_t, self.du, self.grad_part)
            grad[:, tap] += self.grad_part
