"""The plain recurrent layer."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array
from netdsl.stages.recurrent import Cell, Recurrent, tanh_slope


class TanhCell(Cell):
    """h = tanh(x inner + h outer + biases)."""

    def step(self, t: int, products: Array, before: Array, h: Array) -> None:
        """One step: products (1, n, H), what the state gives -> h."""
        np.add(self.slab[self.w.block][0, t], products[0], out=h)
        np.tanh(h, out=h)

    def make_factors(self, t: int, count: int, gates: Array, factors: Array) -> None:
        """The derivative of tanh."""
        tanh_slope(self.h[self.w.block][t + 1 : t + 1 + count], factors[0])

    def step_back(self, d: Array, gates: Array, factors: Array) -> None:
        """d (n, H), the gradient by h of a step -> that by what it was made of, (1, n, H)."""
        np.multiply(d, factors[0], out=gates[0])


class ReluCell(TanhCell):
    """h = max(0, x inner + h outer + biases)."""

    def step(self, t: int, products: Array, before: Array, h: Array) -> None:
        """One step: products (1, n, H), what the state gives -> h."""
        np.add(self.slab[self.w.block][0, t], products[0], out=h)
        np.maximum(h, 0, out=h)

    def make_factors(self, t: int, count: int, gates: Array, factors: Array) -> None:
        """1 where h is positive, else 0."""
        np.greater(self.h[self.w.block][t + 1 : t + 1 + count], 0, out=factors[0])


class Rnn(Recurrent):
    """nn.RNN (Elman 1990)."""

    can = Recurrent.can

    def cell(self, layer: int, side: int, width: int) -> Cell:
        """The cell of a layer in a direction."""
        return TanhCell(self, layer, side, width)


class ReluRnn(Recurrent):
    """nn.RNN with max(0, ...)."""

    can = Recurrent.can

    def cell(self, layer: int, side: int, width: int) -> Cell:
        """The cell of a layer in a direction."""
        return ReluCell(self, layer, side, width)
