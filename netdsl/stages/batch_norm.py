"""Batch normalisation: in training by the whole batch, at inference by what the training left."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.can import Can
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.ending import Bounds, stop_outside
from netdsl.stages.layout import inside
from netdsl.stages.relu import relu, stop_negative
from netdsl.stages.rows import bands, moments_by_channel, sums_by_channel, wide_rows
from netdsl.stages.stage import Stage, Worker, take


class FrozenNorm(Stage):
    """A batch norm at inference is y = scale * x + shift, by the statistics of the training; may end in a relu or
    between two bounds."""

    can = Can(end_in_relu=True, end_in_clip=True, is_named=True, has_own_output=True)

    def __init__(
        self, w: Worker, name: str, shape: Shape, eps: float = 1e-5, relu: bool = False, clip: Bounds | None = None
    ) -> None:
        self.start(w)
        self.name, self.eps, self.ends_in_relu, self.bounds = name, eps, relu, clip
        self.weight, self.bias = w.params.get(name + ".weight"), w.params.get(name + ".bias")
        self.mean, self.var = (w.params[f"{name}.running_{what}"] for what in ("mean", "var"))
        self.y = w.outputs(lambda n: inside(shape, n))

    def refresh(self) -> None:
        """Makes the factor and the summand of each channel."""
        scale = 1 / np.sqrt(self.var + self.eps)
        if self.weight is not None:
            scale *= self.weight
        shift = -self.mean * scale
        if self.bias is not None:
            shift += self.bias
        self.numbers = np.stack([scale, shift])

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) or (n, C) -> y of that shape."""
        y = self.y[self.w.block]
        rows = rows_for(y, self.numbers, x)
        for band in bands(y):
            part = scale_rows(rows, band)
            if self.bounds is not None:
                np.clip(part, *self.bounds, out=part)
            if self.ends_in_relu:
                relu(part, part)
        return y


class BatchNorm(Stage):
    """Normalises the whole batch over all workers (Ioffe & Szegedy 2015), in training only; may add another map (plus),
    and end in a relu or between two bounds.

    x is a map or a vector. Both passes need sums over the whole batch: they are generators that wait for them, between
    two walks over the map each. sums: the convolution that makes x; it does the first walk while it makes x, and the
    last as it needs dx. `reader`, if there is one, does those over y and dy.
    """

    can = Can(
        frozen=FrozenNorm,
        end_in_relu=True,
        end_in_clip=True,
        take_sums=True,
        add_both_ways=True,
        is_named=True,
        waits=True,
        has_own_output=True,
        forgets_output=True,
    )

    band = 1 << 16  # numbers that stay in the cache while several passes go over them
    dx: list[Array]

    def __init__(
        self,
        w: Worker,
        name: str,
        shape: Shape,
        eps: float = 1e-5,
        momentum: float = 0.1,
        sums: ConvStage | None = None,
        plus: bool = False,
        relu: bool = False,
        clip: Bounds | None = None,
    ) -> None:
        self.start(w)
        self.name, self.eps, self.momentum, self.channels = name, eps, momentum, shape[0]
        self.conv, self.adds_map, self.ends_in_relu, self.bounds = sums, plus, relu, clip
        self.reader: ConvStage | None = None
        self.product: Any = None  # a PointConv in front that knows the sums of dy * x without reading x
        self.gives = sums is None or w.splits  # else the convolution in front does the last walk
        if sums is not None and not self.gives:
            sums.work_for(self)
        self.moments = w.shared((name, "moments"), (w.network.num_workers, 3, shape[0]), np.float64)
        self.sums = w.shared((name, "sums"), (w.network.num_workers, 2, shape[0]), np.float64)
        self.weight, self.bias = w.params.get(name + ".weight"), w.params.get(name + ".bias")
        self.running_mean, self.running_var = (w.params[f"{name}.running_{what}"] for what in ("mean", "var"))
        self.x: list[Any] = [None] * len(w.sizes)
        self.is_shifted, self.rows = self.x[:], self.x[:]
        self.taken = w.tallies((2, shape[0]))
        self.numbers, self.guesses = w.arrays(lambda n: (3, shape[0])), w.arrays(lambda n: (1, shape[0]))
        # Of the two the one that backward reads no more is handed on: y, or where it adds a map dx, which lies apart.
        if plus:
            self.y, self.dx = w.arrays(lambda n: inside(shape, n)), w.gradients(lambda n: inside(shape, n))
        else:
            self.y = w.gradients(lambda n: inside(shape, n))
        self.part = w.scratch("band", lambda n: (max(self.band, n * int(np.prod(shape[2:])) * shape[0]),))
        self.mask = w.scratch("mask", lambda n: (n * math.prod(shape),), np.bool_)
        self.count = w.n * int(np.prod(shape[1:]))

    def leave_to(self, reader: ConvStage) -> None:
        """The convolution that alone reads y calls `fill_rows` and `take_gradient`."""
        self.reader = reader

    def power_sums(self, x: Array) -> Array:
        """x (..., C) -> the sums of x and of x * x, (2, C)."""
        sums = np.zeros((2, self.channels))
        for band in bands(x, self.band):
            sums += moments_by_channel(x[band], x[band])
        return sums

    def measure(self, x: Array, y: Array, moments: Array) -> None:
        """x (..., C) of a block -> moments (3, C), how many numbers there are, their mean, and their squares around it;
        keeps the guess that it took them around. The guess is 0. But where the square of the mean is over ten times the
        variance, which would then be what is left of two large sums, the guess is the mean, and y is x - guess."""
        b, n = self.w.block, x.size // self.channels
        mean, squares = (self.power_sums(x) if self.conv is None else self.conv.take_sums()) / n
        self.is_shifted[b], self.guesses[b][...] = bool((11 * mean * mean > 10 * squares).any()), 0
        if self.is_shifted[b]:
            self.guesses[b][...] = mean
            mean, squares = self.power_sums(np.subtract(x, self.guesses[b], out=y)) / n
        squares -= mean * mean
        moments[0], moments[2] = n, n * np.maximum(squares, 0, out=squares)
        np.add(mean, self.guesses[b][0], out=moments[1])

    def forward(self, x: Array, plus: Any = None) -> Generator[None, None, Array]:
        """A generator: x (H, W, n, C) or (n, C), and another of that shape if it adds one -> y of that shape."""
        b = self.w.block
        if self.count == 1:
            raise ValueError("batch norm needs more than one value for each channel in training: use a larger batch")
        self.x[b], y, so_far = x, self.y[b], self.moments[self.w.index]
        moments = so_far if b == 0 else np.empty_like(so_far)
        self.measure(x, y, moments)
        if b:
            so_far[...] = joined(np.stack([so_far, moments]))
        yield
        _, self.mean, squares = joined(self.moments[: self.w.num_workers])
        var, numbers, given = squares / self.count, self.numbers[b], y if self.is_shifted[b] else x
        self.inv_std = 1 / np.sqrt(var + self.eps)
        if self.w.index == 0 and b == 0:
            self.running_mean += self.momentum * (self.mean - self.running_mean)
            self.running_var += self.momentum * (var * (self.count / (self.count - 1)) - self.running_var)
        self.factor = self.inv_std if self.weight is None else self.weight * self.inv_std
        numbers[0], self.taken[b][...] = self.factor, 0
        np.multiply(self.guesses[b][0] - self.mean, self.factor, out=numbers[1])
        if self.bias is not None:
            numbers[1] += self.bias
        if self.reader is None:
            self.w.each(self.parts_of(y), self.fill_part, given, numbers, plus)
        else:
            self.rows[b] = rows_for(y, numbers[:2], given)
        return y

    def parts_of(self, x: Array) -> list[slice]:
        """The rows of a map (H, W, n, C) that each worker has."""
        return self.w.cut(len(x), 80 * x[0].size) if x.ndim == 4 else [slice(None)]

    def fill_part(self, part: slice, x: Array, numbers: Array, plus: Any) -> None:
        """Rows of y: x times the first of the numbers, and the second, and another map."""
        rows = rows_for(self.y[self.w.block], numbers[:2], x)
        self.fill_rows(part, rows, plus)

    def fill_rows(self, rows: slice, given: tuple[Array, ...], plus: Any = None) -> None:
        """Rows of y, given what `rows_for` made of it, of x and of the numbers."""
        for band in bands(self.y[self.w.block], self.band, rows):
            part = scale_rows(given, band)
            if self.adds_map:
                part += plus[band].reshape(part.shape)
            if self.bounds is not None:
                np.clip(part, *self.bounds, out=part)
            if self.ends_in_relu:
                relu(part, part)

    def backward(self, dy: Array) -> Generator[None, None, Array | tuple[Array, Array]]:
        """A generator: dy (H, W, n, C) or (n, C) -> dx, in its place. If it adds another map, dx lies apart, and in the
        place of dy is the gradient by that map.

        dx = inv_std * (g - mean(g) - x_hat * mean(g * x_hat)), g = dy * weight, means over the whole batch.
        """
        b, numbers, so_far = self.w.block, self.numbers[self.w.block], self.sums[self.w.index]
        guess = self.guesses[b] if self.is_shifted[b] else None
        if self.reader is None:
            self.w.each(self.parts_of(dy), self.take_part, dy, self.x[b], guess)
        sums = take(self.taken[b])
        if self.product is not None and self.product.multiplies:
            sums[1] = self.product.take_products()
        sums[1] -= (self.mean - self.guesses[b][0]) * sums[0]
        sums[1] *= self.inv_std
        so_far[...] = sums if b == 0 else so_far + sums
        if self.weight is not None:
            self.add_gradient(self.name + ".bias", sums[0])
            self.add_gradient(self.name + ".weight", sums[1])
        yield
        dbias, products = np.add.reduce(self.sums[: self.w.num_workers])
        factor = self.factor / -self.count
        slope = factor * self.inv_std * products
        numbers[0], numbers[1], numbers[2] = self.factor, slope, factor * dbias - slope * self.mean
        dx = self.dx[b] if self.adds_map else dy
        if self.gives:
            self.w.each(self.parts_of(dy), self.give_part, dx, dy, self.x[b], numbers)
        else:
            self.rows_back = rows_for(dx, numbers, dy, self.x[b])
        return (dx, dy) if self.adds_map else dx

    def take_gradient(self, dy: Array, rows: slice) -> None:
        """Rows of dy (H, W, n, C) become the gradient in front of what stands at the end; sums it and its products with
        x."""
        b = self.w.block
        self.take_part(rows, dy, self.x[b], self.guesses[b] if self.is_shifted[b] else None)

    def take_part(self, rows: slice, dy: Array, x: Array, guess: Array | None) -> None:
        """As `take_gradient`, of x (H, W, n, C) less the guess (1, C), if there is one."""
        b = self.w.block
        y, sums = self.y[b], self.taken[b][self.w.row]
        multiplies = self.product is not None and self.product.multiplies
        for band in bands(dy, self.band, rows):
            if self.bounds is not None:
                stop_outside(dy[band], y[band], self.mask[b], *self.bounds)
            elif self.ends_in_relu:
                stop_negative(dy[band], y[band], self.mask[b])
            if multiplies:
                sums[0] += sums_by_channel(dy[band])
                if self.adds_map:
                    self.dx[b][band] = dy[band]  # which the convolution in front reads as it is
                continue
            part = x[band]
            if guess is not None:
                part = np.subtract(part, guess, out=self.part[b][: part.size].reshape(part.shape))
            sums += moments_by_channel(dy[band], part)
        if self.product is not None and multiplies:
            self.product.meet(dy, rows)

    def give_part(self, rows: slice, dx: Array, dy: Array, x: Array, numbers: Array) -> None:
        """Rows of dx (H, W, n, C), by what it multiplies dy and x with and adds."""
        self.give_rows(rows, dx, rows_for(dx, numbers, dy, x))

    def give_rows(self, rows: slice, dx: Array, given: tuple[Array, ...]) -> None:
        """Rows of dx (H, W, n, C), given what `rows_for` made of it, of dy, of x and of the numbers."""
        wide, dy, x, factor, slope, shift = given
        for band in bands(dx, self.band, rows):
            row = np.multiply(dy[band], factor, out=wide[band])
            part = np.multiply(x[band], slope, out=self.part[self.w.block][: row.size].reshape(row.shape))
            part += shift
            row += part


def rows_for(y: Array, numbers: Array, *xs: Array) -> tuple[Array, ...]:
    """The wide rows of y (..., C) and of each x of that shape, and each of the numbers (K, C) as long as those."""
    rows = wide_rows(y)
    wide = np.empty((len(numbers), rows.shape[-1] // numbers.shape[1], numbers.shape[1]), y.dtype)
    wide[...] = numbers[:, None]
    return rows, *(x.reshape(rows.shape) for x in xs), *wide.reshape(len(numbers), -1)


def scale_rows(rows: tuple[Array, ...], band: slice) -> Array:
    """y = factor * x + shift in a band of the rows of y, x, factor and shift -> that band of y."""
    y, x, factor, shift = rows
    part = np.multiply(x[band], factor, out=y[band])
    part += shift
    return part


def joined(moments: Array) -> Array:
    """Moments of K parts (K, 3, C) -> of all of them (3, C): how many numbers there are, their mean, and their squares
    around it, summed (Chan et al. 1979)."""
    if len(moments) == 1:
        return moments[0]
    n, mean, squares = moments.transpose(1, 0, 2)
    total = n.sum(axis=0)
    middle = (n * mean).sum(axis=0) / total
    return np.stack([total, middle, (squares + n * (mean - middle) ** 2).sum(axis=0)])
