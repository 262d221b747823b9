"""Any convolution, by patches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Sides, Spatial
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.stage import Worker


class PatchConv(ConvStage):
    """Any convolution as one matrix product over patches (im2col), a band of output rows at a time, so that the
    patches stay in the cache. The backward pass makes the patches again: that is quicker than reading them back."""

    can = ConvStage.can

    band_bytes = 1 << 18

    def __init__(
        self,
        w: Worker,
        name: str,
        shape: Shape,
        filters: int,
        kernel_size: Spatial,
        stride: Spatial = (1, 1),
        padding: Sides = ((0, 0), (0, 0)),
        dilation: Spatial = (1, 1),
        adds_bias: bool = True,
        dx: bool = True,
        norm: tuple[str, float] | None = None,
        relu: bool = False,
    ) -> None:
        self.prepare(w, name, shape, filters, kernel_size, stride, padding, dilation, adds_bias, dx, norm, relu)
        ho, wo = self.out_size
        c, k = shape[0], kernel_size[0] * kernel_size[1] * shape[0]
        self.rows_of_patch = k
        self.bands = [max(1, self.band_bytes // (wo * n * k * w.dtype.itemsize)) for n in w.sizes]
        rows = dict(zip(w.sizes, self.bands, strict=True))
        self.patches = w.scratch("patches", lambda n: (min(rows[n], ho), wo, n, *kernel_size, c))
        self.y = w.outputs(lambda n: (ho, wo, n, filters))
        self.pads = padding != ((0, 0), (0, 0))
        height, width = (size + sum(sides) for size, sides in zip(shape[1:], padding, strict=True))
        self.x = w.of_blocks()
        if self.pads:
            self.padded = w.frame(lambda n: (height, width, n, c), (padding[0][0], padding[1][0], *shape[1:]))
        if w.training:
            self.grad_rows = w.grads[name + ".weight"].reshape(k, filters)
            self.grad_part = w.scratch("dweight", lambda n: (k, filters))[0]
            if dx:
                self.dx = w.gradients(lambda n: (height, width, n, c))

    def forward(self, x: Array, plus: Array | None = None) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, F); at inference another map of that shape may be added."""
        b = self.w.block
        self.x[b] = x
        y = self.y[b]
        weight = self.weight.reshape(-1, self.filters)
        for begin, patches in self.bands_of(x):
            out = y[begin : begin + len(patches)]
            np.matmul(patches.reshape(-1, self.rows_of_patch), weight, out=out.reshape(-1, self.filters))
        return self.with_bias(y, plus)

    def bands_of(self, x: Array) -> Iterator[tuple[int, Array]]:
        """x (H, W, n, C) -> for some output rows at a time: the first of them, and their patches (rows, Wo, n, Kh, Kw,
        C)."""
        b = self.w.block
        if self.pads:
            (top, _), (left, _) = self.padding
            self.padded[b][top : top + x.shape[0], left : left + x.shape[1]] = x
            x = self.padded[b]
        ho, wo = self.out_size
        (sh, sw), (dh, dw) = self.stride, self.dilation
        row, column, sample, channel = x.strides
        shape = (ho, wo, x.shape[2], *self.kernel_size, self.channels)
        strides = (row * sh, column * sw, sample, row * dh, column * dw, channel)
        view = np.lib.stride_tricks.as_strided(x, shape, strides)
        for begin in range(0, ho, self.bands[b]):
            part = view[begin : begin + self.bands[b]]
            patches = self.patches[b][: len(part)]
            patches[...] = part
            yield begin, patches

    def backward(self, dy: Array) -> Array | None:
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C), None where nothing needs it."""
        b = self.w.block
        self.bias_gradient(dy)
        self.has_gradient = False
        for begin, patches in self.bands_of(self.x[b]):
            rows = dy[begin : begin + len(patches)].reshape(-1, self.filters)
            self.add_weight_gradient(patches.reshape(-1, self.rows_of_patch), rows)
        if not self.has_dx:
            return None
        dx = self.dx[b]
        dx[...] = 0
        weight = self.weight.reshape(-1, self.filters)
        (sh, sw), (dh, dw) = self.stride, self.dilation
        wo = self.out_size[1]
        for begin in range(0, len(dy), self.bands[b]):
            part = dy[begin : begin + self.bands[b]]
            dpatches = self.patches[b][: len(part)]
            np.matmul(part.reshape(-1, self.filters), weight.T, out=dpatches.reshape(-1, self.rows_of_patch))
            for u in range(self.kernel_size[0]):
                first = begin * sh + u * dh
                for v in range(self.kernel_size[1]):
                    target = dx[first : first + sh * len(part) : sh, v * dw : v * dw + sw * wo : sw]
                    target += dpatches[:, :, :, u, v]
        (top, _), (left, _) = self.padding
        return dx[top : top + self.shape[1], left : left + self.shape[2]]
