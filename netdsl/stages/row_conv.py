"""Convolutions of few channels, by rows."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.convolution import ConvGeometry, Epilogue
from netdsl.stages.stage import Worker


class RowConv(ConvStage):
    """A convolution of few channels. Windows overlap along W only: for every row of x the numbers that each column of
    a window sees lie together, (H, Kw, C, Wo*n), so that what a row of y sees is a block of Kh such rows, and the
    rows of the matrix product need no further copies."""

    can = ConvStage.can

    def __init__(
        self,
        w: Worker,
        name: str,
        geometry: ConvGeometry,
        epilogue: Epilogue = Epilogue(),
        dx: bool = True,
    ) -> None:
        self.prepare(w, name, geometry, epilogue, dx)
        shape, filters, (kh, kw) = self.shape, self.filters, self.kernel_size
        c, (ho, wo) = self.channels, self.out_size
        self.size = height, width = geometry.padded_size
        self.rows_of_window = kh * kw * c
        self.padded = w.frame(lambda n: (height, c, width, n), ("rows", self.padding, shape))
        self.columns = w.arrays(lambda n: (height, kw, c, wo * n))
        self.y = w.outputs(lambda n: (ho, wo, n, filters))
        if w.training:
            self.grad_rows = w.grads[name + ".weight"].reshape(-1, filters)
            self.band = min(ho, 8)
            self.parts = w.scratch("dweight", lambda n: (self.band, self.rows_of_window, filters))[0]
            if dx:
                self.dcolumns = w.scratch("dcolumns", lambda n: (height, kw, c, wo * n))
                self.dwindows = w.scratch("dwindows", lambda n: (ho, self.rows_of_window, wo * n))
                self.dpadded = w.scratch("dpadded", lambda n: (height, c, width, n))
                self.dx = w.gradients(lambda n: (*shape[1:], n, c))

    def forward(self, x: Array, plus: Array | None = None) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, F); at inference another map of that shape may be added."""
        b, n = self.w.block, x.shape[2]
        (top, _), (left, _) = self.padding
        padded = self.padded[b]
        padded[top : top + x.shape[0], :, left : left + x.shape[1]] = x.transpose(0, 3, 1, 2)
        columns = self.columns[b].reshape(*self.columns[b].shape[:3], -1, n)
        for v, place in enumerate(self.places(padded)):
            columns[:, v] = place
        y = self.y[b]
        weight = self.weight.reshape(-1, self.filters)
        np.matmul(self.windows(b).swapaxes(1, 2), weight, out=y.reshape(len(y), -1, self.filters))
        return self.with_bias(y, plus)

    def places(self, padded: Array) -> list[Array]:
        """For each column of the window: what it sees of (H, C, W, n), as (H, C, Wo, n)."""
        s, wo = self.stride[1], self.out_size[1]
        return [padded[:, :, v : v + s * (wo - 1) + 1 : s] for v in range(self.kernel_size[1])]

    def windows(self, b: int) -> Array:
        """What each row of y sees, a view (Ho, Kh*Kw*C, Wo*n)."""
        columns = self.columns[b]
        row, _, one, item = columns.strides
        shape = (self.out_size[0], self.rows_of_window, columns.shape[3])
        return np.lib.stride_tricks.as_strided(columns, shape, (row * self.stride[0], one, item))

    def backward(self, dy: Array) -> Array | None:
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C), None where nothing needs it."""
        b, n = self.w.block, dy.shape[2]
        self.bias_gradient(dy)
        rows, windows = dy.reshape(len(dy), -1, self.filters), self.windows(b)
        for begin in range(0, len(dy), self.band):
            parts = self.parts[: len(dy) - begin]
            np.matmul(windows[begin : begin + self.band], rows[begin : begin + self.band], out=parts)
            if begin == 0 and b == 0:
                np.sum(parts, axis=0, out=self.grad_rows)
            else:
                self.grad_rows += parts.sum(axis=0)
        if not self.has_dx:
            return None
        dwindows, dcolumns, dpadded, dx = self.dwindows[b], self.dcolumns[b], self.dpadded[b], self.dx[b]
        np.matmul(self.weight.reshape(-1, self.filters), rows.swapaxes(1, 2), out=dwindows)
        dwindows = dwindows.reshape(len(dy), self.kernel_size[0], *dcolumns.shape[1:])
        dcolumns[...], dpadded[...] = 0, 0
        s = self.stride[0]
        for u in range(self.kernel_size[0]):
            dcolumns[u : u + s * (len(dy) - 1) + 1 : s] += dwindows[:, u]
        dcolumns = dcolumns.reshape(*dcolumns.shape[:3], -1, n)
        for v, place in enumerate(self.places(dpadded)):
            place += dcolumns[:, v]
        (top, _), (left, _) = self.padding
        dx[...] = dpadded[top : top + self.shape[1], :, left : left + self.shape[2]].transpose(0, 2, 3, 1)
        return dx
