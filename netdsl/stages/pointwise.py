"""Activations as stages: what happens to each number by itself needs no layout, only pieces that stay in the cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Grads, Saved, Shape
from netdsl.stages.can import Can
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.layout import inside
from netdsl.stages.rows import place_sums, repeated
from netdsl.stages.stage import Stage, Worker


class Pointwise(Stage):
    """y = function(x + bias) for each number, by a textbook kernel, some rows of the map at a time.

    forward(x, *arguments) -> (y, saved), backward(dy, saved) -> (dx, {}). conv: the stage whose bias is added here, if
    any. At inference in place unless it `copies`.
    """

    kernels: Any
    can = Can(add_bias=True, work_in_place=True, has_own_output=True)

    trains_in_place = False
    piece = 16384  # numbers that are worked on at a time; a kernel makes several arrays of that size

    def __init__(
        self,
        w: Worker,
        shape: Shape,
        forward: Callable[..., tuple[Array, Saved]] | None,
        backward: Callable[[Array, Saved], tuple[Array, Grads]] | None,
        *arguments: Any,
        conv: ConvStage | None = None,
        copies: bool = False,
    ) -> None:
        self.start(w)
        self.kernels, self.arguments, self.conv = (forward, backward), arguments, conv
        self.in_place = self.trains_in_place if w.training else not copies
        if not self.in_place:
            self.y = w.outputs(lambda n: inside(shape, n))
        self.saved: list[Any] = [None] * len(w.sizes)

    def forward(self, x: Array) -> Array:
        """x (..., C) -> y (..., C)."""
        self.saved[self.w.block] = []
        x = np.ascontiguousarray(x)  # a copy where x is a part of a larger map
        y = x if self.in_place else self.y[self.w.block]
        self.w.each(self.rows_of_workers(x), self.forward_rows, x, y)
        return y

    def forward_rows(self, share: slice, x: Array, y: Array) -> None:
        """Some of the rows of x (..., C) to those of y, piece by piece."""
        x_rows, y_rows = (array.reshape(-1, array.shape[-1]) for array in (x, y))
        pieces, bias = self.pieces(x_rows[share], share.start), None
        if self.conv is not None:
            bias = repeated(self.conv.bias, x_rows[pieces[0]].size).reshape(x_rows[pieces[0]].shape)
        for rows in pieces:
            part = x_rows[rows]
            if bias is not None:
                part += bias[: len(part)]
            self.compute(part, y_rows[rows], rows)

    def rows_of_workers(self, x: Array) -> list[slice]:
        """The rows of x (..., C) in parts that workers share. What a kernel gives to keep is kept where it is made."""
        shares = type(self).compute is not Pointwise.compute or not self.w.training
        return self.w.cut(x.size // x.shape[-1], 300 * x.shape[-1] if shares else 0)

    def compute(self, x: Array, y: Array, rows: slice) -> None:
        """x (rows, C) -> y, so as well; it may be x."""
        y[...], kept = self.kernels[0](x, *self.arguments)
        if self.w.training:
            self.saved[self.w.block].append(kept)

    def pieces(self, x: Array, begin: int = 0) -> list[slice]:
        """Slices of the first axis, of which that is the first row."""
        step, end = max(1, self.piece * len(x) // x.size), begin + len(x)
        return [slice(i, min(i + step, end)) for i in range(begin, end, step)]

    def backward(self, dy: Array) -> Array:
        """dy (..., C) -> dx (..., C), in its place."""
        dy_rows = dy.reshape(-1, dy.shape[-1])
        for rows, saved in zip(self.pieces(dy_rows), self.saved[self.w.block], strict=True):
            dy_rows[rows] = self.kernels[1](dy_rows[rows], saved)[0]
        return self.with_bias_gradient(dy_rows.reshape(dy.shape))

    def with_bias_gradient(self, dy: Array) -> Array:
        """dy (..., C), of which the bias of the convolution before gets the sum."""
        if self.conv is not None:
            self.add_gradient(self.conv.name + ".bias", place_sums(dy))
        return dy
