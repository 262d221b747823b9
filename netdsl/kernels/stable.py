"""Functions that keep their precision for large arguments."""

from __future__ import annotations

import math

import numpy as np

from netdsl.kernels.arrays import Array


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), from exp(-|x|), which never overflows."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def softmax(x: Array, axis: int) -> Array:
    """exp(x) / sum of exp(x) along `axis`; the maximum is taken out first, so that nothing overflows."""
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def softplus(x: Array) -> Array:
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def erf_series(count: int) -> list[float]:
    """The coefficients of the Chebyshev series h of `erf`, from its values at `count` Chebyshev points, which come from
    math.erf and math.erfc."""
    angles = np.pi * (np.arange(count) + 0.5) / count
    h = []
    for t in (3 * (1 + np.cos(angles)) / (2 - np.cos(angles))).tolist():
        near_0 = (math.erf(t) + math.expm1(-t * t)) * math.exp(t * t)  # the other form cancels
        h.append((near_0 if t < 1 else 1 - math.erfc(t) * math.exp(t * t)) / t)
    return (2 / count * np.matmul(np.cos(np.outer(np.arange(count), angles)), np.array(h))).tolist()


def erf(x: Array) -> Array:
    """The error function: erf(t) = 1 - exp(-t*t) + t * exp(-t*t) * h(t), odd, and +-1 where |x| >= 6.

    h is a Chebyshev series in u = (2*t - 3) / (t + 3), which takes 0 .. 6 to -1 .. 1. The error is below 1e-15 in
    float64, and 4e-8 in float32, worked in float64.
    """
    coefficients = erf_series(20 if x.dtype == np.float64 else 10)
    t = np.minimum(np.abs(x), 6).astype(np.float64)
    u = (2 * t - 3) / (t + 3)
    above, here = np.zeros_like(t), np.zeros_like(t)
    for c in coefficients[:0:-1]:  # Clenshaw's recurrence
        above, here = here, 2 * u * here - above + c
    y = t * np.exp(-t * t) * (u * here - above + coefficients[0] / 2) - np.expm1(-t * t)
    return (np.sign(x) * y).astype(x.dtype)
