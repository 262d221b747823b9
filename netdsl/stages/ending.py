"""What a stage does to its numbers last, while they are in the cache: a relu, or a clip between two bounds."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array
from netdsl.stages.relu import relu

Bounds = tuple[float, float]


def finish(y: Array, ends_in_relu: bool, bounds: Bounds | None) -> Array:
    """y (..., n, C) -> the same array, after its relu or between its bounds."""
    if bounds is not None:
        np.clip(y, *bounds, out=y)
    return relu(y, y) if ends_in_relu else y


def stop_gradient(dy: Array, y: Array, mask: Array, ends_in_relu: bool, bounds: Bounds | None) -> None:
    """The gradient dy by what `finish` gave, y (..., C), becomes that by what it was given: 0 where y is at a bound.
    mask: scratch, flat."""
    if not ends_in_relu and bounds is None:
        return
    low = 0 if bounds is None else bounds[0]
    inside = np.greater(y, low, out=mask[: y.size].reshape(y.shape))
    if bounds is not None:
        inside &= y < bounds[1]
    np.multiply(dy, inside, out=dy)
