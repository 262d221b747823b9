"""Convolutions of signals by Winograd's algorithm, all tiles at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.convolution import ConvGeometry, Epilogue
from netdsl.stages.matrices import product
from netdsl.stages.stage import Worker
from netdsl.stages.winograd_rows import strided_toom_cook


class SignalConv(ConvStage):
    """A convolution of a signal, an image one number wide, by F(tile, K): y = output @ ((data @ x) * (weight @ w)).

    `*` is a product over the channels at each point, of all tiles of a band. Each tile is a few rows of n * C numbers,
    which overlap with those of the next: a view. With a dilation d every d-th row is a signal of its own, and d rows
    beside each other count as one of d * n * C numbers: so it costs nothing. A stride is a sum of convolutions
    (stages/winograd_rows.py), and goes without a dilation.
    """

    can = ConvStage.can.but(is_local=False)

    band_bytes = 1 << 19  # measured: of 18 to 21 the quickest at inference, by a tenth; in training all are alike

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
        c, f, d, length = self.channels, self.filters, self.dilation[0], self.shape[1]
        self.data, self.tw, self.output = w.constants(strided_toom_cook, tile, self.kernel_size[0], self.stride[0])
        self.tw_t = np.ascontiguousarray(self.tw.T)
        self.points, self.reach = points, reach = self.data.shape
        self.tile, self.step, self.first = tile, tile * self.stride[0], self.padding[0][0]
        self.tiles = tiles = -(-self.out_size[0] // (tile * d))
        self.parts = -(-reach // self.step)  # of a tile, each as long as a step
        rows = max((tiles - 1 + self.parts) * self.step * d, self.first + length)
        self.seen = min(length, rows - self.first)
        self.bands = [self.bands_of(points * d * n * (c + f) * w.dtype.itemsize) for n in w.sizes]
        most = {n: max(b.stop - b.start for b in bands) * d for n, bands in zip(w.sizes, self.bands, strict=True)}
        self.padded = w.frame(lambda n: (rows, n, c), ("signal", self.first, length))
        self.u = w.shared(name, (points, c * f))
        self.y = w.outputs(lambda n: (tiles * tile * d, 1, n, f))
        # rows that are no multiple of 4096 bytes apart
        self.v = w.scratch("v", lambda n: (points, most[n] * n * c + 32))
        self.z = w.scratch("z", lambda n: (points, most[n] * n * f + 32))
        if w.training:
            self.make_room_for_gradients(most, rows)

    def make_room_for_gradients(self, most: dict[int, int], rows: int) -> None:
        """Arrays for the backward pass. most: rows of a band by the number of samples; rows: of x with its padding."""
        w, c, f, whole = self.w, self.channels, self.filters, self.tiles * self.tile * self.dilation[0]
        self.x: list[Any] = [None] * len(w.sizes)
        self.dy = w.frame(lambda n: (whole, n, f), ("dy", self.out_size)) if whole != self.out_size[0] else []
        self.du = w.scratch("du", lambda n: (2, self.points, c, f))[0]
        if self.has_dx:
            self.dtiles = w.scratch("tiles", lambda n: (most[n] * self.data.shape[1] * n * c,))
            self.dx = w.gradients(lambda n: (rows, 1, n, c))

    def bands_of(self, bytes_of_tile: int) -> list[slice]:
        """Bands of tiles: so many that each stays in the cache."""
        count = min(self.tiles, max(1, round(self.tiles * bytes_of_tile / self.band_bytes)))
        return [slice(i * self.tiles // count, (i + 1) * self.tiles // count) for i in range(count)]

    def refresh(self) -> None:
        """Transform this worker's part of the weights."""
        self.fold()
        begin, end = self.w.part(self.u.shape[1])
        weight = self.weight.reshape(len(self.tw_t), -1)[:, begin:end]
        if self.norm is not None:
            weight = weight * np.resize(self.scale, self.u.shape[1])[begin:end]
        product(self.tw, weight, self.u[:, begin:end])

    def at_points(self, x: Array) -> Iterator[tuple[slice, Array]]:
        """x (L, 1, n, C) -> for each band its tiles, and what they are at the points (points, tiles, d*n*C)."""
        b = self.w.block
        padded, v = self.padded[b], self.v[b]
        padded[self.first : self.first + self.seen] = x[: self.seen, 0]
        q = self.dilation[0] * padded[0].size
        rows = padded[: len(padded) // self.dilation[0] * self.dilation[0]].reshape(-1, q)
        one = rows.itemsize
        shape, strides = (self.tiles, self.reach, q), (self.step * q * one, q * one, one)
        tiles = np.lib.stride_tricks.as_strided(rows, shape, strides)
        for band in self.bands[b]:
            count = band.stop - band.start
            points = v[:, : count * q].reshape(-1, count, q)
            np.matmul(self.data, tiles[band], out=points.swapaxes(0, 1))
            yield band, points

    def forward(self, x: Array, plus: Any = None) -> Array:
        """x (L, 1, n, C) -> y (Lo, 1, n, F); at inference another map of that shape may be added."""
        b, c, f = self.w.block, self.channels, self.filters
        if self.w.training:
            self.x[b] = x
        y, u = self.y[b], self.u.reshape(-1, c, f)
        tiles = y.reshape(self.tiles, self.tile, -1)
        step = self.tile * self.dilation[0]
        for band, v in self.at_points(x):
            sums = self.z[b][:, : v[0].size // c * f].reshape(len(v), -1, f)
            np.matmul(v.reshape(len(v), -1, c), u, out=sums)
            np.matmul(self.output, sums.reshape(*v.shape[:2], -1).swapaxes(0, 1), out=tiles[band])
            rows = slice(band.start * step, min(band.stop * step, self.out_size[0]))
            self.complete(y[rows], plus[rows] if self.adds_map else None)
        return y[: self.out_size[0]]

    def backward(self, dy: Array) -> Array | None:
        """dy (Lo, 1, n, F) -> dx (L, 1, n, C) if anything needs it."""
        b, c, f = self.w.block, self.channels, self.filters
        self.bias_gradient(dy)
        if self.dy:
            self.dy[b][: len(dy)] = dy[:, 0]
            dy = self.dy[b]
        dtiles = dy.reshape(self.tiles, self.tile, -1)
        total, part = self.du
        if self.has_dx:
            self.dx[b][...] = 0
        for band, v in self.at_points(self.x[b]):
            z = self.z[b][:, : v[0].size // c * f].reshape(*v.shape[:2], -1)
            np.matmul(self.output.T, dtiles[band], out=z.swapaxes(0, 1))
            met = v.reshape(len(v), -1, c).swapaxes(1, 2)
            np.matmul(met, z.reshape(len(v), -1, f), out=part if band.start else total)
            if band.start:
                total += part
            if self.has_dx:
                self.add_dx(band, z, v)
        grad = np.dot(self.tw_t, total.reshape(len(total), -1))
        self.add_gradient(self.name + ".weight", grad.reshape(self.w.grads[self.name + ".weight"].shape))
        return self.dx[b][self.first : self.first + self.shape[1]] if self.has_dx else None

    def add_dx(self, band: slice, z: Array, v: Array) -> None:
        """What a band of tiles, z at the points, sends back, part by part, since tiles overlap; v becomes scratch."""
        b, dx = self.w.block, self.dx[self.w.block]
        u = self.u.reshape(-1, self.channels, self.filters).swapaxes(1, 2)
        np.matmul(z.reshape(len(z), -1, self.filters), u, out=v.reshape(len(v), -1, self.channels))
        count, q = v.shape[1:]
        tiles = self.dtiles[b][: count * self.reach * q].reshape(count, self.reach, q)
        np.matmul(self.data.T, v.swapaxes(0, 1), out=tiles)
        rows = dx[: len(dx) // self.dilation[0] * self.dilation[0]].reshape(-1, q)
        for i in range(self.parts):
            sent = tiles[:, i * self.step : (i + 1) * self.step]
            begin = (band.start + i) * self.step
            rows[begin : begin + count * self.step].reshape(count, self.step, q)[:, : sent.shape[1]] += sent
