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

    can = ConvStage.can.but(forgets_input=True)

    def __init__(
        self,
        w: Worker,
        name: str,
        geometry: ConvGeometry,
        epilogue: Epilogue = Epilogue(),
        dx: bool = True,
    ) -> None:
        self.prepare(w, name, geometry, epilogue, dx)
        c, filters, (ho, wo), (kh, kw) = self.channels, self.filters, self.out_size, self.kernel_size
        shape, (height, width), (top, _), (left, _) = self.shape, geometry.padded_size, *self.padding
        self.rows_of_window = kh * kw * c
        inside = slice(top, top + shape[1]), slice(None), slice(left, left + shape[2])  # of (H, C, W, n) with zeros
        padded = w.frame(lambda n: (height, c, width, n), ("rows", self.padding, shape))
        self.columns = w.arrays(lambda n: (height, kw, c, wo, n))
        self.inside, self.seen = [one[inside] for one in padded], [self.columns_of(one) for one in padded]
        self.windows = [self.windows_of(columns) for columns in self.columns]
        self.y = w.outputs(lambda n: (ho, wo, n, filters))
        if w.training:
            self.grad_rows = w.grads[name + ".weight"].reshape(-1, filters)
            self.band = min(ho, max(8, (1 << 15) // (self.rows_of_window * filters)))
            self.parts = w.scratch("dweight", lambda n: (self.band, self.rows_of_window, filters))[0]
            if dx:
                self.dcolumns = w.scratch("dcolumns", lambda n: (height, kw, c, wo, n))
                self.dwindows = w.scratch("dwindows", lambda n: (ho, kh, kw, c, wo, n))
                self.dpadded = w.scratch("dpadded", lambda n: (height, c, width, n))
                self.dinside = [one[inside] for one in self.dpadded]
                self.dx = w.gradients(lambda n: (*shape[1:], n, c))

    def forward(self, x: Array, plus: Array | None = None) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, F)."""
        b, y = self.w.block, self.y[self.w.block]
        self.inside[b][...] = x.transpose(0, 3, 1, 2)
        self.columns[b][...] = self.seen[b]
        weight = self.weight.reshape(-1, self.filters)
        self.w.multiply(self.windows[b].swapaxes(1, 2), weight, y.reshape(len(y), -1, self.filters))
        self.complete(y, plus)
        return y

    def columns_of(self, padded: Array) -> Array:
        """What the columns of a window see of (H, C, W, n), a view (H, Kw, C, Wo, n)."""
        seen = np.lib.stride_tricks.sliding_window_view(padded, self.kernel_size[1], 2, writeable=True)
        if self.stride[1] > 1:
            seen = seen[:, :, :: self.stride[1]]
        return seen.transpose(0, 4, 1, 2, 3)

    def windows_of(self, columns: Array) -> Array:
        """What each row of y sees, a view (Ho, Kh*Kw*C, Wo*n)."""
        row, _, one, _, item = columns.strides
        if self.stride[0] > 1:
            row *= self.stride[0]
        shape = (self.out_size[0], self.rows_of_window, columns.shape[3] * columns.shape[4])
        return np.lib.stride_tricks.as_strided(columns, shape, (row, one, item))

    def backward(self, dy: Array) -> Array | None:
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C) if anything needs it."""
        b = self.w.block
        self.bias_gradient(dy)
        rows, windows = dy.reshape(len(dy), -1, self.filters), self.windows[b]
        if b == 0:
            self.grad_rows[...] = 0
        for begin in range(0, len(dy), self.band):
            parts = self.parts[: len(dy) - begin]
            np.matmul(windows[begin : begin + self.band], rows[begin : begin + self.band], out=parts)
            self.grad_rows += parts.sum(axis=0)
        if not self.has_dx:
            return None
        dwindows, dcolumns, dpadded, dx = self.dwindows[b], self.dcolumns[b], self.dpadded[b], self.dx[b]
        out = dwindows.reshape(len(dy), self.rows_of_window, -1)
        np.matmul(self.weight.reshape(-1, self.filters), rows.swapaxes(1, 2), out=out)
        dcolumns[...], dpadded[...] = 0, 0
        s = self.stride[0]
        for u in range(self.kernel_size[0]):
            dcolumns[u : u + s * (len(dy) - 1) + 1 : s] += dwindows[:, u]
        seen = self.columns_of(dpadded)
        for v in range(self.kernel_size[1]):
            seen[:, v] += dcolumns[:, v]
        dx[...] = self.dinside[b].transpose(0, 2, 3, 1)
        return dx
