"""Changes that put values elsewhere without making others of them: mirror images and moves by whole places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def mirrored(x: np.ndarray, which: np.ndarray, axis: int = -1) -> np.ndarray:
    """x (N, C, *space), which (N,) booleans -> those mirrored along that axis, the others as they are."""
    y = x.copy()
    y[which] = np.flip(x[which], axis)
    return y


def moved(x: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """x (N, C, H, W), whole pixels (N,) -> y[n, :, i, j] = x[n, :, i - down, j - right], 0 where that lies outside."""
    n, channels, height, width = x.shape
    down, right = np.clip(down, -height, height), np.clip(right, -width, width)
    high, wide = int(np.abs(down).max(initial=0)), int(np.abs(right).max(initial=0))
    padded = np.zeros((n, channels, height + 2 * high, width + 2 * wide), x.dtype)
    padded[:, :, high : high + height, wide : wide + width] = x
    windows = sliding_window_view(padded, (height, width), axis=(2, 3))
    return windows[np.arange(n), :, high - down, wide - right]


def moved_along(x: np.ndarray, steps: Sequence[np.ndarray], fill: np.ndarray) -> np.ndarray:
    """x (N, C, *space), whole steps (N,) along each axis of space -> y[n, :, i, ...] = x[n, :, i - step, ...], and
    `fill` (C,) or (1,) where that lies outside."""
    outside = fill.astype(x.dtype).reshape(-1, *[1] * len(steps))
    for axis, step in enumerate(steps, start=2):
        size = x.shape[axis]
        source = np.arange(size) - step[:, None]  # (N, size)
        shape = (len(x), *[1] * (axis - 1), size, *[1] * (x.ndim - axis - 1))
        is_inside = ((source >= 0) & (source < size)).reshape(shape)
        x = np.where(is_inside, np.take_along_axis(x, np.clip(source, 0, size - 1).reshape(shape), axis), outside)
    return x
