"""What a stage that keeps its numbers between two bounds, while they are in the cache, does to the gradient."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array

Bounds = tuple[float, float]


def stop_outside(dy: Array, y: Array, mask: Array, low: float, high: float) -> None:
    """The gradient of a clip that gave y (..., C) stops: dy stays where y lies between. mask: scratch, flat."""
    inside = np.greater(y, low, out=mask[: y.size].reshape(y.shape))
    inside &= y < high
    np.multiply(dy, inside, out=dy)
