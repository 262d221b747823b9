"""What all convolutions share as stages. Weights are stored as (Kh, Kw, C, F), those of signals as (K, C, F), those of
volumes as (Kd, Kh, Kw, C, F)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Param, Shape, Sides, Spatial
from netdsl.stages.can import Can
from netdsl.stages.convolution import ConvGeometry, Epilogue
from netdsl.stages.ending import stop_outside
from netdsl.stages.relu import relu, stop_negative
from netdsl.stages.rows import bands, moments_by_channel, repeated, sums_by_channel, wide_rows
from netdsl.stages.stage import Stage, Worker, take


class ConvStage(Stage):
    """A convolution of x (H, W, n, C) to y (Ho, Wo, n, F)."""

    can = Can(
        end_in_relu=True,
        end_in_clip=True,
        give_sums=True,
        take_norm=True,
        leave_bias=True,
        add_map=True,
        leave_out_dx=True,
        is_conv=True,
        is_named=True,
        has_own_output=True,
        has_own_gradient=True,
    )

    shape: Shape
    kernel_size: Spatial
    stride: Spatial
    padding: Sides
    dilation: Spatial
    out_size: Shape
    y: list[Array]
    bias: Param
    common: bool
    own_grad: Array
    grad_rows: Array
    grad_part: Array
    has_gradient: bool
    behind: Any
    room: Array | None = None  # where weights lie that a batch norm is in, if not in new memory

    def prepare(
        self,
        w: Worker,
        name: str,
        g: ConvGeometry,
        epilogue: Epilogue,
        dx: bool,
        common: bool = False,
    ) -> None:
        self.start(w)
        self.common = common and not w.splits and w.num_workers > 1
        self.name, self.shape, self.channels, self.filters = name, g.shape, g.shape[0], g.filters
        self.has_dx = dx  # whether anything needs the gradient by x
        self.kernel_size, self.stride, self.padding, self.dilation = g.kernel_size, g.stride, g.padding, g.dilation
        self.out_size, self.norm, self.has_norm, self.behind = g.out_size, epilogue.norm, epilogue.sums, None
        self.weight = w.params[name + ".weight"].reshape(*g.kernel_size, -1, g.filters)  # of a signal, too: K is Kx1
        self.bias = w.params.get(name + ".bias")
        if self.norm is not None:
            self.stored, self.scale, self.bias = self.weight, np.ones(g.filters, w.dtype), np.zeros(g.filters, w.dtype)
        self.adds_bias = epilogue.bias and self.bias is not None
        self.adds_map, self.ends_in_relu, self.bounds = epilogue.plus, epilogue.relu, epilogue.clip
        self.ends = self.ends_in_relu or self.bounds is not None
        self.has_epilogue = self.adds_bias or self.ends or self.adds_map or self.has_norm
        if self.ends and w.training:
            self.mask = w.scratch("mask", lambda n: (n * g.filters * math.prod(self.out_size),), np.bool_)
        if self.adds_bias and w.training:
            self.bias_sums = w.tallies((g.filters,))
        if self.has_norm:
            self.totals = w.tallies((2, g.filters))

    def fold(self) -> None:
        """Makes, at inference, the scale and the bias that the batch norm behind this layer leaves to it."""
        if self.norm is None:
            return
        name, eps = self.norm
        params = self.w.params
        mean, var = params[name + ".running_mean"], params[name + ".running_var"]
        np.divide(1, np.sqrt(var + eps), out=self.scale)
        if name + ".weight" in params:
            self.scale *= params[name + ".weight"]
        own = params.get(self.name + ".bias")
        np.multiply(self.scale, -mean if own is None else own - mean, out=self.bias)
        if name + ".bias" in params:
            self.bias += params[name + ".bias"]

    def refresh(self) -> None:
        """Makes the weights that this worker computes with."""
        self.fold()
        if self.norm is not None:
            self.weight = np.multiply(self.stored, self.scale, out=self.room)

    def share_weight(self) -> None:
        """Weights that a batch norm is in lie in memory that training has for other things."""
        if self.norm is not None:
            self.room = self.weight = self.w.arrays(lambda n: self.stored.shape)[0]

    def complete(self, y: Array, plus: Any = None, has_bias: bool = False) -> None:
        """To y (rows, Wo, n, F) come the bias, if it has none yet, another map, and what stands at the end; then its
        sums are taken."""
        if not self.has_epilogue:
            return
        rows = wide_rows(y)
        bias = repeated(self.bias, rows.shape[2]) if self.adds_bias and not has_bias else None
        for band in bands(y, 1 << 16):
            if bias is not None:
                rows[band] += bias
            if self.adds_map:
                y[band] += plus[band]
            if self.bounds is not None:
                np.clip(rows[band], *self.bounds, out=rows[band])
            if self.ends_in_relu:
                relu(rows[band], rows[band])
            if self.has_norm:
                self.totals[self.w.block][self.w.row] += moments_by_channel(y[band], y[band])

    def work_for(self, norm: Any) -> None:
        """The batch norm behind, which takes the sums, leaves to this stage to make dy."""
        self.behind = norm

    def take_sums(self) -> Array:
        """The sums of y and of y * y of this block, (2, F); they begin at 0 again."""
        return take(self.totals[self.w.block])

    def bias_gradient(self, dy: Array) -> None:
        """dy (Ho, Wo, n, F) becomes the gradient by the sums over windows, and the bias gets its own."""
        if (self.has_norm and self.behind is not None) or self.ends or self.adds_bias:
            self.w.each(self.w.cut(len(dy), 60 * dy[0].size), self.gradient_of_rows, dy)
        self.add_bias_gradient()

    def gradient_of_rows(self, rows: slice, dy: Array) -> None:
        """Rows of dy (Ho, Wo, n, F), band by band."""
        for band in bands(dy, within=rows):
            self.gradient_of_sums(dy, band)

    def gradient_of_sums(self, dy: Array, band: slice) -> None:
        """Rows of dy (Ho, Wo, n, F) become the gradient by the sums over windows: by what the batch norm behind was
        given, then in front of what stands at the end."""
        rows, b = dy[band], self.w.block
        if self.has_norm and self.behind is not None:
            self.behind.give_rows(band, dy, self.behind.rows_back)
        if self.bounds is not None:
            stop_outside(rows, self.y[b][: len(dy), : dy.shape[1]][band], self.mask[b], *self.bounds)
        elif self.ends_in_relu:
            stop_negative(rows, self.y[b][: len(dy), : dy.shape[1]][band], self.mask[b])
        if self.adds_bias:
            self.bias_sums[b][self.w.row] += sums_by_channel(rows)

    def add_bias_gradient(self) -> None:
        """The bias gets its gradient, the sums that `gradient_of_sums` took."""
        if self.adds_bias:
            self.add_gradient(self.name + ".bias", take(self.bias_sums[self.w.block]))

    def scratch_for_gradient(self) -> Array:
        """Where this worker makes the gradient of the weights by a block, if that is common to all workers."""
        self.own_grad = self.w.scratch("own gradient", lambda n: self.weight.shape)[0]
        return self.own_grad

    def hand_in(self) -> None:
        """The gradient that this worker has made becomes part of the common one."""
        size = self.weight.size
        self.w.in_turns(self.w.equal_parts(size), self.hand_in_part, self.w.grads[self.name + ".weight"].reshape(size))

    def hand_in_part(self, part: slice, is_first: bool, grad: Array) -> None:
        """Some numbers of it, to those of grad."""
        own = self.own_grad.reshape(-1)[part]
        grad[part] = own if is_first else grad[part] + own

    def add_weight_gradient(self, rows: Array, dy: Array) -> None:
        """rows (M, K), dy (M, F) -> the gradient of the weights (K, F) of this block, added to that of those before."""
        grad = self.grad_rows
        if self.has_gradient:
            grad += self.w.multiply(rows.T, dy, self.grad_part)
        else:
            self.w.multiply(rows.T, dy, grad)
        self.has_gradient = True


def read_by(conv: ConvStage, norm: Any) -> Any:
    """A batch norm, or None, that convolution `conv` alone reads -> the same, which leaves to `conv` what it does to
    its output: `fill` on the way there, `take_gradient` on the way back. None where workers share what each does."""
    if norm is None or conv.w.splits or not conv.w.training:
        return None
    norm.leave_to(conv)
    return norm


def asked_by(conv: ConvStage, front: Any) -> Any:
    """A convolution, or None, that `conv` alone reads at inference -> the same, which makes rows when it is asked."""
    return None if conv.w.training else front
