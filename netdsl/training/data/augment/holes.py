"""Changes that hide a part of a sample under numbers of its channels."""

from __future__ import annotations

import numpy as np

AREAS, ASPECTS = (0.02, 0.33), (np.log(0.3), np.log(3.3))  # of a rectangle: the share of the image; log(height / width)


def cut(x: np.ndarray, row: np.ndarray, column: np.ndarray, side: int, fill: np.ndarray) -> np.ndarray:
    """x (N, C, H, W) -> the same with a square about the pixel (row, column) of each sample set to `fill` (C,) or (1,).

    An even side reaches one pixel further up and left. What of the square lies outside is moved onto its own part
    inside, which changes nothing.
    """
    n, _, height, width = x.shape
    before, behind = -(side // 2), side - side // 2
    rows, columns = (np.arange(max(before, -size), min(behind, size)) for size in (height, width))
    rows, columns = np.clip(row[:, None] + rows, 0, height - 1), np.clip(column[:, None] + columns, 0, width - 1)
    y = x.copy()
    y[np.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]] = fill.astype(x.dtype)
    return y


def erased(x: np.ndarray, draws: np.ndarray, chance: float, fill: np.ndarray) -> np.ndarray:
    """x (N, C, H, W), draws (5, N), 0 <= u < 1 -> the same where, by that chance, a rectangle is set to `fill` (C,) or
    (1,).

    Its area is 2 to 33 per cent of the image, its height by its width 0.3 to 3.3 on a logarithmic scale, its place
    anywhere inside (Zhong et al. 2017; RandomErasing of torchvision. A side that would be longer than the image's is as
    long, where torchvision draws anew).
    """
    height, width = x.shape[2:]
    is_chosen, area, aspect, row, column = draws
    size = height * width * (AREAS[0] + (AREAS[1] - AREAS[0]) * area)
    ratio = np.exp(ASPECTS[0] + (ASPECTS[1] - ASPECTS[0]) * aspect)
    high = np.where(is_chosen < chance, np.clip(np.rint(np.sqrt(size * ratio)), 1, height), 0)
    wide = np.clip(np.rint(np.sqrt(size / ratio)), 1, width)
    inside = run(row, high, height)[:, :, None] & run(column, wide, width)[:, None, :]
    return _hidden(x, inside, fill)


def masked(x: np.ndarray, draws: np.ndarray, most: int, fill: np.ndarray) -> np.ndarray:
    """x (N, C, L), draws (2, N), 0 <= u < 1 -> the same with 0 to `most` steps in a row set to `fill` (C,) or (1,): the
    time mask of SpecAugment (Park et al. 2019)."""
    length, start = draws
    return _hidden(x, run(start, np.floor(length * (most + 1)), x.shape[2]), fill)


def run(u: np.ndarray, count: np.ndarray, size: int) -> np.ndarray:
    """u (N,), 0 <= u < 1, counts (N,) of at most `size` -> (N, size): which places are of that many in a row, which
    begin equally often wherever they fit."""
    first = np.floor(u * (size - count + 1))[:, None]
    place = np.arange(size)
    is_inside: np.ndarray = (place >= first) & (place < first + count[:, None])
    return is_inside


def _hidden(x: np.ndarray, inside: np.ndarray, fill: np.ndarray) -> np.ndarray:
    """x (N, C, *space), inside (N, *space) -> x with `fill` there."""
    values: np.ndarray = np.where(inside[:, None], fill.astype(x.dtype).reshape(-1, *[1] * (x.ndim - 2)), x)
    return values
