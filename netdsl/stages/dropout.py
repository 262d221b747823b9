"""Dropout of numbers, of channels and of whole samples: one factor that was drawn for the batch."""

from __future__ import annotations

from netdsl.kernels.arrays import Array
from netdsl.stages.can import Can
from netdsl.stages.layout import from_textbook
from netdsl.stages.stage import Stage, Worker


class Factor(Stage):
    """Dropout: x times the factor (n, ...) that was drawn for the whole batch (`draws`); nothing at inference."""

    can = Can(is_named=True, idles="at inference")

    def __init__(self, w: Worker, name: str) -> None:
        self.start(w)
        self.name = name

    def forward(self, x: Array) -> Array:
        """x (..., C) -> y (..., C)."""
        return x * self.factor(x) if self.w.training else x

    def factor(self, x: Array) -> Array:
        """The factor of this block, as the numbers of x lie: for each number, each channel or each sample."""
        return from_textbook(self.w.network.io[f"factor {self.name}"][self.w.rows[self.w.block]], is_map=x.ndim == 4)

    def backward(self, dy: Array) -> Array:
        """dy (..., C) -> dx (..., C), in its place."""
        dy *= self.factor(dy)
        return dy
