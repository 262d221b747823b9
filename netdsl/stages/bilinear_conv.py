"""Convolution with stride 1 by constant matrices, in tiles: Winograd's, or the Fourier transform's
(stages/bilinear.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.bilinear import from_points, from_points_over, to_points
from netdsl.stages.convolution import ConvGeometry, Epilogue
from netdsl.stages.stage import Worker
from netdsl.stages.transformed_conv import TransformedConv


class BilinearConv(TransformedConv):
    """A convolution with stride 1 by constant matrices, in tiles.

    algorithm: what makes the matrices, `winograd` or `fourier_tiles`. tile: outputs of a tile along each axis. Rows of
    tiles go through all three steps in bands, as many as stay in the cache. The backward pass brings x to the points
    again: to keep them takes 2.25 times the memory of x (3x3, tiles of 4), to make them 3 % of a step of ResNet-18.
    """

    can = TransformedConv.can.but(forgets_input=False)

    band_bytes = 1 << 20

    def __init__(
        self,
        w: Worker,
        name: str,
        geometry: ConvGeometry,
        algorithm: Callable[..., Any],
        tile: int,
        epilogue: Epilogue = Epilogue(),
        dx: bool = True,
        common: bool = False,
    ) -> None:
        self.prepare(w, name, geometry, epilogue, dx, common)
        shape, kernel_size = self.shape, self.kernel_size
        assert tile >= max(kernel_size) - 1, f"tiles of {tile} meet more than their neighbours"
        self.tile = tile
        self.tx, self.tw, self.ty = w.constants(algorithm, tile, kernel_size)
        c, f, points = self.channels, self.filters, self.tx.points
        rows, columns = self.grid = tuple(-(-o // tile) for o in self.out_size)
        self.bands = [self.bands_of(n, points * columns * n * (c + f) * w.dtype.itemsize) for n in w.sizes]
        at_work = {n: max(b.stop - b.start for b in bands) for n, bands in zip(w.sizes, self.bands, strict=True)}
        self.is_rowwise = self.tx.alone == self.tx.length

        wide = columns * max(self.tx.length * self.tx.width * c, self.ty.length * self.ty.width * f)
        self.middle = w.scratch("middle", lambda n: (at_work[n] * n * wide,))
        self.make_room_for_weights(points, rows * columns)
        size = tuple(g * tile for g in self.grid)
        self.y = w.outputs(lambda n: (*size, n, f))
        before = tuple(side for side, _ in self.padding)
        whole = tuple((g - 1) * tile + k for g, k in zip(self.grid, (self.tx.height, self.tx.width), strict=True))
        self.padded = w.frame(lambda n: (*whole, n, c), (*before, *shape[1:]))
        if w.training:
            self.x: list[Any] = [None] * len(w.sizes)
            self.kept = w.scratch("v", lambda n: (points, self.at_points(rows * n, c)), common=True)
            self.z = w.scratch("z", lambda n: (points, self.at_points(rows * n, f)), common=True)
            self.dv = w.scratch("m", lambda n: (points, self.at_points(at_work[n] * n, c)), common=True)
            self.dy = w.frame(lambda n: (*size, n, f), ("dy", *self.out_size)) if size != self.out_size else []
            self.dx = w.gradients(lambda n: (*whole, n, c))
            columns_of_row = whole[1] if self.is_rowwise else columns * self.tx.width
            self.dtiles = w.scratch("tiles", lambda n: (at_work[n] * self.tx.height * columns_of_row * n * c,))
        self.v = w.scratch("v", lambda n: (points, self.at_points(at_work[n] * n, c)), common=True)
        self.m = w.scratch("m", lambda n: (points, self.at_points(at_work[n] * n, f)), common=True)

    def at_points(self, count: int, channels: int) -> int:
        """How many numbers of so many rows of tiles lie at a point; rows are no multiple of 4096 bytes apart."""
        return count * self.grid[1] * channels + 32

    def bands_of(self, n: int, bytes_of_row: int) -> list[slice]:
        """The bands of rows of tiles of n samples: so many that each stays in the cache and is a large product."""
        rows, columns = self.grid
        count = min(rows, max(1, round(rows * bytes_of_row / self.band_bytes), 1))
        count = min(count, max(1, rows * columns * n // 64))
        return [slice(i * rows // count, (i + 1) * rows // count) for i in range(count)]

    def forward(self, x: Array, plus: Any = None) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, F)."""
        b, n = self.w.block, x.shape[2]
        c, f, middle, y = self.channels, self.filters, self.middle[b], self.y[b]
        self.pad(x)
        if self.w.training:
            self.x[b] = x
        for band in self.bands[b]:
            count = (band.stop - band.start) * self.grid[1]
            v, m = self.v[b][:, : count * n * c], self.m[b][:, : count * n * f]
            to_points(self.tx, self.tiles_of(self.padded[b], band), middle, v.reshape(-1, count, n * c))
            self.w.multiply(v.reshape(-1, count * n, c), self.factors, m.reshape(-1, count * n, f))
            from_points(self.ty, m.reshape(-1, count, n * f), middle, self.out_tiles(y, band))
            rows = slice(band.start * self.tile, min(band.stop * self.tile, self.out_size[0]))
            self.complete(y[rows, : self.out_size[1]], plus[rows] if self.adds_map else None)
        return y[: self.out_size[0], : self.out_size[1]]

    def pad(self, x: Array) -> None:
        """Put zeros around x (H, W, n, C)."""
        (top, _), (left, _) = self.padding
        self.padded[self.w.block][top : top + x.shape[0], left : left + x.shape[1]] = x

    def tiles_of(self, x: Array, band: slice) -> Array:
        """The tiles that rows of x (H, W, n, C), padded, fall into, as `to_points` takes them."""
        row, column, _, one = x.strides
        q = x.shape[2] * x.shape[3]
        start = x[band.start * self.tile :]
        shape: Shape = (band.stop - band.start, self.tx.height, x.shape[1] * q)
        strides: Shape = (row * self.tile, row, one)
        if not self.is_rowwise:
            shape = (band.stop - band.start, self.grid[1], self.tx.height, self.tx.width * q)
            strides = (row * self.tile, column * self.tile, row, one)
        return np.lib.stride_tricks.as_strided(start, shape, strides)

    def out_tiles(self, y: Array, band: slice) -> Array:
        """y (I*h, J*w, n, F) -> a view of the tiles in a band of rows, (I, J, h, w*n*F)."""
        part = y[band.start * self.tile : band.stop * self.tile]
        return part.reshape(-1, self.tile, self.grid[1], self.tile * y.shape[2] * y.shape[3]).transpose(0, 2, 1, 3)

    def backward(self, dy: Array) -> Array | None:
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C) if anything needs it."""
        b, n = self.w.block, dy.shape[2]
        c, f, middle, points = self.channels, self.filters, self.middle[b], self.tx.points
        u = self.factors.swapaxes(1, 2)
        self.bias_gradient(dy)
        if self.dy:
            self.dy[b][: dy.shape[0], : dy.shape[1]] = dy
            dy = self.dy[b]
        self.pad(self.x[b])
        for band in self.bands[b]:
            count = (band.stop - band.start) * self.grid[1]
            first = band.start * self.grid[1]
            v = self.kept[b][:, first * n * c : (first + count) * n * c]
            to_points(self.tx, self.tiles_of(self.padded[b], band), middle, v.reshape(points, count, n * c))
            z = self.z[b][:, first * n * f : (first + count) * n * f]
            to_points(self.ty, self.out_tiles(dy, band), middle, z.reshape(points, count, n * f))
            if self.has_dx:
                dv = self.dv[b][:, : count * n * c]
                self.w.multiply(z.reshape(points, count * n, f), u, dv.reshape(points, count * n, c))
                self.add_dx(dv.reshape(points, count, n * c), band)
        v, z = self.kept[b][:, :-32].reshape(points, -1, c), self.z[b][:, :-32].reshape(points, -1, f)
        if self.common:
            self.w.in_turns(range(0, c, self.channels_at_once), self.channels_gradient, v, z)
        else:
            self.w.each(range(0, c, self.channels_at_once), self.channels_gradient, b == 0, v, z)
        if not self.has_dx:
            return None
        (top, _), (left, _) = self.padding
        return self.dx[b][top : top + self.shape[1], left : left + self.shape[2]]

    def add_dx(self, dv: Array, band: slice) -> None:
        """What a band of tiles sends back to x; its first rows overlap with the last ones of the band before."""
        b, tile, s = self.w.block, self.tile, self.tx
        dx, middle, q = self.dx[b], self.middle[b], dv.shape[2]
        rows, columns = band.stop - band.start, self.grid[1]
        if self.is_rowwise:
            tiles: Array = self.dtiles[b][: rows * s.height * dx.shape[1] * q].reshape(rows, s.height, -1)
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

    def joined(self, tiles: Array, middle: Array, q: int) -> Array:
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
