"""Convolutions as stages: what all of them share, and those that are plain matrix products. See stages/bilinear.py for
the fast ones. Weights are stored as (Kh, Kw, C, F)."""

import numpy as np

from netdsl.stages.layout import long_rows
from netdsl.stages.relu import relu, stop_negative
from netdsl.stages.rows import bands, column_sums, row_sums
from netdsl.stages.stage import Stage


class ConvStage(Stage):
    """A convolution of x (H, W, n, C) to y (Ho, Wo, n, F).

    shape (C, H, W) of x; padding ((top, bottom), (left, right)). adds_bias: False where the next stage adds it.
    dx: whether anything needs the gradient by x. norm: (name, eps) of a batch norm that follows; at inference it is
    part of the weights and the bias. relu: ends in one. is_local: whether every number of y comes from its own window
    alone; fast algorithms mix those of a tile.
    """

    own_output = own_gradient = is_local = True

    def prepare(self, w, name, shape, filters, kernel_size, stride, padding, dilation, adds_bias, dx, norm, relu=False):
        self.start(w)
        self.name, self.shape, self.channels, self.filters = name, shape, shape[0], filters
        self.kernel_size, self.stride, self.padding, self.dilation = kernel_size, stride, padding, dilation
        self.adds_bias, self.has_dx, self.relu = adds_bias, dx, relu
        self.norm = None if w.training else norm
        self.out_size = tuple(
            (size + sum(sides) - d * (k - 1) - 1) // s + 1
            for size, sides, d, k, s in zip(shape[1:], padding, dilation, kernel_size, stride, strict=True)
        )
        if relu and w.training:
            self.mask = w.masks((filters, *self.out_size))
        self.weight = w.params[name + ".weight"]
        self.bias = w.params.get(name + ".bias")
        if self.norm is not None:
            self.scale, self.bias = np.ones(filters, w.dtype), np.zeros(filters, w.dtype)
        elif self.bias is None:
            self.adds_bias = False

    def fold(self):
        """At inference: the scale and the bias that the batch norm behind this layer leaves to it."""
        if self.norm is None:
            return
        name, eps = self.norm
        buffers, params = self.w.network.buffers, self.w.params
        mean, var = buffers[name + ".running_mean"], buffers[name + ".running_var"]
        np.divide(1, np.sqrt(var + eps), out=self.scale)
        if name + ".weight" in params:
            self.scale *= params[name + ".weight"]
        own = params.get(self.name + ".bias")
        np.multiply(self.scale, -mean if own is None else own - mean, out=self.bias)
        if name + ".bias" in params:
            self.bias += params[name + ".bias"]

    def refresh(self):
        """The weights that this worker computes with."""
        self.fold()
        if self.norm is not None:
            self.weight = self.w.params[self.name + ".weight"] * self.scale

    def with_bias(self, y, plus=None, has_bias=False):
        """Bias, if y has none yet, another map of that shape, and relu on y (rows, Wo, n, F), in place."""
        adds_bias = self.adds_bias and not has_bias
        if not adds_bias and not self.relu and plus is None:
            return y
        rows = long_rows(y)
        bias = np.resize(self.bias, rows.shape[2]) if adds_bias else None
        for band in bands(y):
            if bias is not None:
                rows[band] += bias
            if plus is not None:
                y[band] += plus[band]
            if self.relu:
                relu(y[band], y[band])
        return y

    def bias_gradient(self, dy):
        """The relu's gradient, in place, and that of the bias."""
        b = self.w.block
        sums = 0
        for band in bands(dy):
            if self.relu:
                stop_negative(dy[band], self.y[b][: len(dy), : dy.shape[1]][band], self.mask[b])
            if self.adds_bias:
                sums = sums + row_sums(dy[band])
        if self.adds_bias:
            self.add_gradient(self.name + ".bias", column_sums(sums, self.filters))

    def add_weight_gradient(self, rows, dy):
        """rows (M, K), dy (M, F) -> the gradient of the weights (K, F) of this block, added to that of those before."""
        grad = self.grad_rows
        if self.w.block == 0 and not self.has_gradient:
            np.matmul(rows.T, dy, out=grad)
        else:
            np.matmul(rows.T, dy, out=self.grad_part)
            grad += self.grad_part
        self.has_gradient = True


class PointConv(ConvStage):
    """A 1x1 convolution: one matrix product over the channels of every pixel."""

    def __init__(
        self,
        w,
        name,
        shape,
        filters,
        stride=(1, 1),
        padding=((0, 0), (0, 0)),
        adds_bias=True,
        dx=True,
        norm=None,
        relu=False,
    ):
        self.prepare(w, name, shape, filters, (1, 1), stride, padding, (1, 1), adds_bias, dx, norm, relu)
        ho, wo = self.out_size
        self.y = w.outputs(lambda n: (ho, wo, n, filters))
        self.x = [None] * len(w.sizes)
        self.picks = stride != (1, 1) or padding != ((0, 0), (0, 0))
        if self.picks:
            self.picked = w.zeros(lambda n: (ho, wo, n, shape[0]))
        if w.training:
            self.grad_rows = w.grads[name + ".weight"].reshape(shape[0], filters)
            self.grad_part = w.scratch("dweight", lambda n: (shape[0], filters))[0]
            if self.picks:
                self.dx = w.scratch("dx", lambda n: (ho, wo, n, shape[0]))
                self.dx_whole = w.gradients(lambda n: (*shape[1:], n, shape[0]))
            else:
                self.dx = w.gradients(lambda n: (ho, wo, n, shape[0]))

    def forward(self, x, plus=None):
        """x (H, W, n, C) -> y (Ho, Wo, n, F); at inference another map of that shape may be added."""
        b = self.w.block
        if self.picks:
            inside, outside = self.places()
            self.picked[b][outside] = x[inside]
            x = self.picked[b]
        self.x[b] = x
        y = self.y[b]
        np.matmul(x.reshape(-1, self.channels), self.weight.reshape(self.channels, -1), out=y.reshape(-1, self.filters))
        return self.with_bias(y, plus)

    def places(self):
        """Which pixels of x are read, and which of y have one: the others see padding."""
        inside, outside = [], []
        for size, (before, _), s, out in zip(self.shape[1:], self.padding, self.stride, self.out_size, strict=True):
            first = -(-before // s)
            last = min(out - 1, (size - 1 + before) // s)
            inside.append(slice(first * s - before, last * s - before + 1, s))
            outside.append(slice(first, last + 1))
        return tuple(inside), tuple(outside)

    def backward(self, dy):
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C), None where nothing needs it."""
        b = self.w.block
        self.bias_gradient(dy)
        self.has_gradient = False
        rows = dy.reshape(-1, self.filters)
        self.add_weight_gradient(self.x[b].reshape(-1, self.channels), rows)
        if not self.has_dx:
            return None
        dx = self.dx[b]
        weight = self.weight.reshape(self.channels, -1)
        np.matmul(rows, weight.T, out=dx.reshape(-1, self.channels))
        if not self.picks:
            return dx
        inside, outside = self.places()
        whole = self.dx_whole[b]
        whole[...] = 0
        whole[inside] = dx[outside]
        return whole


class PatchConv(ConvStage):
    """Any convolution as one matrix product over patches (im2col), a band of output rows at a time, so that the
    patches stay in the cache. The backward pass makes the patches again: that is quicker than reading them back."""

    band_bytes = 1 << 18

    def __init__(
        self,
        w,
        name,
        shape,
        filters,
        kernel_size,
        stride=(1, 1),
        padding=((0, 0), (0, 0)),
        dilation=(1, 1),
        adds_bias=True,
        dx=True,
        norm=None,
        relu=False,
    ):
        self.prepare(w, name, shape, filters, kernel_size, stride, padding, dilation, adds_bias, dx, norm, relu)
        ho, wo = self.out_size
        c, k = shape[0], kernel_size[0] * kernel_size[1] * shape[0]
        self.rows_of_patch = k
        self.bands = [max(1, self.band_bytes // (wo * n * k * w.dtype.itemsize)) for n in w.sizes]
        self.patches = [
            w.scratch("patches", lambda n, band=band: (min(band, ho), wo, n, *kernel_size, c))[i]
            for i, band in enumerate(self.bands)
        ]
        self.y = w.outputs(lambda n: (ho, wo, n, filters))
        self.pads = padding != ((0, 0), (0, 0))
        height, width = (size + sum(sides) for size, sides in zip(shape[1:], padding, strict=True))
        self.x = [None] * len(w.sizes)
        if self.pads:
            self.padded = w.frame(lambda n: (height, width, n, c), (padding[0][0], padding[1][0], *shape[1:]))
        if w.training:
            self.grad_rows = w.grads[name + ".weight"].reshape(k, filters)
            self.grad_part = w.scratch("dweight", lambda n: (k, filters))[0]
            if dx:
                self.dx = w.gradients(lambda n: (height, width, n, c))

    def forward(self, x, plus=None):
        """x (H, W, n, C) -> y (Ho, Wo, n, F); at inference another map of that shape may be added."""
        b = self.w.block
        self.x[b] = x
        y = self.y[b]
        weight = self.weight.reshape(-1, self.filters)
        for begin, patches in self.bands_of(x):
            out = y[begin : begin + len(patches)]
            np.matmul(patches.reshape(-1, self.rows_of_patch), weight, out=out.reshape(-1, self.filters))
        return self.with_bias(y, plus)

    def bands_of(self, x):
        """Of x (H, W, n, C) the patches of some output rows at a time: (first row, (rows, Wo, n, Kh, Kw, C))."""
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

    def backward(self, dy):
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


class RowConv(ConvStage):
    """A convolution of few channels. Windows overlap along W only: for every row of x the numbers that each column of
    a window sees lie together, (H, Kw, C, Wo*n), so that what a row of y sees is a block of Kh such rows, and the
    rows of the matrix product need no further copies."""

    def __init__(
        self,
        w,
        name,
        shape,
        filters,
        kernel_size,
        stride=(1, 1),
        padding=((0, 0), (0, 0)),
        adds_bias=True,
        dx=True,
        norm=None,
        relu=False,
    ):
        self.prepare(w, name, shape, filters, kernel_size, stride, padding, (1, 1), adds_bias, dx, norm, relu)
        c, (ho, wo), kw = shape[0], self.out_size, kernel_size[1]
        self.size = height, width = tuple(n + sum(sides) for n, sides in zip(shape[1:], padding, strict=True))
        self.rows_of_window = kernel_size[0] * kw * c
        self.padded = w.frame(lambda n: (height, c, width, n), ("rows", padding, shape))
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

    def forward(self, x, plus=None):
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

    def places(self, padded):
        """For each column of the window: what it sees of (H, C, W, n), as (H, C, Wo, n)."""
        s, wo = self.stride[1], self.out_size[1]
        return [padded[:, :, v : v + s * (wo - 1) + 1 : s] for v in range(self.kernel_size[1])]

    def windows(self, b):
        """What each row of y sees, a view (Ho, Kh*Kw*C, Wo*n)."""
        columns = self.columns[b]
        row, _, one, item = columns.strides
        shape = (self.out_size[0], self.rows_of_window, columns.shape[3])
        return np.lib.stride_tricks.as_strided(columns, shape, (row * self.stride[0], one, item))

    def backward(self, dy):
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
