"""Samples seen anew: values that come from between others, each read once, whatever was asked for together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

PIECE = 2**16  # values that `resampled` works on together, so that they stay in the processor's cache
ASPECTS = (np.log(3 / 4), np.log(4 / 3))  # width by height of a window: the logarithms of the least and the largest


@dataclass(frozen=True)
class View:
    """How N images are seen anew about their centres.

    matrix: (2, 2, N), the place in the image, (down, right) of its centre, of what is seen one pixel down and one pixel
    right of the centre. window: whole numbers (4, N), the first row and column, the height and the width of the part
    that then fills the image; None: all of it.
    """

    matrix: np.ndarray
    window: np.ndarray | None = None

    def __getitem__(self, piece: slice) -> View:
        """The view of some of the images."""
        return View(self.matrix[..., piece], None if self.window is None else self.window[:, piece])


def turns(angles: np.ndarray, factors: np.ndarray | float = 1.0, slants: np.ndarray | float = 0.0) -> np.ndarray:
    """Angles (N,) in radians, factors (N,), tangents `slants` (N,) -> the matrix (2, 2, N) of a view that is slanted
    (lines further up lie further right), then larger by the factor, then turned anticlockwise: RandomAffine of
    torchvision, whose angles count clockwise."""
    cos, sin = np.cos(angles), np.sin(angles)
    return np.array([[cos, sin], [cos * slants - sin, sin * slants + cos]]) / factors


def windows(draws: np.ndarray, least: float, height: int, width: int) -> np.ndarray:
    """draws (4, N), 0 <= u < 1 -> windows (4, N) of images of that size, whose share of the area is from `least` to 1,
    width by height from 3/4 to 4/3 on a logarithmic scale, anywhere in the image (RandomResizedCrop of torchvision; a
    side that would be longer than the image's is as long, where torchvision draws anew)."""
    area, aspect, row, column = draws
    size = height * width * (least + (1 - least) * area)
    ratio = np.exp(ASPECTS[0] + (ASPECTS[1] - ASPECTS[0]) * aspect)
    high = np.clip(np.rint(np.sqrt(size / ratio)), 1, height)
    wide = np.clip(np.rint(np.sqrt(size * ratio)), 1, width)
    top, left = np.floor(row * (height - high + 1)), np.floor(column * (width - wide + 1))
    return np.stack([top, left, high, wide]).astype(np.int64)


def rotated(x: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """x (N, C, H, W), angles (N,) in radians -> the images turned anticlockwise about their centres."""
    return resampled(x, View(turns(angles)))


def resampled(x: np.ndarray, view: View) -> np.ndarray:
    """x (N, C, H, W) -> the images seen so, of the same size.

    Bilinear with zeros outside: torch's grid_sample(mode="bilinear", padding_mode="zeros", align_corners=False) on the
    grid of the same matrix. A window has no outside: its border is repeated, as by torch's interpolate. uint8 is
    rounded to the nearest; of whole numbers that are names, int64, each place has the nearest.
    """
    if x.dtype == np.int64:
        return _nearest(x, view)
    step = max(1, PIECE // max(1, x[0].size)) if len(x) else 1
    y = np.empty(x.shape, x.dtype)
    for i in range(0, len(x), step):
        values = _bilinear(x[i : i + step], view[i : i + step])
        if x.dtype == np.uint8:
            values += 0.5  # casting cuts off what follows the point
        y[i : i + step] = values
    return y


def _nearest(x: np.ndarray, view: View) -> np.ndarray:
    """x (N, C, H, W) whole numbers -> each place with the number that is nearest, 0 outside."""
    n, channels, height, width = x.shape
    padded = np.zeros((n, channels, height + 2, width + 2), x.dtype)
    padded[:, :, 1:-1, 1:-1] = x
    row, column = (np.floor(place + np.float32(0.5)).astype(np.int64) for place in _sources(view, height, width))
    index = (row * (width + 2) + column).reshape(n, 1, -1)
    return np.take_along_axis(padded.reshape(n, channels, -1), index, axis=2).reshape(x.shape)


def _bilinear(x: np.ndarray, view: View) -> np.ndarray:
    """x (N, C, H, W) -> what `resampled` gives before it rounds, float32, for a piece of a batch."""
    n, channels, height, width = x.shape
    padded = np.zeros((n, channels, height + 3, width + 3), np.float32)  # one before, two behind
    padded[:, :, 1 : height + 1, 1 : width + 1] = x
    row, column = _sources(view, height, width)
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


def _sources(view: View, height: int, width: int) -> Iterator[np.ndarray]:
    """Where each pixel's value comes from: rows, columns (N, H, W) float32 of the image with one line of zeros before.

    What lies outside is moved to the nearest place where all is zero.
    """
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    down, right = np.arange(height) - middle_y, np.arange(width) - middle_x
    if view.window is not None:
        (top, left, high, wide) = view.window[:, :, None]
        down, right = _stretched(height, top, high) - middle_y, _stretched(width, left, wide) - middle_x
    matrix = view.matrix[..., None]
    rows = (matrix[0, 0] * down + (middle_y + 1), matrix[0, 1] * right)  # of i and of j: their sum is the place
    columns = (matrix[1, 0] * down, matrix[1, 1] * right + (middle_x + 1))
    for (of_i, of_j), size in ((rows, height), (columns, width)):
        place = of_i.astype(np.float32)[:, :, None] + of_j.astype(np.float32)[:, None, :]
        yield np.clip(place, 0, size + 1, out=place)


def _stretched(size: int, first: np.ndarray, count: np.ndarray) -> np.ndarray:
    """`count` (N, 1) of `size` places from `first` on -> where each of them comes from that fill all, (N, size)."""
    places: np.ndarray = first + np.clip((np.arange(size) + 0.5) * count / size - 0.5, 0, count - 1)
    return places


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


def stretched(x: np.ndarray, factors: np.ndarray, fill: np.ndarray) -> np.ndarray:
    """x (N, C, L), factors (N,) -> the signals longer by that factor about their middles, of the same length.

    Linear between steps; `fill` (C,) or (1,) outside. Of whole numbers that are names, int64, each has the nearest.
    """
    length = x.shape[2]
    middle = (length - 1) / 2
    place = (np.arange(length) - middle) / factors[:, None] + middle  # (N, L)
    is_outside = ((place < 0) | (place > length - 1))[:, None]
    if x.dtype == np.int64:
        near = np.clip(np.floor(place + 0.5), 0, length - 1).astype(np.int64)[:, None]
        return np.where(is_outside, fill.astype(x.dtype).reshape(-1, 1), np.take_along_axis(x, near, axis=2))
    before = np.clip(np.floor(place), 0, max(0, length - 2)).astype(np.int64)
    share = (place - before)[:, None].astype(x.dtype)
    left = np.take_along_axis(x, before[:, None], axis=2)
    right = np.take_along_axis(x, np.minimum(before + 1, length - 1)[:, None], axis=2)
    values: np.ndarray = np.where(is_outside, fill.astype(x.dtype).reshape(-1, 1), left + share * (right - left))
    return values
