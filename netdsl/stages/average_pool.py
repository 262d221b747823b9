"""Average pooling: a depthwise convolution by constants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from netdsl.kernels.arrays import Array, Counts, Shape, Sides, Spatial
from netdsl.stages.can import Can
from netdsl.stages.layout import long_rows
from netdsl.stages.stage import Stage, Worker
from netdsl.stages.windows import Windows, windows_backward, windows_forward


class AveragePool(Stage):
    """Takes the mean of every window. Of how many numbers along one axis that is, divisors(size, kernel_size, stride,
    padding, nopad, ceil) says."""

    can = Can(has_own_output=True, has_own_gradient=True, forgets_input=True)

    def __init__(
        self,
        w: Worker,
        shape: Shape,
        kernel_size: Spatial,
        stride: Spatial,
        padding: Sides,
        nopad: bool,
        ceil: bool,
        divisors: Callable[..., Counts],
    ) -> None:
        self.start(w)
        size, c = shape[1:], shape[0]
        axes = zip(size, kernel_size, stride, padding, strict=True)
        counts = [divisors(*axis, nopad, ceil) for axis in axes]
        out_size = tuple(map(len, counts))
        geometry = (size, out_size, kernel_size, stride, padding, (1, 1))
        self.windows, self.back = windows_forward(*geometry), windows_backward(*geometry)
        area = kernel_size[0] * kernel_size[1]
        factor = area / np.outer(counts[0], counts[1])[:, :, None, None]
        self.factor = None if (factor == 1).all() else factor.astype(w.dtype)
        self.ones = np.full((*kernel_size, max(Windows.longest, *(n * c for n in w.sizes))), 1 / area, w.dtype)
        self.y = w.outputs(lambda n: (*out_size, n, c))
        if w.training:
            self.dx = w.gradients(lambda n: (*size, n, c))

    def forward(self, x: Array) -> Array:
        """x (H, W, n, C) -> y (Ho, Wo, n, C)."""
        y = self.y[self.w.block]
        self.windows.combine(long_rows(x), self.ones, long_rows(y))
        if self.factor is not None:
            y *= self.factor
        return y

    def backward(self, dy: Array) -> Array:
        """dy (Ho, Wo, n, C) -> dx (H, W, n, C): each number of a window gets its share."""
        dx = self.dx[self.w.block]
        if self.factor is not None:
            dy *= self.factor
        for windows in self.back:
            windows.combine(long_rows(dy), self.ones, long_rows(dx))
        return dx
