"""How many subnormal numbers a network holds: those so small that a float has fewer digits for them.

A processor computes each some hundred times more slowly than others, as an exception: with one in a thousand among the
numbers of a factor, a product of matrices takes twice as long, with one in a hundred six times (measured on an AVX-512
Xeon with OpenBLAS). NumPy has no switch that has them taken for zeros. The processor has one for each thread, which
threads and processes started later inherit; `torch.set_flush_denormal(True)` sets it, for NumPy in that thread as well.
"""

from __future__ import annotations

import numpy as np

WORTH_SAYING = 1e-4  # the smallest share that costs a product some percent of its time


class Subnormals:
    """Counts them, kind of array by kind of array: `params`, `gradients`, ..."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, int]] = {}

    def count(self, kind: str, array: np.ndarray) -> None:
        """Take an array in; whole numbers are none of these."""
        if array.dtype.kind != "f":
            return
        few, many = self._counts.get(kind, (0, 0))
        self._counts[kind] = few + num_subnormal(array), many + array.size

    def shares(self) -> dict[str, float]:
        """Kind of array -> the share of subnormal numbers in it."""
        return {kind: few / max(many, 1) for kind, (few, many) in self._counts.items()}


def num_subnormal(array: np.ndarray) -> int:
    """How many numbers are not zero, but smaller than the smallest that has all its digits."""
    size = np.abs(array)
    return int(np.count_nonzero((size > 0) & (size < np.finfo(array.dtype).tiny)))
