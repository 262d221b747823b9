"""Activations as stages: what happens to each number by itself needs no layout, only pieces that stay in the cache."""

import numpy as np

from netdsl.stages.stage import Stage


class Pointwise(Stage):
    """y = function(x + bias) for each number, by a textbook kernel, some rows of the map at a time.

    forward(x, *arguments) -> (y, saved), backward(dy, saved) -> (dx, {}). conv: the stage whose bias is added here, if
    any. At inference in place unless it `copies`.
    """

    own_output = True

    piece = 16384  # numbers that are worked on at a time; a kernel makes several arrays of that size

    def __init__(self, w, shape, forward, backward, *arguments, conv=None, copies=False):
        self.start(w)
        self.kernels, self.arguments, self.conv = (forward, backward), arguments, conv
        self.in_place = not copies and not w.training
        if not self.in_place:
            self.y = w.outputs(lambda n: inside(shape, n))
        self.saved = [None] * len(w.sizes)

    def forward(self, x):
        y = x if self.in_place else self.y[self.w.block]
        bias = None if self.conv is None or self.conv.bias is None else np.resize(self.conv.bias, x.shape[-2:])
        saved = self.saved[self.w.block] = []
        for rows in self.pieces(x):
            part = x[rows]
            if bias is not None:
                part += bias
            y[rows], kept = self.kernels[0](part, *self.arguments)
            if self.w.training:
                saved.append(kept)
        return y

    def pieces(self, x):
        """Slices of the first axis."""
        step = max(1, self.piece * len(x) // x.size)
        return [slice(begin, begin + step) for begin in range(0, len(x), step)]

    def backward(self, dy):
        """dy -> dx, in its place."""
        for rows, saved in zip(self.pieces(dy), self.saved[self.w.block], strict=True):
            dy[rows] = self.kernels[1](dy[rows], saved)[0]
        return self.with_bias_gradient(dy)

    def with_bias_gradient(self, dy):
        if self.conv is not None and self.conv.bias is not None:
            self.add_gradient(
                self.conv.name + ".bias", dy.reshape(len(dy), -1).sum(axis=0).reshape(-1, dy.shape[-1]).sum(axis=0)
            )
        return dy


class Clip(Pointwise):
    """y = x + bias, between `low` and `high`, by one pass; dx is dy where y lies between."""

    piece = 65536

    def __init__(self, w, shape, low, high, conv=None, copies=False):
        super().__init__(w, shape, None, None, low, high, conv=conv, copies=copies)
        self.mask = w.masks((2, *shape))

    def forward(self, x):
        y = x if self.in_place else self.y[self.w.block]
        if self.conv is None or self.conv.bias is None:
            return np.clip(x, *self.arguments, out=y)
        bias = np.resize(self.conv.bias, x.shape[-2:])
        for rows in self.pieces(x):
            np.add(x[rows], bias, out=y[rows])
            np.clip(y[rows], *self.arguments, out=y[rows])
        return y

    def backward(self, dy):
        low, high = self.arguments
        y = self.y[self.w.block]
        for rows in self.pieces(dy):
            part = dy[rows]
            above, below = self.mask[self.w.block][: 2 * part.size].reshape(2, *part.shape)
            np.greater(y[rows], low, out=above)
            np.less(y[rows], high, out=below)
            above &= below
            np.multiply(part, above, out=part)
        return self.with_bias_gradient(dy)


class Prelu(Stage):
    """y = max(x, 0) + weight * min(x, 0), one weight in all or one for each channel."""

    own_output = True

    def __init__(self, w, name, shape):
        self.start(w)
        self.name, self.weight = name, w.params[name + ".weight"]
        self.y = w.outputs(lambda n: inside(shape, n))
        self.part = w.scratch("part", lambda n: (n * int(np.prod(shape)),))
        self.x = [None] * len(w.sizes)

    def forward(self, x):
        self.x[self.w.block], y = x, self.y[self.w.block]
        np.minimum(x, 0, out=y)
        y *= self.weight
        y += np.maximum(x, 0, out=self.part[self.w.block][: x.size].reshape(x.shape))
        return y

    def backward(self, dy):
        x = self.x[self.w.block]
        part = np.minimum(x, 0, out=self.part[self.w.block][: x.size].reshape(x.shape))
        part *= dy
        channels = part.reshape(-1, len(self.weight)).sum(axis=0) if len(self.weight) > 1 else part.sum()
        self.add_gradient(self.name + ".weight", channels)
        np.multiply(dy, self.weight, out=part)
        np.copyto(dy, part, where=x <= 0)
        return dy


def inside(shape, n):
    """How n samples of a shape lie in memory: maps as (H, W, n, C)."""
    return (*shape[1:], n, shape[0]) if len(shape) == 3 else (n, *shape)
