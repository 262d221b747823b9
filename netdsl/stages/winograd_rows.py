"""Winograd's algorithm along H alone; along W the plain sum over the taps of the kernel.

For few channels the products of F(4x4, 3x3) are too small to be fast, and most of its time goes into the transforms.
With one axis transformed, every number goes through two small products instead of four. The tiles can then be longer,
F(8, 3): 3.75 products for an output instead of 9. Rounding, float32, is 2e-6 to 6e-6 of the largest number, two to
three times that of F(4x4, 3x3); no other ten points do better (searched: pairs +-a, +-1/a, +-b, +-1/b, and 1,500 sets
at random). A column of points is a long row of memory, so that a tap is a slice: no padding is stored, no patch copied.
At the rims the matrices lose the rows and columns that stand for zeros.

A stride s along H is a sum of s convolutions, of every s-th row with every s-th tap: F(8, 2) and F(8, 1) for three taps
and stride 2. Along W the columns are sorted by their number modulo the stride, so that a tap still is a slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Type
from netdsl.stages.bilinear import product, toom_cook
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.convolution import ConvGeometry, Epilogue
from netdsl.stages.stage import Worker

Strip = tuple[int, int, int, Sequence[tuple[int, slice, slice] | None]]
"""A strip of `strips_along`: where it begins and ends, before which column its sources end, and its taps."""


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


def strips_along(out_size: int, taps: Mapping[int, tuple[int, int, int]], longest: int) -> list[Strip]:
    """target[j] = sum over the taps k of source[j + shift] in strips of the targets -> (begin, end, reach, taps).

    taps: {k: (first, size, shift)}, where the tap sees the sources first..first+size-1 as 0..size-1. A strip needs the
    sources before `reach`. Its taps are (k, the columns of the source, those of the strip) as slices; the first covers
    the strip, or it is None and the strip starts as zeros.
    """
    strips: list[Strip] = []
    count = -(-out_size // max(1, longest))
    for i in range(count):
        begin, end = i * out_size // count, (i + 1) * out_size // count
        seen = []
        for k, (first, size, shift) in taps.items():
            low, high = max(begin, -shift), min(end, size - shift)
            if low < high:
                source = slice(first + low + shift, first + high + shift)
                seen.append((k, source, slice(low - begin, high - begin)))
        seen.sort(key=lambda tap: tap[2].start - tap[2].stop)
        is_covered = bool(seen) and seen[0][2] == slice(0, end - begin)
        reach = max((tap[1].stop for tap in seen), default=0)
        strips.append((begin, end, reach, seen if is_covered else [None, *seen]))
    return strips


def along_h(matrix: Array, x: Array, out: Array) -> None:
    """matrix (m, k) @ x (k, columns, Q) -> out (m, columns, Q); Q numbers lie together, columns may lie apart."""
    if matrix.size == 0:
        out[...] = 0
    elif all(a.strides[1] == a.shape[2] * a.itemsize for a in (x, out)):
        product(matrix, x.reshape(len(x), -1), out.reshape(len(out), -1), 2048)
    else:
        np.matmul(matrix, x.swapaxes(0, 1), out=out.swapaxes(0, 1))


def columns_by_rest(width: int, step: int) -> tuple[list[int], list[tuple[slice, slice]]]:
    """For each rest modulo the stride how many columns have a number of that rest; which these are, and where they
    stand among all, sorted by that rest."""
    sizes = [len(range(rest, width, step)) for rest in range(step)]
    return sizes, [(slice(r, width, step), slice(sum(sizes[:r]), sum(sizes[: r + 1]))) for r in range(step)]


class WinogradRows(ConvStage):
    """Convolution by Winograd's F(tile, kernel height) along H, and by the plain sum over the taps along W.

    With the matrices of `strided_toom_cook`, at each point a product over the channels,
    y[:, j] = output @ (sum over k of (data @ x)[:, j * stride + k - left] (weight @ w)[:, k]), for a row of tiles after
    the other, in strips of columns short enough for the cache. Every product with a matrix goes the other way in the
    backward pass. That transforms the input once more: it takes no longer than to keep all of it in memory.
    """

    can = ConvStage.can.but(is_local=False)

    strip_numbers = 1 << 14
    narrow = 64  # channels: of so few BLAS takes up to twice the time for a product with a transposed matrix

    def __init__(
        self,
        w: Worker,
        name: str,
        geometry: ConvGeometry,
        tile: int,
        epilogue: Epilogue = Epilogue(),
        dx: bool = True,
    ) -> None:
        self.prepare(w, name, geometry, epilogue, dx)
        (c, height, width), f, (taps, columns) = self.shape, self.filters, self.kernel_size
        (top, _), (left, _), out_width, (down, step) = *self.padding, self.out_size[1], self.stride
        data, self.tw, output = w.constants(strided_toom_cook, tile, taps, down)
        self.tw_t = np.ascontiguousarray(self.tw.T)
        self.points = points = len(data)
        if self.adds_bias:
            output = np.concatenate([output, np.ones((tile, 1), w.dtype)], axis=1)  # of one more point, the bias itself
        self.tiles = tiles_along(tile, down, height, self.out_size[0], top, data, output)
        self.u = w.shared((name, "u"), (points, columns * c * f))
        self.factors = self.u.reshape(points, columns, c, f)
        sizes, self.sorted = columns_by_rest(width, step)
        seen = {k: (self.sorted[(k - left) % step][1], (k - left) // step) for k in range(columns)}
        ahead = {k: (place.start, place.stop - place.start, shift) for k, (place, shift) in seen.items()}
        longest = [self.strip_numbers // (n * max(c, f)) for n in w.sizes]
        self.strips = [strips_along(out_width, ahead, most) for most in longest]
        self.y = w.outputs(lambda n: (*self.out_size, n, f))

        def at_points(numbers: int, more: int = 0) -> Shape:
            return (points + more, numbers + 32)  # rows that are not a multiple of 4096 bytes apart

        most = max(width, out_width) * max(c, f)
        self.sums = [w.scratch(("sums", k), lambda n: at_points(n * most, 1)) for k in range(2)]
        self.v = w.scratch("v", lambda n: at_points(width * n * c))
        if not w.training:
            return
        self.x = w.of_blocks()
        self.z = w.scratch("z", lambda n: at_points(out_width * n * f))
        self.dx = w.gradients(lambda n: (height, width, n, c))
        self.shared_rows = w.scratch("shared rows", lambda n: (taps * width * n * c,))
        places = [place for _, place in self.sorted]
        back = [{k: (0, out_width, -shift) for k, (at, shift) in seen.items() if at == place} for place in places]
        self.strips_back = [[strips_along(*given, most) for given in zip(sizes, back, strict=True)] for most in longest]
        self.all_taps = [tap for tap in strips_along(out_width, ahead, out_width)[0][-1] if tap]
        self.make_room_for_gradients(points, taps, columns, c * f)
        self.is_turned = dx and max(c, f) <= self.narrow
        if self.is_turned:
            self.turned = w.shared((name, "turned"), (points, columns * f * c))
            self.factors_back = self.turned.reshape(points, columns, f, c)
        else:
            self.factors_back = self.factors.swapaxes(2, 3)

    def make_room_for_gradients(self, points: int, taps: int, columns: int, pairs: int) -> None:
        """Arrays for the gradient of the weights, (taps, columns, C * F), made for one column of taps at a time."""
        self.du = self.w.scratch("du", lambda n: (points, pairs))[0]
        self.grad = self.w.grads[self.name + ".weight"].reshape(taps, columns, pairs)
        self.grad_part = self.w.scratch("dweight", lambda n: (taps, pairs))[0]

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

    def to_points(self, data: Array, rows: Array, v: Array) -> None:
        """rows (R, W, n*C) to the points, v (points, W sorted, n*C)."""
        for columns, place in self.sorted:
            along_h(data, rows[:, columns], v[:, place])

    def forward(self, x: Array, plus: Array | None = None) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, F); at inference another map of that shape may be added."""
        b = self.w.block
        y = self.y[b]
        if self.adds_bias:
            self.sums[0][b][-1, : y[0].size].reshape(-1, self.filters)[...] = self.bias
        rows, out = x.reshape(*x.shape[:2], -1), y.reshape(*y.shape[:2], -1)
        v = self.v[b][:, : rows[0].size].reshape(self.points, *rows.shape[1:])
        if self.w.training:
            self.x[b] = rows
        for band, inputs, data, output in self.tiles:
            is_sorted = len(self.sorted) > 1
            if is_sorted:
                self.to_points(data, rows[inputs], v)
            given = None if is_sorted else rows[inputs]
            for begin, end, sums in self.over_taps(data, given, v, self.factors, self.strips[b]):
                along_h(output, sums[: output.shape[1]], out[band, begin:end])
            self.with_bias(y[band], plus if plus is None else plus[band], has_bias=True)
        return y

    def over_taps(
        self, matrix: Array, rows: Array | None, at_points: Array, factors: Array, strips: Sequence[Strip]
    ) -> Iterator[tuple[int, int, Array]]:
        """rows (R, columns, n*K) -> at_points (points, columns, n*K), by the matrix, where there are rows; from there
        the sums over the taps, strip by strip: (begin, end, (points + 1, columns, n*L)), whose last row is not touched.
        factors: (points, taps, K, L)."""
        b, points = self.w.block, self.points
        inner, outer = factors.shape[2:]
        n, done = self.w.sizes[b], 0
        for begin, end, reach, taps in strips:
            if rows is not None and done < reach:
                along_h(matrix, rows[:, done:reach], at_points[:, done:reach])
                done = reach
            whole, part = (each[b][:, : (end - begin) * n * outer] for each in self.sums)
            sums, part = whole[:points], part[:points]
            for number, tap in enumerate(taps):
                if tap is None:
                    sums[...] = 0
                    continue
                k, source, target = tap
                given = at_points[:, source].reshape(points, -1, inner)
                place = slice(target.start * n * outer, target.stop * n * outer)
                out = part[:, place] if number else sums
                np.matmul(given, factors[:, k], out=out.reshape(points, -1, outer))
                if number:
                    sums[:, place] += out  # flat rows: NumPy adds them three times as fast as those of columns
            yield begin, end, whole.reshape(points + 1, end - begin, -1)

    def backward(self, dy: Array) -> Array | None:
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C), None where nothing needs it."""
        b = self.w.block
        self.bias_gradient(dy)
        rows = dy.reshape(*dy.shape[:2], -1)
        z = self.z[b][:, : rows[0].size].reshape(self.points, *rows.shape[1:])
        dx, x = self.dx[b].reshape(*self.shape[1:], -1), self.x[b]
        v = self.v[b][:, : x[0].size].reshape(self.points, *x.shape[1:])
        covered = 0
        for i, (band, inputs, data, output) in enumerate(self.tiles):
            output_t = output[:, : self.points].T
            is_done = not self.has_dx or len(self.sorted) > 1
            if is_done:
                along_h(output_t, rows[band], z)
            if self.has_dx:
                self.add_dx(dx, covered, inputs, data.T, output_t, None if is_done else rows[band], z)
                covered = max(covered, inputs.stop)
            self.to_points(data, x[inputs], v)
            self.add_tiles_gradient(v, z, is_first=b == i == 0)
        if not self.has_dx:
            return None
        dx[covered:] = 0
        return self.dx[b]

    def add_dx(
        self, dx: Array, covered: int, inputs: slice, data_t: Array, output_t: Array, given: Array | None, z: Array
    ) -> None:
        """What a row of tiles sends back: its first rows are added to those that have something (covered) already."""
        b = self.w.block
        dx[covered : inputs.start] = 0
        first = min(max(covered, inputs.start), inputs.stop)
        for (columns, _), strips in zip(self.sorted, self.strips_back[b], strict=True):
            for begin, end, sums in self.over_taps(output_t, given, z, self.factors_back, strips):
                sums, target = sums[: self.points], dx[inputs, columns][:, begin:end]
                overlap = first - inputs.start
                along_h(data_t[overlap:], sums, target[overlap:])
                if overlap:
                    added = self.shared_rows[b][: overlap * sums[0].size].reshape(overlap, *sums.shape[1:])
                    along_h(data_t[:overlap], sums, added)
                    target[:overlap] += added

    def add_tiles_gradient(self, v: Array, z: Array, is_first: bool) -> None:
        """One row of tiles: for each tap a product of what met there, and back from the points to the weights."""
        points = self.points
        if is_first:
            self.grad[...] = 0
        for k, source, target in self.all_taps:
            met = v[:, source].reshape(points, -1, self.channels).swapaxes(1, 2)
            np.matmul(
                met, z[:, target].reshape(points, -1, self.filters), out=self.du.reshape(points, -1, self.filters)
            )
            product(self.tw_t, self.du, self.grad_part)
            self.grad[:, k] += self.grad_part
