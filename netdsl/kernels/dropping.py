"""Numbers that are set to zero at random in training."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Saved


def dropout_forward(x: Array, p: float, training: bool, rng: np.random.Generator) -> tuple[Array, Saved]:
    """In training y = x * factor, factor = 0 with probability p, else 1 / (1 - p) (Srivastava et al. 2014)."""
    if not training:
        return x, None
    factor = ((rng.random(x.shape, np.float32) >= p) / (1 - p)).astype(x.dtype)
    return x * factor, factor
