"""Changes that hide a part of a sample."""

from __future__ import annotations

import numpy as np


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
