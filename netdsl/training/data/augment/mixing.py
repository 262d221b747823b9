"""Batches mixed: samples and targets blended with those of partners."""

from __future__ import annotations

import numpy as np


def targets(y: np.ndarray, classes: int) -> np.ndarray:
    """Labels (N,) -> one-hot rows (N, classes) float32, or (N, 1) as they are; float targets stay."""
    if not np.issubdtype(y.dtype, np.integer):
        return y
    return (y[:, None] if classes == 1 else y[:, None] == np.arange(classes)).astype(np.float32)


def blend(x: np.ndarray, partner: np.ndarray, lam: float) -> np.ndarray:
    """lam * x + (1 - lam) * x[partner]."""
    other: np.ndarray = x[partner]
    other *= x.dtype.type(1 - lam)
    other += x * x.dtype.type(lam)
    return other
