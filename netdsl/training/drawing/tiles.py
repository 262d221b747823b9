"""Images as arrays: from a data set's layout to what a plot takes, and many of them on one sheet."""

from __future__ import annotations

import numpy as np

from netdsl.graph.types import Tensor

# class 0, mostly the background, is light; then Okabe & Ito 2008, and lighter and darker ones of the same hues
COLOURS = ("#e3e3e3", "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#F0E442", "#7A4B00", "#4B3F9E")
OVERLAY = 0.55  # the share of a mask's colour on the picture under it


def can_be_shown(sample: Tensor) -> bool:
    """Whether a sample makes a picture: (1, H, W) or (3, H, W), of more than a line."""
    return sample.is_picture and min(sample.space) > 1


def pictures(x: np.ndarray) -> np.ndarray:
    """x (N, C, *space) as stored -> (N, *space) of C = 1 or (N, *space, 3), 0 to 1; all but uint8 stretched to that
    range."""
    values = x.astype(np.float32)
    if x.dtype == np.uint8:
        values /= 255
    else:
        low, high = (float(f(values)) if values.size else 0.0 for f in (np.min, np.max))
        values = (values - low) / ((high - low) or 1.0)
    return values[:, 0] if x.shape[1] == 1 else np.moveaxis(values, 1, -1)


def viewable(x: np.ndarray) -> np.ndarray:
    """x (N, C, *space) of any C -> (N, *space) or (N, *space, 3) as numbers; bytes as `pictures` shows them."""
    if x.dtype == np.uint8 and x.shape[1] in (1, 3):
        return pictures(x)
    if x.shape[1] == 3:
        return np.moveaxis(x, 1, -1)
    return x[:, 0] if x.shape[1] == 1 else x.mean(axis=1)


def stretched(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Numbers from low to high as 0 to 1; what lies outside is cut."""
    return np.clip((x - low) / ((high - low) or 1.0), 0, 1)


def as_colours(weights: np.ndarray) -> np.ndarray:
    """(F, 3, *space) -> (F, *space, 3), each filter stretched to 0..1 by itself."""
    axes = tuple(range(1, weights.ndim))
    low, high = weights.min(axis=axes, keepdims=True), weights.max(axis=axes, keepdims=True)
    return np.moveaxis((weights - low) / np.where(high > low, high - low, 1), 1, -1)


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


def class_colours(count: int) -> np.ndarray:
    """(count, 3), 0 to 1: a colour for each class; those after the tenth are darker each time round."""
    base = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in COLOURS]) / 255
    rounds = np.arange(count) // len(COLOURS)
    return base[np.arange(count) % len(COLOURS)] * (0.75**rounds)[:, None]


def coloured(mask: np.ndarray, count: int) -> np.ndarray:
    """mask (...) of classes below `count` -> (..., 3)."""
    colours: np.ndarray = class_colours(count)[mask]
    return colours


def overlay(picture: np.ndarray, mask: np.ndarray, count: int) -> np.ndarray:
    """picture (H, W) or (H, W, 3), 0 to 1, mask (H, W) -> the picture (H, W, 3) with every class but the first in
    colour."""
    grey = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    mixed = (1 - OVERLAY) * grey + OVERLAY * coloured(mask, count)
    return np.where((mask == 0)[..., None], grey, mixed)
