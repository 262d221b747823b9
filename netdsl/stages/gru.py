"""Gated recurrent units."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array
from netdsl.stages.recurrent import Cell, Recurrent, sigmoid_slope, tanh_slope


class GruCell(Cell):
    """The rows of the slab are n, r, z and b, what the state gives to n: the first three are made from the input, the
    last three from the state.

    2 * sigmoid(z) = 1 + tanh(z / 2), and of b half is kept: n = tanh(a + 2r * b / 2), h = n + 2z * (h - n) / 2. All
    gradients by the gates are that by h times what does not depend on it.
    """

    rows = 4
    inner = (2, 1.0), (0, 0.5), (1, 0.5)
    outer = (0, 0.5), (1, 0.5), (2, 0.5)

    def __init__(self, stage: Recurrent, layer: int, side: int, width: int = 0) -> None:
        super().__init__(stage, layer, side, width)
        self.outer_bias = np.zeros(self.hidden, self.w.dtype)

    def lay_bias(self, bias_ih: Array, bias_hh: Array) -> None:
        """The bias of b goes with the state, both others with the input."""
        super().lay_bias(bias_ih, bias_hh)
        self.bias[0] = self.gate(bias_ih, 2)
        np.multiply(self.gate(bias_hh, 2), 0.5, out=self.outer_bias)

    def step(self, t: int, products: Array, before: Array, h: Array) -> None:
        """One step: products (3, n, H), what the state gives to r, z and n -> h."""
        z, part = self.slab[self.w.block][:, t], self.part[self.w.block]
        new, s = z[0], z[1:3]
        s += products[:2]
        np.tanh(s, out=s)
        s += 1
        np.add(products[2], self.outer_bias, out=z[3])
        np.multiply(z[1], z[3], out=part)
        new += part
        np.tanh(new, out=new)
        np.subtract(before, new, out=part)
        part *= z[2]
        part *= 0.5
        np.add(new, part, out=h)

    def make_factors(self, t: int, count: int, gates: Array, factors: Array) -> None:
        """gates (4, steps, n, H) -> factors of dh for n, r, z, b, and for the step before."""
        new, r, z, half = gates
        sigmoid_slope(gates[1:3], factors[1:3])
        np.multiply(z, -0.5, out=factors[4])
        factors[4] += 1
        tanh_slope(new, factors[0])
        factors[0] *= factors[4]
        factors[1] *= factors[0]
        factors[1] *= half
        factors[1] *= 2
        np.subtract(self.begun(self.h[self.w.block], t, count), new, out=factors[3])
        factors[2] *= factors[3]
        np.multiply(factors[0], r, out=factors[3])
        factors[3] *= 0.5
        np.multiply(z, 0.5, out=factors[4])

    def step_back(self, d: Array, gates: Array, factors: Array) -> None:
        """d (n, H), the gradient by h of a step -> those by its gates (4, n, H), over these."""
        np.multiply(d, factors[:4], out=gates)

    def carry(self, d: Array, carried: Array, factors: Array) -> None:
        """The step before gets z * dh beside what goes through the weights."""
        part = self.part[self.w.block]
        np.multiply(d, factors[4], out=part)
        carried += part


class Gru(Recurrent):
    """nn.GRU (Cho et al. 2014)."""

    can = Recurrent.can

    def cell(self, layer: int, side: int, width: int) -> Cell:
        """The cell of a layer in a direction."""
        return GruCell(self, layer, side, width)
