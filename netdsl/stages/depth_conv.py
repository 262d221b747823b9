"""Convolutions whose filters see one channel each (depthwise)."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.convolution import ConvGeometry, Epilogue
from netdsl.stages.layout import long_rows
from netdsl.stages.stage import Worker
from netdsl.stages.windows import Windows, windows_backward, windows_forward


class DepthConv(ConvStage):
    """A depthwise convolution: filter c * m + j sees channel c only, m = filters / channels.

    y[i, j] = sum over u, v of weight[u, v] * x[i*s + u*d - p, j*s + v*d - p], for rows of n * F numbers at once. The
    gradient by x is of the same form for each place within a stride, and so is that of the weights, with dy in the
    place of the weights. Nothing is padded: outputs at the border have fewer taps.
    """

    can = ConvStage.can.but(add_map=False)

    def __init__(
        self,
        w: Worker,
        name: str,
        geometry: ConvGeometry,
        epilogue: Epilogue = Epilogue(),
        dx: bool = True,
    ) -> None:
        self.prepare(w, name, geometry, epilogue, dx)
        shape, filters, kernel_size = self.shape, self.filters, self.kernel_size
        given = (shape[1:], self.out_size, kernel_size, self.stride, self.padding, self.dilation)
        self.times = filters // shape[0]
        self.windows = windows_forward(*given)
        length = max(Windows.longest // filters, *w.sizes) * filters
        self.rows = w.scratch((name, "rows"), lambda n: (*kernel_size, length))[0]
        self.y = w.outputs(lambda n: (*self.out_size, n, filters))
        self.x = w.of_blocks()
        if self.times > 1:
            self.wide = w.scratch("wide", lambda n: (*shape[1:], n, filters))
        if w.training:
            self.part = w.scratch("dweight", lambda n: (length,))[0]
            self.back = windows_backward(*given)
            self.dx = w.gradients(lambda n: (*shape[1:], n, shape[0])) if dx else []

    def refresh(self) -> None:
        """Lays the weights side by side for as many samples and pixels as there are in a row."""
        super().refresh()
        self.rows.reshape(*self.kernel_size, -1, self.filters)[...] = self.weight

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, F)."""
        b = self.w.block
        self.x[b], y = x, self.y[b]
        self.windows.combine(self.wide_rows(x), self.rows, long_rows(y))
        return self.with_bias(y)

    def wide_rows(self, x: Array) -> Array:
        """x (H, W, n, C) -> (H, W, n*F), every channel as often as there are filters that see it."""
        if self.times == 1:
            return long_rows(x)
        wide = self.wide[self.w.block]
        wide.reshape(*x.shape, self.times)[...] = x[..., None]
        return long_rows(wide)

    def backward(self, dy: Array) -> Array | None:
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C), None where nothing needs it."""
        b = self.w.block
        self.bias_gradient(dy)
        grad = self.w.grads[self.name + ".weight"].reshape(*self.kernel_size, self.filters)
        if b == 0:
            grad[...] = 0
        for u, v, sums in self.windows.products(self.wide_rows(self.x[b]), long_rows(dy), self.part):
            grad[u, v] += sums.reshape(-1, self.filters).sum(axis=0)
        if not self.has_dx:
            return None
        dx = self.dx[b]
        target = dx if self.times == 1 else self.wide[b]
        for windows in self.back:
            windows.combine(long_rows(dy), self.rows, long_rows(target))
        return dx if self.times == 1 else np.sum(target.reshape(*dx.shape, self.times), axis=4, out=dx)
