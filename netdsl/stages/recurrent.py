"""Recurrent layers: what the stages of `lstm`, `gru` and `rnn` have in common.

Inside, numbers lie by time, (T, n, D): one product makes of all steps what the gates are given of the input, and a step
reads and writes memory in one piece. The gates of all steps lie gate by gate, (rows, T, n, H), a slab.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Shape
from netdsl.stages.can import Can
from netdsl.stages.rows import add_to_rows, column_sums
from netdsl.stages.stage import Stage, Worker


def panel_width(n: int, hidden: int, most: int, least: int = 32) -> int:
    """How many columns of a weight (H, H) lie together for a product with n rows. OpenBLAS lays a weight anew at every
    call, but not for a product of less than about a million multiplications, and NumPy loops over such. Where even few
    columns are more than `most` multiplications, all H."""
    widths = [width for width in range(hidden, 0, -1) if hidden % width == 0 and width >= min(least, hidden)]
    return next((width for width in widths if n * hidden * width <= most), hidden)


def laid_in_panels(weight: Array, out: Array) -> None:
    """weight (K, H) -> out (H/width, K, width)."""
    out[...] = weight.reshape(len(weight), len(out), -1).swapaxes(0, 1)


def sigmoid_slope(doubled: Array, out: Array) -> None:
    """s = 2 * sigmoid(z) -> sigmoid'(z) = s * (2 - s) / 4."""
    np.multiply(doubled, -0.25, out=out)
    out += 0.5
    out *= doubled


def tanh_slope(y: Array, out: Array) -> None:
    """y = tanh(z) -> tanh'(z) = 1 - y*y."""
    np.multiply(y, y, out=out)
    np.subtract(1, out, out=out)


class Cell:
    """One layer in one direction. The rows of its slab are gates; the first `inner` of them are made from the input,
    the last `outer` from the state.

    inner, outer: for each such row which gate it is in PyTorch's order, and by what its weights are multiplied when
    they are laid: a half where the sigmoid is made by tanh(z / 2). doubled: h is kept as 2h, which is what comes out of
    that. In the backward pass the slab becomes the gradients by the gates before their activations.
    """

    rows = 1
    inner: tuple[tuple[int, float], ...] = ((0, 1.0),)
    outer: tuple[tuple[int, float], ...] = ((0, 1.0),)
    scale = 1.0  # h is what is kept of it times this
    most = 1 << 19  # multiplications of a product with a panel
    piece = 40960  # numbers of a gate whose factors are made at a time for the backward pass: they stay in the cache

    def __init__(self, stage: Recurrent, layer: int, side: int, width: int = 0) -> None:
        w = self.w = stage.w
        end = f"_l{layer}_reverse" if side else f"_l{layer}"
        self.names = [f"{stage.name}.{name}{end}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        self.weight_ih, self.weight_hh = w.params[self.names[0]], w.params[self.names[1]]
        self.bias_ih = w.params.get(self.names[2])
        self.is_back, self.given_scale = bool(side), self.scale if layer else 1.0
        self.hidden, self.length = len(self.weight_hh), stage.shape[0]
        t, h, d = self.length, self.hidden, len(self.weight_ih)
        self.width = width or panel_width(max(w.sizes), h, self.most)
        lies = (len(self.outer), h // self.width, h, self.width)
        self.inner_weight = np.empty((len(self.inner), d, h), w.dtype)
        self.outer_panels, self.back_panels = np.empty(lies, w.dtype), np.empty(lies, w.dtype)
        self.bias = np.zeros((len(self.inner), h), w.dtype)
        self.slab = self.kept("slab", lambda n: (self.rows, t, n, h))
        self.h = [array[:, :, side * h : (side + 1) * h] for array in stage.h[layer]]
        self.products = w.scratch("recurrent products", lambda n: (len(self.outer), n, h))
        self.part = w.scratch("recurrent part", lambda n: (n, h))
        if w.training:
            self.carried = w.scratch("recurrent carried", lambda n: (n, h))
            self.steps = [max(1, min(t, self.piece // (n * h))) for n in w.sizes]
            most = max(1, self.piece // h)  # a step has n rows
            self.factors = w.scratch("recurrent factors", lambda n: (self.rows + 2, max(n, min(t * n, most)) * h))
            self.dweight = w.scratch("recurrent dweight", lambda n: (max(d, h), h), common=True)
            self.dx_part = w.scratch("recurrent dx", lambda n: (t * n, d), common=True)

    def kept(self, key: str, shape: Any) -> list[Array]:
        """An array for each block, which in training is kept for the backward pass."""
        return self.w.arrays(shape) if self.w.training else self.w.scratch((key, shape(1)), shape, common=True)

    def gate(self, weight: Array, number: int) -> Array:
        """The columns of a gate in weights (D, G*H), or its numbers in a bias (G*H,)."""
        return weight[..., number * self.hidden : (number + 1) * self.hidden]

    def refresh(self) -> None:
        """Lay the weights as products read them."""
        for row, (number, factor) in enumerate(self.inner):
            np.multiply(self.gate(self.weight_ih, number), factor * self.given_scale, out=self.inner_weight[row])
        for row, (number, factor) in enumerate(self.outer):
            weight = self.gate(self.weight_hh, number)
            laid_in_panels(weight * (factor * self.scale), self.outer_panels[row])
            laid_in_panels(weight.T, self.back_panels[row])
        if self.bias_ih is not None:
            self.lay_bias(self.bias_ih, self.w.params[self.names[3]])

    def lay_bias(self, bias_ih: Array, bias_hh: Array) -> None:
        """What is added to the rows made from the input: both biases."""
        for row, (number, factor) in enumerate(self.inner):
            both = self.gate(bias_ih, number) + self.gate(bias_hh, number)
            np.multiply(both, factor, out=self.bias[row])

    def panels(self, products: Array) -> Array:
        """(rows, n, H) -> the same memory as products by panels write it, (rows, H/width, n, width)."""
        return products.reshape(*products.shape[:2], -1, self.width).swapaxes(1, 2)

    def forward(self, x: Array) -> None:
        """x (T, n, D) -> h of all steps."""
        b = self.w.block
        rows = x.reshape(-1, x.shape[2])
        for weight, bias, gates in zip(self.inner_weight, self.bias, self.slab[b], strict=False):
            self.w.multiply(rows, weight, gates.reshape(-1, self.hidden))
            if self.bias_ih is not None:
                add_to_rows(gates, bias)
        self.begin()
        products = self.products[b]
        panels = self.panels(products)
        for t in reversed(range(self.length)) if self.is_back else range(self.length):
            before = self.h[b][t + 2 if self.is_back else t]
            np.matmul(before, self.outer_panels, out=panels)
            self.step(t, products, before, self.h[b][t + 1])

    def begin(self) -> None:
        """Nothing is kept from step to step but h."""

    def begun(self, array: Array, t: int, count: int) -> Array:
        """Of an array with one more at either end what steps t, t + 1, ... began from."""
        first = t + 2 if self.is_back else t
        return array[first : first + count]

    def backward(self, dh: Array, x: Array, dx: Array | None, is_first: bool) -> None:
        """dh (T, n, H), which is written over, and x (T, n, D) -> the gradients of the weights, and dx (T, n, D) if
        it is needed; is_first: nothing is in it yet."""
        b, slab = self.w.block, self.slab[self.w.block]
        last, carried, products = 0 if not self.is_back else self.length - 1, self.carried[b], self.products[b]
        panels = self.panels(products)
        self.begin_back()
        is_carried = False
        for t, count in self.pieces(self.steps[b]):
            factors = self.factors[b][:, : count * dh[0].size].reshape(-1, count, *dh[0].shape)
            self.make_factors(t, count, slab[:, t : t + count], factors)
            for i in range(count) if self.is_back else reversed(range(count)):
                d = dh[t + i]
                if is_carried:
                    d += carried
                self.step_back(d, slab[:, t + i], factors[:, i])
                if t + i != last:
                    np.matmul(slab[-len(self.outer) :, None, t + i], self.back_panels, out=panels)
                    np.add.reduce(products, axis=0, out=carried)
                    self.carry(d, carried, factors[:, i])
                is_carried = True
        self.weight_gradients(x, slab)
        if dx is not None:
            self.input_gradient(slab, dx.reshape(-1, dx.shape[2]), is_first)

    def pieces(self, size: int) -> list[tuple[int, int]]:
        """The steps from the last to the first, some at a time: where a piece begins in time, and how many it has."""
        cuts = [(t, min(size, self.length - t)) for t in range(0, self.length, size)]
        return cuts if self.is_back else cuts[::-1]

    def begin_back(self) -> None:
        """Nothing is kept from step to step but dh."""

    def carry(self, d: Array, carried: Array, factors: Array) -> None:
        """What the step before gets beside what goes through the weights: nothing."""

    def weight_gradients(self, x: Array, slab: Array) -> None:
        """One product for each gate, over all steps."""
        rows, begun = x.reshape(-1, x.shape[2]), self.begun(self.h[self.w.block], 0, self.length)
        states = begun.reshape(-1, self.hidden)
        inner, outer = slab[: len(self.inner)], slab[-len(self.outer) :]
        for gates, each, given, weight, bias, scale in (
            (inner, self.inner, rows, self.names[0], self.names[2], self.given_scale),
            (outer, self.outer, states, self.names[1], self.names[3], self.scale),
        ):
            for dz, (number, _) in zip(gates, each, strict=True):
                dz = dz.reshape(-1, self.hidden)
                part = self.w.multiply(given.T, dz, self.dweight[0][: given.shape[1]])
                if scale != 1:
                    part *= scale
                self.add(weight, number, part)
                if self.bias_ih is not None:
                    self.add(bias, number, column_sums(dz, self.hidden))

    def add(self, name: str, number: int, part: Array) -> None:
        """The gradient of one gate's part of a param by one block is added to that of the blocks before."""
        grad = self.gate(self.w.grads[name], number)
        if self.w.block == 0:
            grad[...] = part
        else:
            grad += part

    def input_gradient(self, slab: Array, dx: Array, is_first: bool) -> None:
        """dx (T*n, D): the sum over the gates."""
        part = self.dx_part[self.w.block]
        for dz, (number, _) in zip(slab, self.inner, strict=False):
            weight, dz = self.gate(self.weight_ih, number), dz.reshape(-1, self.hidden)
            if is_first:
                self.w.multiply(dz, weight.T, dx)
            else:
                dx += self.w.multiply(dz, weight.T, part)
            is_first = False

    def step(self, t: int, products: Array, before: Array, h: Array) -> None:
        """One step: products (outer, n, H), the state before -> h."""
        raise NotImplementedError

    def make_factors(self, t: int, count: int, gates: Array, factors: Array) -> None:
        """What the gradients by some steps' gates are multiplied by, which does not depend on them."""
        raise NotImplementedError

    def step_back(self, d: Array, gates: Array, factors: Array) -> None:
        """d (n, H), the gradient by h of a step -> those by its gates, over these."""
        raise NotImplementedError


class Recurrent(Stage):
    """Layers of cells over each other, in one direction or two; h of a layer has a step of zeros at either end.

    drops: the layers but the last are multiplied by the factor (n, layers - 1, T, sides * H) that was drawn (`draws`).
    """

    can = Can(
        leave_out_dx=True,
        spares_output=True,
        forgets_input=True,
        is_named=True,
        has_own_output=True,
        has_own_gradient=True,
    )

    def __init__(
        self,
        w: Worker,
        name: str,
        shape: Shape,
        hidden: int,
        layers: int = 1,
        bi: bool = False,
        drops: bool = False,
        dx: bool = True,
        width: int = 0,
    ) -> None:
        self.start(w)
        self.name, self.shape, self.has_dx, self.drops = name, shape, dx, drops and w.training
        (t, d), size = shape, 2 * hidden if bi else hidden
        self.y = w.outputs(lambda n: (n, t, size))
        if w.training and dx:
            self.dx = w.gradients(lambda n: (n, t, d))
        self.x = w.arrays(lambda n: (t, n, d))
        self.h = [w.arrays(lambda n: (t + 2, n, size)) for _ in range(layers)]
        self.given = [w.arrays(lambda n: (t, n, size)) for _ in range(layers - 1)] if self.drops else []
        self.cells = [[self.cell(layer, side, width) for side in range(2 if bi else 1)] for layer in range(layers)]
        if w.training:
            most = max(size, d)
            self.dh = [w.scratch(("recurrent dh", i), lambda n: (t * n * most,)) for i in range(2)]

    def cell(self, layer: int, side: int, width: int) -> Cell:
        """The cell of a layer in a direction."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Lay the weights of all cells."""
        for cells in self.cells:
            for cell in cells:
                cell.refresh()

    def forward(self, x: Array) -> Array:
        """x (n, T, D) -> y (n, T, H), or (n, T, 2H)."""
        b = self.w.block
        self.x[b][...] = x.swapaxes(0, 1)
        for layer, cells in enumerate(self.cells):
            h, given = self.h[layer][b], self.input_of(layer)
            h[0], h[-1] = 0, 0
            for cell in cells:
                cell.forward(given)
            if self.drops and layer < len(self.given):
                np.multiply(h[1:-1], self.drop_factor(layer), out=self.given[layer][b])
        return np.multiply(h[1:-1].swapaxes(0, 1), self.cells[-1][0].scale, out=self.y[b])

    def input_of(self, layer: int) -> Array:
        """What a layer is given, (T, n, D)."""
        b = self.w.block
        if layer == 0:
            return self.x[b]
        return self.given[layer - 1][b] if self.drops else self.h[layer - 1][b][1:-1]

    def drop_factor(self, layer: int) -> Array:
        """What the output of a layer is multiplied by, (T, n, sides * H)."""
        drawn = self.w.network.io[f"factor {self.name}"][self.w.rows[self.w.block]]
        return drawn[:, layer].swapaxes(0, 1)

    def backward(self, dy: Array) -> Array | None:
        """dy (n, T, H) or (n, T, 2H) -> dx (n, T, D) if anything needs it."""
        b, dh = self.w.block, self.by_time(dy)
        for layer in reversed(range(len(self.cells))):
            if self.drops and layer < len(self.given):
                dh *= self.drop_factor(layer)
            x, is_needed = self.input_of(layer), layer > 0 or self.has_dx
            dx = self.dh[layer % 2][b][: x.size].reshape(x.shape) if is_needed else None
            for side, cell in enumerate(self.cells[layer]):
                own = dh[:, :, side * cell.hidden : (side + 1) * cell.hidden]
                cell.backward(own, x, dx, side == 0)
            if dx is not None:
                dh = dx
        if not self.has_dx:
            return None
        self.dx[b][...] = dh.swapaxes(0, 1)
        return self.dx[b]

    def by_time(self, dy: Array) -> Array:
        """dy (n, T, C) -> (T, n, C), in memory of its own."""
        dh = self.dh[len(self.cells) % 2][self.w.block][: dy.size].reshape(dy.shape[1], len(dy), dy.shape[2])
        dh[...] = dy.swapaxes(0, 1)
        return dh
