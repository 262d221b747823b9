"""Batch normalisation: in training by the whole batch, at inference by what the training left."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.can import Can
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.ending import Bounds, end, stop
from netdsl.stages.layout import inside
from netdsl.stages.rows import bands, channel_sums, wide_rows
from netdsl.stages.stage import Stage, Worker


class FrozenNorm(Stage):
    """A batch norm at inference is y = scale * x + shift, by the statistics of the training; may end in a relu or
    between two bounds."""

    can = Can(end_in_relu=True, end_in_clip=True, is_named=True, has_own_output=True)

    def __init__(
        self, w: Worker, name: str, shape: Shape, eps: float = 1e-5, relu: bool = False, clip: Bounds | None = None
    ) -> None:
        self.start(w)
        self.name, self.eps, self.ending = name, eps, (relu, clip)
        self.weight, self.bias = w.params.get(name + ".weight"), w.params.get(name + ".bias")
        self.mean, self.var = (w.network.stored_buffers[f"{name}.running_{what}"] for what in ("mean", "var"))
        self.y = w.outputs(lambda n: inside(shape, n))

    def refresh(self) -> None:
        """Makes the factor and the summand of each channel."""
        self.scale = 1 / np.sqrt(self.var + self.eps)
        if self.weight is not None:
            self.scale *= self.weight
        self.shift = -self.mean * self.scale
        if self.bias is not None:
            self.shift += self.bias

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) or (n, C) -> y of that shape."""
        y = self.y[self.w.block]
        scaled(x, self.scale, self.shift, y, self.ending)
        return y


class BatchNorm(Stage):
    """Normalises the whole batch over all workers (Ioffe & Szegedy 2015), in training only; may end in a relu or
    between two bounds.

    x is a map or a vector. Both passes need sums over the whole batch: they are generators that wait for them. sums:
    the convolution which took those of x while it made it. Where the mean is large it is taken out before anything is
    summed: the digits that count would not outlive a sum with it.
    """

    can = Can(
        frozen=FrozenNorm,
        end_in_relu=True,
        end_in_clip=True,
        take_sums=True,
        is_named=True,
        waits=True,
        has_own_output=True,
    )

    def __init__(
        self,
        w: Worker,
        name: str,
        shape: Shape,
        eps: float = 1e-5,
        momentum: float = 0.1,
        sums: ConvStage | None = None,
        relu: bool = False,
        clip: Bounds | None = None,
    ) -> None:
        self.start(w)
        self.name, self.eps, self.momentum, self.conv, self.ending = name, eps, momentum, sums, (relu, clip)
        self.channels = shape[0]
        self.moments = w.shared((name, "moments"), (w.network.num_workers, 3, shape[0]), np.float64)
        self.sums = w.shared((name, "sums"), (w.network.num_workers, 2, shape[0]), np.float64)
        self.weight, self.bias = w.params.get(name + ".weight"), w.params.get(name + ".bias")
        buffers = w.network.stored_buffers
        self.running_mean, self.running_var = buffers[name + ".running_mean"], buffers[name + ".running_var"]
        self.x = w.of_blocks()
        self.guess = w.of_blocks()
        self.y = w.arrays(lambda n: inside(shape, n))
        self.part = w.scratch("band", lambda n: (max(65536, n * int(np.prod(shape[2:])) * shape[0]),))
        self.mask = w.masks(shape)
        self.count = w.n * int(np.prod(shape[1:]))

    def power_sums(self, x: Array) -> Array:
        """x (..., C) -> the sums of x and of x * x, (2, C)."""
        sums = np.zeros((2, self.channels))
        for band in bands(x):
            sums += channel_sums(x[band]), channel_sums(x[band], x[band])
        return sums

    def measure(self, x: Array, y: Array) -> Array:
        """x (..., C) of a block -> how many numbers there are, their mean, their squares around it (3, C); keeps the
        guess (C,) that it took them around.

        The guess is 0. But where the square of the mean is over ten times the variance, which would then be what is
        left of two large sums, the guess is the mean, and y is x - guess.
        """
        n, guess = x.size // self.channels, np.zeros(self.channels)
        total, squares = self.power_sums(x) if self.conv is None else self.conv.take_sums()
        if (total * total / n > 10 * (squares - total * total / n)).any():
            guess += (total / n).astype(x.dtype)
            total, squares = self.power_sums(self.less(x, guess, y))
        self.guess[self.w.block] = guess
        return np.stack([np.full_like(total, n), guess + total / n, np.maximum(squares - total * total / n, 0)])

    def less(self, x: Array, guess: Array, out: Array) -> Array:
        """x - guess, written to `out`; x itself where the guess is 0."""
        if not guess.any():
            return x
        np.subtract(x, guess.astype(x.dtype), out=out)
        return out

    def forward(self, x: Array) -> Generator[None, None, Array]:
        """A generator: x (H, W, n, C) or (n, C) -> y of that shape."""
        b = self.w.block
        if self.count == 1:
            raise ValueError("batch norm needs more than one value for each channel in training: use a larger batch")
        self.x[b], y, so_far = x, self.y[b], self.moments[self.w.index]
        moments = self.measure(x, y)
        so_far[...] = moments if b == 0 else joined(np.stack([so_far, moments]))
        yield
        _, self.mean, squares = joined(self.moments[: self.w.num_workers])
        var, guess = squares / self.count, self.guess[b]
        self.inv_std = 1 / np.sqrt(var + self.eps)
        if self.w.index == 0 and b == 0:
            self.running_mean += self.momentum * (self.mean - self.running_mean)
            self.running_var += self.momentum * (var * (self.count / (self.count - 1)) - self.running_var)
        self.factor = self.inv_std if self.weight is None else self.weight * self.inv_std
        shift = (0 if self.bias is None else self.bias) - (self.mean - guess) * self.factor
        scaled(y if guess.any() else x, self.factor, shift, y, self.ending)
        return y

    def backward(self, dy: Array) -> Generator[None, None, Array]:
        """A generator: dy (H, W, n, C) or (n, C) -> dx, in its place.

        dx = inv_std * (g - mean(g) - x_hat * mean(g * x_hat)), g = dy * weight, means over the whole batch.
        """
        b = self.w.block
        dbias, products = self.gradient_sums(dy)
        so_far = self.sums[self.w.index]
        so_far[...] = (0 if b == 0 else so_far) + np.stack([dbias, products])
        if self.weight is not None:
            self.add_gradient(self.name + ".bias", dbias)
            self.add_gradient(self.name + ".weight", products)
        yield
        dbias, products = self.sums[: self.w.num_workers].sum(axis=0)
        slope = -self.factor * self.inv_std * products / self.count
        shift = -self.factor * dbias / self.count - slope * self.mean
        x, rows = wide_rows(self.x[b]), wide_rows(dy)
        factor, slope, shift = (np.resize(a.astype(dy.dtype), rows.shape[-1]) for a in (self.factor, slope, shift))
        for band in bands(dy):
            row = rows[band]
            part = np.multiply(x[band], slope, out=self.part[b][: row.size].reshape(row.shape))
            part += shift
            row *= factor
            row += part
        return dy

    def gradient_sums(self, dy: Array) -> tuple[Array, Array]:
        """dy (..., C), which becomes the gradient in front of what stands at the end -> the sums of it, and of it times
        x_hat, (C,) each."""
        b = self.w.block
        x, y, guess = self.x[b], self.y[b], self.guess[b]
        dbias, products = np.zeros((2, self.channels))
        for band in bands(dy):
            stop(dy[band], y[band], self.mask[b], *self.ending)
            part = self.less(x[band], guess, self.part[b][: x[band].size].reshape(x[band].shape))
            dbias += channel_sums(dy[band])
            products += channel_sums(dy[band], part)
        return dbias, (products - (self.mean - guess) * dbias) * self.inv_std


def scaled(x: Array, scale: Array, shift: Array, y: Array, ending: tuple[bool, Bounds | None]) -> None:
    """y = scale * x + shift for each channel, x and y (..., C), and what stands at the end, band by band."""
    given, rows = wide_rows(x), wide_rows(y)
    scale, shift = (np.resize(a.astype(y.dtype), rows.shape[-1]) for a in (scale, shift))
    for band in bands(y):
        part = np.multiply(given[band], scale, out=rows[band])
        part += shift
        end(part, *ending)


def joined(moments: Array) -> Array:
    """Moments of K parts (K, 3, C) -> of all of them (3, C): how many numbers there are, their mean, and their squares
    around it, summed (Chan et al. 1979)."""
    n, mean, squares = moments.transpose(1, 0, 2)
    total = n.sum(axis=0)
    middle = (n * mean).sum(axis=0) / total
    return np.stack([total, middle, (squares + n * (mean - middle) ** 2).sum(axis=0)])
