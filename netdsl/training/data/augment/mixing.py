"""Batches mixed: samples and targets blended with those of partners, or parts of samples exchanged."""

from __future__ import annotations

from collections.abc import Sequence

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


def box(draws: Sequence[float], space: Sequence[int], lam: float) -> tuple[slice, ...]:
    """A number 0 <= u < 1 for each axis of space -> the part of a sample that comes from its partner.

    Its sides are (1 - lam) ** (1 / axes) of the sample's, to the nearest whole number, about a place that is drawn from
    all alike, and cut at the border (Yun et al. 2019, where halves of them are rounded down).
    """
    share = (1 - lam) ** (1 / len(space))
    parts = []
    for u, size in zip(draws, space, strict=True):
        side = round(share * size)
        first = int(u * size) - side // 2
        parts.append(slice(max(0, first), min(size, first + side)))
    return tuple(parts)


def share_outside(part: Sequence[slice], space: Sequence[int]) -> float:
    """The share of a sample that is not in that part of it: the lam of its target."""
    inside = 1.0
    for piece, size in zip(part, space, strict=True):
        inside *= (piece.stop - piece.start) / size
    return 1 - inside


def exchanged(x: np.ndarray, partner: np.ndarray, part: tuple[slice, ...]) -> np.ndarray:
    """x (N, C, *space) with that part of x[partner]."""
    y, place = x.copy(), (slice(None), slice(None), *part)
    y[place] = x[place][partner]
    return y
