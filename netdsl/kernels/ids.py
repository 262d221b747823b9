"""Whole numbers that stand for something: characters of a text, words of a vocabulary."""

from __future__ import annotations

from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array


def check_ids(x: Any, length: int, limit: int) -> Array:
    """x (N, length), whole numbers from 0 to limit - 1 -> the same as int64. Raises ValueError."""
    x = np.asarray(x)
    if x.dtype.kind not in "iu" or x.shape[1:] != (length,) or not len(x):
        raise ValueError(f"the network takes whole numbers (N, {length}), not {x.dtype} of the shape {x.shape}")
    if x.min() < 0 or x.max() >= limit:
        raise ValueError(f"the network takes numbers from 0 to {limit - 1}, these are {x.min()} to {x.max()}")
    return x.astype(np.int64)
