"""Images as arrays: from a data set's layout to what a plot takes, and many of them on one sheet."""

from __future__ import annotations

import numpy as np

from netdsl.graph.types import Tensor


def can_be_shown(sample: Tensor) -> bool:
    """Whether a sample makes a picture: (1, H, W) or (3, H, W), of more than a line."""
    return sample.is_picture and min(sample.space) > 1


def pictures(x: np.ndarray) -> np.ndarray:
    """x (N, C, H, W) as stored -> (N, H, W) of C = 1 or (N, H, W, 3), 0 to 1; all but uint8 stretched to that range."""
    values = x.astype(np.float32)
    if x.dtype == np.uint8:
        values /= 255
    else:
        low, high = (float(f(values)) if values.size else 0.0 for f in (np.min, np.max))
        values = (values - low) / ((high - low) or 1.0)
    return values[:, 0] if x.shape[1] == 1 else values.transpose(0, 2, 3, 1)


def viewable(x: np.ndarray) -> np.ndarray:
    """x (N, C, H, W) of any C -> (N, H, W) or (N, H, W, 3) as numbers; bytes as `pictures` shows them."""
    if x.dtype == np.uint8 and x.shape[1] in (1, 3):
        return pictures(x)
    if x.shape[1] == 3:
        return x.transpose(0, 2, 3, 1)
    return x[:, 0] if x.shape[1] == 1 else x.mean(axis=1)


def stretched(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Numbers from low to high as 0 to 1; what lies outside is cut."""
    return np.clip((x - low) / ((high - low) or 1.0), 0, 1)


def as_colours(weights: np.ndarray) -> np.ndarray:
    """(F, 3, H, W) -> (F, H, W, 3), each filter stretched to 0..1 by itself."""
    axes = (1, 2, 3)
    low, high = weights.min(axis=axes, keepdims=True), weights.max(axis=axes, keepdims=True)
    stretched: np.ndarray = (weights - low) / np.where(high > low, high - low, 1)
    return stretched.transpose(0, 2, 3, 1)


def enlarged(tiles: np.ndarray, least: int = 12) -> np.ndarray:
    """tiles (N, H, W, ...) with every pixel repeated until the longer side has `least`, so that a gap is narrow."""
    times = -(-least // max(tiles.shape[1:3]))
    return tiles.repeat(times, axis=1).repeat(times, axis=2)


def montage(tiles: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """tiles (N, H, W) or (N, H, W, 3) in rows of `columns`, `gap` pixels of NaN between them."""
    n, h, w = tiles.shape[:3]
    rows = -(-n // columns)
    sheet = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap, *tiles.shape[3:]), np.nan, np.float32)
    for i, tile in enumerate(tiles):
        top, left = i // columns * (h + gap), i % columns * (w + gap)
        sheet[top : top + h, left : left + w] = tile
    return sheet
