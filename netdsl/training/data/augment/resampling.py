"""Images seen anew: pixels whose values come from between others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

PIECE = 2**16  # values that `rotated` works on together, so that they stay in the processor's cache


def rotated(x: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """x (N, C, H, W), angles (N,) in radians -> the images turned anticlockwise about their centres.

    Bilinear with zeros outside: torch's grid_sample(mode="bilinear", padding_mode="zeros", align_corners=False) on the
    grid of the same rotation. uint8 is rounded to the nearest.
    """
    step = max(1, PIECE // max(1, x[0].size)) if len(x) else 1
    y = np.empty(x.shape, x.dtype)
    for i in range(0, len(x), step):
        values = _rotated_piece(x[i : i + step], angles[i : i + step])
        if x.dtype == np.uint8:
            values += 0.5  # casting cuts off what follows the point
        y[i : i + step] = values
    return y


def turned_mask(x: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """x (N, C, H, W) whole numbers -> as `rotated`, each place with the number that is nearest, 0 outside."""
    n, channels, height, width = x.shape
    padded = np.zeros((n, channels, height + 2, width + 2), x.dtype)
    padded[:, :, 1:-1, 1:-1] = x
    row, column = (np.floor(place + np.float32(0.5)).astype(np.int64) for place in _sources(angles, height, width))
    index = (row * (width + 2) + column).reshape(n, 1, -1)
    return np.take_along_axis(padded.reshape(n, channels, -1), index, axis=2).reshape(x.shape)


def _rotated_piece(x: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """x (N, C, H, W), angles (N,) -> what `rotated` gives before it rounds, float32, for a piece of a batch."""
    n, channels, height, width = x.shape
    padded = np.zeros((n, channels, height + 3, width + 3), np.float32)  # one before, two behind
    padded[:, :, 1 : height + 1, 1 : width + 1] = x
    row, column = _sources(angles, height, width)
    top, left = np.floor(row), np.floor(column)
    row -= top
    column -= left
    index = top.astype(np.int32) * np.int32(width + 3) + left.astype(np.int32)
    starts = np.arange(n * channels).reshape(n, channels, 1, 1) * padded[0, 0].size
    upper, lower = _corners(padded.reshape(-1), index[:, None] + starts, width + 3, column[:, None])
    lower -= upper
    lower *= row[:, None]
    upper += lower
    return upper


def _sources(angles: np.ndarray, height: int, width: int) -> Iterator[np.ndarray]:
    """Where each pixel's value comes from: rows, columns (N, H, W) float32 of the image with one line of zeros before.

    What lies outside is moved to the nearest place where all is zero.
    """
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    down, right = np.arange(height) - middle_y, np.arange(width) - middle_x
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    rows = (cos * down + (middle_y + 1), sin * right)  # of i and of j: their sum is the place
    columns = (-sin * down, cos * right + (middle_x + 1))
    for (of_i, of_j), size in ((rows, height), (columns, width)):
        place = of_i.astype(np.float32)[:, :, None] + of_j.astype(np.float32)[:, None, :]
        yield np.clip(place, 0, size + 1, out=place)


def _corners(flat: np.ndarray, index: np.ndarray, stride: int, fraction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values at `index` and to the right of it, weighted by `fraction`; the same one line of `stride` values below."""
    lines = []
    for offset in (0, stride):
        left, right = (np.take(flat[k:], index, mode="clip") for k in (offset, offset + 1))
        right -= left
        right *= fraction
        left += right
        lines.append(left)
    return lines[0], lines[1]
