"""Maximum pooling; it may add the bias of the convolution before it, and end in a relu."""

from __future__ import annotations

import math

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Sides, Spatial
from netdsl.stages.can import Can
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.layout import folded, long_rows, plane, unfolded
from netdsl.stages.relu import relu, stop_negative
from netdsl.stages.rows import place_sums, repeated
from netdsl.stages.stage import Stage, Worker
from netdsl.stages.windows import meetings


class MaxPool(Stage):
    """Maximum pooling of x (H, W, n, C), then + bias, then relu: both keep the order, so they may wait for it.

    Every dy goes to the first maximum of its window, whose place there, counted from 1, is all that training keeps: a
    byte for each number of y. shape (C, H, W) of x.
    """

    can = Can(
        end_in_relu=True,
        wait_for_relu=True,
        add_bias=True,
        leave_out_dx=True,
        has_own_output=True,
        has_own_gradient=True,
        forgets_input=True,
    )

    def __init__(
        self,
        w: Worker,
        shape: Shape,
        kernel_size: Spatial,
        stride: Spatial,
        padding: Sides = ((0, 0), (0, 0)),
        dilation: Spatial = (1, 1),
        conv: ConvStage | None = None,
        relu: bool = False,
        dx: bool = True,
    ) -> None:
        self.start(w)
        self.conv, self.relu, c, self.size = conv, relu, shape[0], shape[1:]
        axes = list(zip(kernel_size, stride, dilation, padding, self.size, strict=True))
        self.out_size = tuple((size + sum(sides) - d * (k - 1) - 1) // s + 1 for k, s, d, sides, size in axes)
        met = [
            meetings(out, k, s, d, -before, size)
            for out, (k, s, d, (before, _), size) in zip(self.out_size, axes, strict=True)
        ]
        every = [[axis[i] for axis, i in zip(met, tap, strict=True)] for tap in np.ndindex(*map(len, met))]
        taps = [tuple(zip(*tap, strict=True))[1:] for tap in every]
        self.taps = list(enumerate(taps, 1))  # in reading order: the outputs that have a number there, those numbers
        self.y = w.outputs(lambda n: (*plane(self.out_size), n, c))
        if w.training:
            kind = np.dtype(np.uint8 if len(taps) < 256 else np.uint32)
            self.winner = w.arrays(lambda n: (*self.out_size, n, c), kind)
            self.place = w.scratch("place", lambda n: (math.prod(self.out_size) * n * c,), kind)
            self.part = w.scratch("pool", lambda n: (math.prod(self.out_size) * n * c,))
            self.dx = w.gradients(lambda n: (*plane(self.size), n, c))
            self.mask = w.scratch("mask", lambda n: (n * c * math.prod(self.out_size),), np.bool_)

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, C)."""
        x, y = unfolded(x, self.size), self.y[self.w.block]
        y[...] = -np.inf
        out = unfolded(y, self.out_size)
        if self.w.training:
            self.winner[self.w.block][...] = 0
        for number, (outputs, numbers) in self.taps:
            given, best = x[numbers], out[outputs]
            if self.w.training:
                self.note(number, outputs, given, best)
            np.maximum(given, best, out=best)
        if self.conv is not None:
            rows = long_rows(y)
            rows += repeated(self.conv.bias, rows.shape[-1])
        return relu(y, y) if self.relu else y

    def note(self, number: int, outputs: tuple[slice, ...], given: Array, best: Array) -> None:
        """Where what is given at a tap is larger than the best until now, its number wins."""
        winner = self.winner[self.w.block][outputs]
        is_better = np.greater(given, best, out=self.mask[self.w.block][: best.size].reshape(best.shape))
        place = self.place[self.w.block][: best.size].reshape(best.shape)
        np.multiply(is_better.view(np.uint8), winner.dtype.type(number), out=place)
        np.maximum(winner, place, out=winner)

    def backward(self, dy: Array) -> Array:
        """dy (Ho, Wo, n, C) -> dx (H, W, n, C)."""
        b = self.w.block
        if self.relu:
            stop_negative(dy, self.y[b], self.mask[b])
        if self.conv is not None:
            self.add_gradient(self.conv.name + ".bias", place_sums(dy))
        dx, dy = unfolded(self.dx[b], self.size), unfolded(dy, self.out_size)
        dx[...] = 0
        for number, (outputs, numbers) in self.taps:
            given = dy[outputs]
            mask, part = (array[b][: given.size].reshape(given.shape) for array in (self.mask, self.part))
            np.equal(self.winner[b][outputs], number, out=mask)
            dx[numbers] += np.multiply(given, mask, out=part)
        return folded(dx)
