"""Long short-term memory."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array
from netdsl.stages.recurrent import Cell, Recurrent, sigmoid_slope, tanh_slope


class LstmCell(Cell):
    """The rows of the slab are o, i, f, g: the first three have a sigmoid, the last three a gradient by c.

    One tanh makes all four, 2 * sigmoid(z) = 1 + tanh(z / 2); c = (2f * c + 2i * g) / 2, and of h = o * tanh(c) twice
    as much is kept.
    """

    rows = 4
    inner = (3, 0.5), (0, 0.5), (1, 0.5), (2, 1.0)
    outer = inner
    scale = 0.5

    def __init__(self, stage: Recurrent, layer: int, side: int, width: int = 0) -> None:
        super().__init__(stage, layer, side, width)
        t, h = self.length, self.hidden
        self.c = self.kept("c", lambda n: (t + 2, n, h))
        self.tanh_c = self.kept("tanh c", lambda n: (t, n, h))
        if self.w.training:
            self.dc = self.w.scratch("recurrent dc", lambda n: (n, h))

    def begin(self) -> None:
        """c begins with zeros, at either end."""
        c = self.c[self.w.block]
        c[0], c[-1] = 0, 0

    def step(self, t: int, products: Array, before: Array, h: Array) -> None:
        """One step: products (4, n, H), what the state gives to the gates -> h."""
        b = self.w.block
        z, c, tanh_c, part = self.slab[b][:, t], self.c[b][t + 1], self.tanh_c[b][t], self.part[b]
        z += products
        np.tanh(z, out=z)
        s = z[:3]
        s += 1
        np.multiply(z[2], self.c[b][t + 2 if self.is_back else t], out=c)
        np.multiply(z[1], z[3], out=part)
        c += part
        c *= 0.5
        np.tanh(c, out=tanh_c)
        np.multiply(z[0], tanh_c, out=h)

    def begin_back(self) -> None:
        """Behind the last step nothing reads c."""
        self.dc[self.w.block][...] = 0

    def make_factors(self, t: int, count: int, gates: Array, factors: Array) -> None:
        """gates (4, steps, n, H) -> factors: of dh for o, of dc for i, f and g; of dh for dc, and of dc for the step
        before."""
        b, (o, i, f, g) = self.w.block, gates
        tanh_c = self.tanh_c[b][t : t + count]
        sigmoid_slope(gates[:3], factors[:3])
        factors[0] *= tanh_c
        factors[1] *= g
        factors[2] *= self.begun(self.c[b], t, count)
        for y, doubled, out in ((g, i, factors[3]), (tanh_c, o, factors[4])):
            tanh_slope(y, out)
            out *= doubled
            out *= 0.5
        np.multiply(f, 0.5, out=factors[5])

    def step_back(self, d: Array, gates: Array, factors: Array) -> None:
        """d (n, H), the gradient by h of a step -> those by its gates (4, n, H), over these."""
        dc, part = self.dc[self.w.block], self.part[self.w.block]
        np.multiply(d, factors[4], out=part)
        dc += part
        np.multiply(d, factors[0], out=gates[0])
        np.multiply(dc, factors[1:4], out=gates[1:])
        dc *= factors[5]


class Lstm(Recurrent):
    """nn.LSTM (Hochreiter & Schmidhuber 1997)."""

    can = Recurrent.can

    def cell(self, layer: int, side: int, width: int) -> Cell:
        """The cell of a layer in a direction."""
        return LstmCell(self, layer, side, width)
