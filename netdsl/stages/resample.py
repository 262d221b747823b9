"""Maps of another size: each number repeated, or mixed along each axis of space by a constant matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Counts, Shape, Spatial
from netdsl.stages.can import Can
from netdsl.stages.layout import inside, plane
from netdsl.stages.stage import Stage, Worker


class Repeat(Stage):
    """Each number of a map as often as `factor` says along each axis of space."""

    can = Can(has_own_output=True, has_own_gradient=True)

    def __init__(self, w: Worker, shape: Shape, factor: Spatial) -> None:
        self.start(w)
        axes = list(zip(shape[1:], factor, strict=True))
        self.size = (*(number for axis in axes for number in axis), -1)  # (H, fh, W, fw, n*C)
        self.single = (*(number for size in shape[1:] for number in (size, 1)), -1)
        self.repeated = tuple(range(1, 2 * len(axes), 2))
        self.y = w.outputs(lambda n: (*plane(tuple(size * f for size, f in axes)), n, shape[0]))
        if w.training:
            self.dx = w.gradients(lambda n: inside(shape, n))

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y (H*fh, W*fw, n, C)."""
        y = self.y[self.w.block]
        y.reshape(self.size)[...] = x.reshape(self.single)
        return y

    def backward(self, dy: Array) -> Array:
        """dy (H*fh, W*fw, n, C) -> dx (H, W, n, C), the sum of what became of each number."""
        dx = self.dx[self.w.block]
        np.sum(dy.reshape(self.size), axis=self.repeated, keepdims=True, out=dx.reshape(self.single))
        return dx


class Resample(Stage):
    """y = rows x columns^T for each map, by the matrices make(*arguments, dtype) of each axis of space; an axis that is
    and stays 1 long has none."""

    can = Can(has_own_output=True, has_own_gradient=True)

    def __init__(
        self, w: Worker, shape: Shape, out_size: Shape, make: Callable[..., Array], arguments: Sequence[tuple[Any, ...]]
    ) -> None:
        self.start(w)
        sizes = list(zip(shape[1:], out_size, strict=True))
        axes = [axis for axis, ends in enumerate(sizes) if ends != (1, 1)] or [0]
        self.matrices = [w.constants(make, *arguments[axis]) for axis in axes]
        self.before, between = [], [shape[1:]]
        for axis in axes:
            now = between[-1]
            self.before.append(math.prod(now[:axis]))
            between.append((*now[:axis], out_size[axis], *now[axis + 1 :]))
        self.between = [self.scratch(i, (*size, shape[0])) for i, size in enumerate(between[1:-1])]
        self.y = w.outputs(lambda n: (*plane(out_size), n, shape[0]))
        if w.training:
            self.dx = w.gradients(lambda n: inside(shape, n))

    def scratch(self, number: int, shape: Shape) -> list[Array]:
        """Flat arrays for what lies between two axes, n times the shape."""
        return self.w.scratch(("middle", number), lambda n: (n * math.prod(shape),))

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, C), one axis after the other."""
        b = self.w.block
        arrays = [x, *(array[b] for array in self.between), self.y[b]]
        for matrix, before, given, made in zip(self.matrices, self.before, arrays, arrays[1:], strict=False):
            given, made = given.reshape(before, matrix.shape[1], -1), made.reshape(before, len(matrix), -1)
            np.matmul(matrix, given, out=made)
        return self.y[b]

    def backward(self, dy: Array) -> Array:
        """dy (Ho, Wo, n, C) -> dx (H, W, n, C), dx = rows^T dy columns for each map."""
        b = self.w.block
        arrays = [self.dx[b], *(array[b] for array in self.between), dy]
        steps = list(zip(self.matrices, self.before, arrays, arrays[1:], strict=False))
        for matrix, before, made, given in reversed(steps):
            given, made = given.reshape(before, len(matrix), -1), made.reshape(before, matrix.shape[1], -1)
            np.matmul(matrix.T, given, out=made)
        return self.dx[b]


def averages(
    divisors: Callable[..., Counts],
    size: int,
    kernel_size: int,
    stride: int,
    sides: tuple[int, int],
    nopad: bool,
    ceil: bool,
    dtype: Any,
) -> Array:
    """The matrix (out, size) of average pooling along one axis; of how many numbers a mean is, `divisors` says."""
    counts = divisors(size, kernel_size, stride, sides, nopad, ceil)
    first = np.arange(len(counts)) * stride - sides[0]
    places = np.arange(size)[None, :] - first[:, None]
    return (((places >= 0) & (places < kernel_size)) / np.asarray(counts)[:, None]).astype(dtype)
