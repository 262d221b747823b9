"""Where tokens are, as numbers: what is added to them, and the angles by which queries and keys are turned."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Type


def sincos_table(begin: int, end: int, features: int, dtype: Type) -> Array:
    """Of positions t from begin to end - 1 sin(t / 10000^(2i / D)) as feature 2i and the cosine as 2i + 1, (T, D)."""
    angles = np.arange(begin, end)[:, None] / 10000 ** (np.arange(0, features, 2) / features)
    return np.stack([np.sin(angles), np.cos(angles)], axis=2).reshape(end - begin, -1)[:, :features].astype(dtype)


def rotary_table(begin: int, end: int, size: int, base: float, dtype: Type) -> Array:
    """The cosine and the sine of t * base^(-2i / size), t from begin to end - 1, i below size / 2: (2, T, size / 2)."""
    angles = np.arange(begin, end)[:, None] * base ** -(np.arange(0, size, 2) / size)
    return np.stack([np.cos(angles), np.sin(angles)]).astype(dtype)
