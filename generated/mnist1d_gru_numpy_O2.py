"""Mnist1dGru in NumPy, 1x40 map -> 10, 38,474 parameters. Written by `netdsl compile -O2`; needs numpy and nothing else.

    layer    output  parameters
    tokens1  40x1
    gru1     40x64       37,824
    take1    64
    linear1  10             650

Every layer, or a few together, is a stage: an object with its buffers, a forward and a backward. Inside, maps are
(H, W, n, C), n the samples of a block; x, params and gradients have PyTorch's shapes. Workers, threads, share
the batch: each has stages of its own, and they wait for each other where a batch norm needs all samples, and around the
optimizer. Read on: the network and why it has its stages, these in the order of their use, then what trains it, `fast`.
A signal (C, L) is an image one number wide, (L, 1, n, C).
"""

import ctypes
import json
import math
import os
import queue
import sys
import threading
import weakref
import zipfile

import numpy as np

INPUT_SHAPE = (1, 40)
NUM_PARAMETERS = 38_474
OUTPUTS, LOGITS, GRADIENTS, BACKWARD, UPDATE, STEP = range(6)


class Mnist1dGru:
    """(N, 1, 40) -> (N, 10)."""

    input_shape, logits_shape = INPUT_SHAPE, (10,)
    learning_rate = 0.005
    block = 128  # samples at a time, at most

    def first_params(self, rng, dtype):
        """The params before training, by PyTorch's names and in its shapes."""
        return {
            "gru1.weight_ih_l0": torch_uniform(rng, (192, 1), 64, 1, dtype),
            "gru1.weight_hh_l0": torch_uniform(rng, (192, 64), 64, 1, dtype),
            "gru1.bias_ih_l0": torch_uniform(rng, (192,), 64, 1, dtype),
            "gru1.bias_hh_l0": torch_uniform(rng, (192,), 64, 1, dtype),
            "gru1.weight_ih_l1": torch_uniform(rng, (192, 64), 64, 1, dtype),
            "gru1.weight_hh_l1": torch_uniform(rng, (192, 64), 64, 1, dtype),
            "gru1.bias_ih_l1": torch_uniform(rng, (192,), 64, 1, dtype),
            "gru1.bias_hh_l1": torch_uniform(rng, (192,), 64, 1, dtype),
            "linear1.weight": he(rng, (10, 64), 64, 10, dtype),
            "linear1.bias": np.zeros(10, dtype),
        }

    def loss(self, logits, target):
        """Logits and labels or probabilities -> mean loss, dlogits."""
        return cross_entropy(logits, target)

    def train_stages(self, w):
        """What worker w computes with, in training and at inference."""
        s = Stages()
        s.input = Input(w, (1, 40, 1))
        s.tokens1 = Moved(w.into(None, 0), (1, 40, 1), (40, 1), (40, 1, "n", 1), (2, 0, 1, 3))
        s.gru1 = Gru(w.into(0, 1), "gru1", (40, 1), 64, 2, dx=False)
        s.take1 = Take(w.into(1, 0), (40, 64), -1)
        s.linear1 = Linear(w.into(0, 1), "linear1", 10)
        return s

    def train_forward(self, s, x):
        """One block: x (N, 1, 40) -> what the loss reads (N, 10)."""
        x = s.input.forward(x)
        x = s.tokens1.forward(x)  # (n, 40, 1)
        x = s.gru1.forward(x)  # (n, 40, 64)
        x = s.take1.forward(x)  # (n, 64)
        return s.linear1.forward(x)  # (n, 10)

    def train_backward(self, s, dy):
        """The gradient by what `train_forward` gave -> those of the params."""
        dy = s.linear1.backward(dy)
        dy = s.take1.backward(dy)
        s.gru1.backward(dy)

    def forward(self, x, training=False):
        """x (N, 1, 40) -> y (N, 10)."""
        return self.logits(x, training)

    def optimize(self, params, grads, state, lr):
        """One step of the optimizer, in place."""
        # a worker's part of `norms` is 0, too, where its squares overflow
        norm = self.norms.sum() ** 0.5 if self.norms.all() else norm_of([self.gradients[0]])
        grads = scaled(grads, clip_factor(norm, 1.0))
        adam_step(params, grads, state, lr)


class Stage:
    """What the stages of one worker have in common. A stage has forward and, in training, backward; `refresh` makes
    what it derives from its params, before a batch."""

    def start(self, w):
        """What every constructor begins with."""
        self.w = w
        w.stages.append(self)

    def refresh(self):
        """Nothing is derived from the params."""

    def add_gradient(self, name, value):
        """The gradient of a param by one block is added to that of the blocks before."""
        if self.w.block == 0:
            self.w.grads[name][...] = value
        else:
            self.w.grads[name] += value


class Input(Stage):
    """The network's input, a map (n, C, *space) -> (H, W, n, C)."""

    def __init__(self, w, shape):
        self.start(w)
        self.y = w.arrays(lambda n: (*plane(shape[1:]), n, shape[0]))

    def forward(self, x):
        """x (n, C, *space) -> y (H, W, n, C)."""
        y = self.y[self.w.block]
        y[...] = x.reshape(*x.shape[:2], *y.shape[:2]).transpose(2, 3, 0, 1)
        return y


def plane(space):
    """The height and width of a map as it lies: (L,) -> (L, 1), (H, W) as it is, (D, H, W) -> (D*H, W)."""
    *rows, width = space if len(space) > 1 else (*space, 1)
    return math.prod(rows), width


class Moved(Stage):
    """The numbers of x, of `shape`, seen as `split` with the axes in the order `order`: that is y, of `out_shape`. In
    `split` "n" stands for the samples; x lies as (H, W, n, C)."""

    def __init__(self, w, shape, out_shape, split, order):
        self.start(w)
        self.split, self.order = split, order
        self.y = w.outputs(lambda n: inside(out_shape, n))
        if w.training:
            self.dx = w.gradients(lambda n: inside(shape, n))

    def moved(self, x, n):
        """x (H, W, n, C) -> a view of it, with the axes of `split` in the order `order`."""
        return x.reshape([size if isinstance(size, int) else n for size in self.split]).transpose(self.order)

    def forward(self, x):
        """x (H, W, n, C) -> y of `out_shape`, as stages see it."""
        y = self.y[self.w.block]
        moved = self.moved(x, self.w.sizes[self.w.block])
        y.reshape(moved.shape)[...] = moved
        return y

    def backward(self, dy):
        """dy of `out_shape` -> dx (H, W, n, C), each number back at its place."""
        dx = self.dx[self.w.block]
        moved = self.moved(dx, self.w.sizes[self.w.block])
        moved[...] = dy.reshape(moved.shape)
        return dx


def inside(shape, n):
    """The sizes of n samples as stages keep them: (H, W, n, C) of maps, else (n, *shape)."""
    return (*plane(shape[1:]), n, shape[0]) if is_map(shape) else (n, *shape)


def is_map(shape):
    """Whether a value of these sizes is a map, (C, H, W) or (C, D, H, W); signals are (C, L, 1) here."""
    return len(shape) >= 3


class Recurrent(Stage):
    """Layers of cells over each other, in one direction or two; h of a layer has a step of zeros at either end.

    drops: the layers but the last are multiplied by the factor (n, layers - 1, T, sides * H) that was drawn (`draws`).
    """

    def __init__(self, w, name, shape, hidden, layers=1, bi=False, drops=False, dx=True, width=0):
        self.start(w)
        self.name, self.shape, self.has_dx = name, shape, dx
        (t, d), size = shape, hidden
        self.y = w.outputs(lambda n: (n, t, size))
        self.x = w.arrays(lambda n: (t, n, d))
        self.h = [w.arrays(lambda n: (t + 2, n, size)) for _ in range(layers)]
        self.cells = [[self.cell(layer, side, width) for side in range(1)] for layer in range(layers)]
        if w.training:
            most = max(size, d)
            self.dh = [w.scratch(("recurrent dh", i), lambda n: (t * n * most,)) for i in range(2)]

    def refresh(self):
        """Lay the weights of all cells."""
        for cells in self.cells:
            for cell in cells:
                cell.refresh()

    def forward(self, x):
        """x (n, T, D) -> y (n, T, H), or (n, T, 2H)."""
        b = self.w.block
        self.x[b][...] = x.swapaxes(0, 1)
        for layer, cells in enumerate(self.cells):
            h, given = self.h[layer][b], self.input_of(layer)
            h[0], h[-1] = 0, 0
            for cell in cells:
                cell.forward(given)
        return np.multiply(h[1:-1].swapaxes(0, 1), self.cells[-1][0].scale, out=self.y[b])

    def input_of(self, layer):
        """What a layer is given, (T, n, D)."""
        b = self.w.block
        if layer == 0:
            return self.x[b]
        return self.h[layer - 1][b][1:-1]

    def backward(self, dy):
        """dy (n, T, H) or (n, T, 2H) -> dx (n, T, D) if anything needs it."""
        b, dh = self.w.block, self.by_time(dy)
        for layer in reversed(range(len(self.cells))):
            x, is_needed = self.input_of(layer), layer > 0 or self.has_dx
            dx = self.dh[layer % 2][b][: x.size].reshape(x.shape) if is_needed else None
            for side, cell in enumerate(self.cells[layer]):
                own = dh[:, :, side * cell.hidden : (side + 1) * cell.hidden]
                cell.backward(own, x, dx, side == 0)
            if dx is not None:
                dh = dx

    def by_time(self, dy):
        """dy (n, T, C) -> (T, n, C), in memory of its own."""
        dh = self.dh[len(self.cells) % 2][self.w.block][: dy.size].reshape(dy.shape[1], len(dy), dy.shape[2])
        dh[...] = dy.swapaxes(0, 1)
        return dh


class Gru(Recurrent):
    """nn.GRU (Cho et al. 2014)."""

    def cell(self, layer, side, width):
        """The cell of a layer in a direction."""
        return GruCell(self, layer, side, width)


class Cell:
    """One layer in one direction. The rows of its slab are gates; the first `inner` of them are made from the input,
    the last `outer` from the state.

    inner, outer: for each such row which gate it is in PyTorch's order, and by what its weights are multiplied when
    they are laid: a half where the sigmoid is made by tanh(z / 2). doubled: h is kept as 2h, which is what comes out of
    that. In the backward pass the slab becomes the gradients by the gates before their activations.
    """

    rows = 1
    inner = ((0, 1.0),)
    outer = ((0, 1.0),)
    scale = 1.0  # h is what is kept of it times this
    most = 1 << 19  # multiplications of a product with a panel
    piece = 40960  # numbers of a gate whose factors are made at a time for the backward pass: they stay in the cache

    def __init__(self, stage, layer, side, width=0):
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

    def kept(self, key, shape):
        """An array for each block, which in training is kept for the backward pass."""
        return self.w.arrays(shape) if self.w.training else self.w.scratch((key, shape(1)), shape, common=True)

    def gate(self, weight, number):
        """The columns of a gate in weights (D, G*H), or its numbers in a bias (G*H,)."""
        return weight[..., number * self.hidden : (number + 1) * self.hidden]

    def refresh(self):
        """Lay the weights as products read them."""
        for row, (number, factor) in enumerate(self.inner):
            np.multiply(self.gate(self.weight_ih, number), factor * self.given_scale, out=self.inner_weight[row])
        for row, (number, factor) in enumerate(self.outer):
            weight = self.gate(self.weight_hh, number)
            laid_in_panels(weight * (factor * self.scale), self.outer_panels[row])
            laid_in_panels(weight.T, self.back_panels[row])
        if self.bias_ih is not None:
            self.lay_bias(self.bias_ih, self.w.params[self.names[3]])

    def lay_bias(self, bias_ih, bias_hh):
        """What is added to the rows made from the input: both biases."""
        for row, (number, factor) in enumerate(self.inner):
            both = self.gate(bias_ih, number) + self.gate(bias_hh, number)
            np.multiply(both, factor, out=self.bias[row])

    def panels(self, products):
        """(rows, n, H) -> the same memory as products by panels write it, (rows, H/width, n, width)."""
        return products.reshape(*products.shape[:2], -1, self.width).swapaxes(1, 2)

    def forward(self, x):
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

    def begin(self):
        """Nothing is kept from step to step but h."""

    def begun(self, array, t, count):
        """Of an array with one more at either end what steps t, t + 1, ... began from."""
        first = t + 2 if self.is_back else t
        return array[first : first + count]

    def backward(self, dh, x, dx, is_first):
        """dh (T, n, H), which is written over, and x (T, n, D) -> the gradients of the weights, and dx (T, n, D) if
        it is needed; is_first: nothing is in it yet."""
        b, slab = self.w.block, self.slab[self.w.block]
        last, carried, products = 0 if not self.is_back else self.length - 1, self.carried[b], self.products[b]
        panels = self.panels(products)
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

    def pieces(self, size):
        """The steps from the last to the first, some at a time: where a piece begins in time, and how many it has."""
        cuts = [(t, min(size, self.length - t)) for t in range(0, self.length, size)]
        return cuts if self.is_back else cuts[::-1]

    def weight_gradients(self, x, slab):
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

    def add(self, name, number, part):
        """The gradient of one gate's part of a param by one block is added to that of the blocks before."""
        grad = self.gate(self.w.grads[name], number)
        if self.w.block == 0:
            grad[...] = part
        else:
            grad += part

    def input_gradient(self, slab, dx, is_first):
        """dx (T*n, D): the sum over the gates."""
        part = self.dx_part[self.w.block]
        for dz, (number, _) in zip(slab, self.inner, strict=False):
            weight, dz = self.gate(self.weight_ih, number), dz.reshape(-1, self.hidden)
            if is_first:
                self.w.multiply(dz, weight.T, dx)
            else:
                dx += self.w.multiply(dz, weight.T, part)
            is_first = False


class GruCell(Cell):
    """The rows of the slab are n, r, z and b, what the state gives to n: the first three are made from the input, the
    last three from the state.

    2 * sigmoid(z) = 1 + tanh(z / 2), and of b half is kept: n = tanh(a + 2r * b / 2), h = n + 2z * (h - n) / 2. All
    gradients by the gates are that by h times what does not depend on it.
    """

    rows = 4
    inner = (2, 1.0), (0, 0.5), (1, 0.5)
    outer = (0, 0.5), (1, 0.5), (2, 0.5)

    def __init__(self, stage, layer, side, width=0):
        super().__init__(stage, layer, side, width)
        self.outer_bias = np.zeros(self.hidden, self.w.dtype)

    def lay_bias(self, bias_ih, bias_hh):
        """The bias of b goes with the state, both others with the input."""
        super().lay_bias(bias_ih, bias_hh)
        self.bias[0] = self.gate(bias_ih, 2)
        np.multiply(self.gate(bias_hh, 2), 0.5, out=self.outer_bias)

    def step(self, t, products, before, h):
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

    def make_factors(self, t, count, gates, factors):
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

    def step_back(self, d, gates, factors):
        """d (n, H), the gradient by h of a step -> those by its gates (4, n, H), over these."""
        np.multiply(d, factors[:4], out=gates)

    def carry(self, d, carried, factors):
        """The step before gets z * dh beside what goes through the weights."""
        part = self.part[self.w.block]
        np.multiply(d, factors[4], out=part)
        carried += part


def panel_width(n, hidden, most, least=32):
    """How many columns of a weight (H, H) lie together for a product with n rows. OpenBLAS lays a weight anew at every
    call, but not for a product of less than about a million multiplications, and NumPy loops over such. Where even few
    columns are more than `most` multiplications, all H."""
    widths = [width for width in range(hidden, 0, -1) if hidden % width == 0 and width >= min(least, hidden)]
    return next((width for width in widths if n * hidden * width <= most), hidden)


def laid_in_panels(weight, out):
    """weight (K, H) -> out (H/width, K, width)."""
    out[...] = weight.reshape(len(weight), len(out), -1).swapaxes(0, 1)


def add_to_rows(x, a):
    """x (..., C), in one piece, plus a (C,) if there is one, in place."""
    if a is not None:
        a = repeated_for(x, a)
        rows = x.reshape(-1, len(a))
        rows += a


def repeated_for(x, a):
    """a (C,) for x (..., C) -> (k*C,), for a view of x with k rows as one: a loop over 100 numbers takes twice its
    time. For few numbers a as it is."""
    if x.size < 65536:
        return a
    k = math.gcd(x.size // len(a), 1 << max(1, 4096 // len(a)).bit_length() - 1)
    return repeated(a, k * len(a))


def repeated(a, size):
    """a (C,) -> (size,), again and again, in 1 us; np.resize takes 20 to 50."""
    out = np.empty((size // len(a), len(a)), a.dtype)
    out[...] = a
    return out.reshape(-1)


def column_sums(row, channels):
    """(..., C) flat -> (C,): a product with ones is quicker than a sum along the first axis."""
    rows = row.reshape(-1, channels)
    return np.dot(np.ones(len(rows), row.dtype), rows)


def sigmoid_slope(doubled, out):
    """s = 2 * sigmoid(z) -> sigmoid'(z) = s * (2 - s) / 4."""
    np.multiply(doubled, -0.25, out=out)
    out += 0.5
    out *= doubled


def tanh_slope(y, out):
    """y = tanh(z) -> tanh'(z) = 1 - y*y."""
    np.multiply(y, y, out=out)
    np.subtract(1, out, out=out)


class Take(Stage):
    """The token of that number."""

    def __init__(self, w, shape, index):
        self.start(w)
        self.index = index
        self.y = w.outputs(lambda n: (n, shape[1]))
        if w.training:
            self.dx = w.gradients(lambda n: (n, *shape))

    def forward(self, x):
        """x (n, T, D) -> y (n, D)."""
        y = self.y[self.w.block]
        y[...] = x[:, self.index]
        return y

    def backward(self, dy):
        """dy (n, D) -> dx (n, T, D), dy at that token and zeros elsewhere."""
        dx = self.dx[self.w.block]
        dx[...] = 0
        dx[:, self.index] = dy
        return dx


class Linear(Stage):
    """y = x weight + bias, then relu; weight is stored as (D, F)."""

    def __init__(self, w, name, filters):
        self.start(w)
        self.name = name
        self.weight, self.bias = w.params[name + ".weight"], w.params.get(name + ".bias")
        self.x = [None] * len(w.sizes)
        self.y = w.outputs(lambda n: (n, filters))
        if w.training:
            self.part = w.scratch("dweight", lambda n: self.weight.shape)[0]
            self.dx = w.gradients(lambda n: (n, len(self.weight)))

    def forward(self, x):
        """x (n, D) -> y (n, F)."""
        self.x[self.w.block] = x
        y = self.w.multiply(x, self.weight, self.y[self.w.block])
        y += self.bias
        return y

    def backward(self, dy):
        """dy (n, F) -> dx (n, D) if anything needs it."""
        b = self.w.block
        grad = self.w.grads[self.name + ".weight"]
        self.w.multiply(self.x[b].T, dy, grad if b == 0 else self.part)
        if b > 0:
            grad += self.part
        self.add_gradient(self.name + ".bias", dy.sum(axis=0))
        return self.w.multiply(dy, self.weight.T, self.dx[b])


def cross_entropy(logits, labels):
    """logits (N, K, ...), labels (N, ...) -> mean loss, dlogits = (softmax - onehot(labels)) / number of labels.

    The maximum is taken out first, so that no exponential overflows.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    wanted = onehot(labels, log_p)
    return -log_p[wanted].mean(), (np.exp(log_p) - wanted) / labels.size


def onehot(labels, like):
    """labels (N, ...) -> booleans of the shape of `like` (N, K, ...), True in class `label`. Raises ValueError."""
    num_classes = like.shape[1]
    if labels.shape != like.shape[:1] + like.shape[2:]:
        raise ValueError(f"labels of the shape {labels.shape} for outputs of the shape {like.shape}")
    check_labels(labels, num_classes)
    return np.expand_dims(labels, 1) == np.arange(num_classes).reshape(-1, *[1] * (like.ndim - 2))


def check_labels(labels, num_classes):
    """Raise ValueError unless every label is a whole number in 0 .. num_classes - 1 (a negative index would wrap)."""
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be whole numbers, not {labels.dtype}")
    if labels.size == 0 or labels.min() < 0 or labels.max() >= num_classes:
        these = f"these are {labels.min()} to {labels.max()}" if labels.size else "there are none"
        raise ValueError(f"labels must lie in 0 to {num_classes - 1}, {these}")


def adam_step(params, grads, state, lr=1e-3, betas=(0.9, 0.999), eps=1e-8):
    """Kingma & Ba 2015: m, v are running means of g and g*g, corrected for starting at zero;
    param -= lr * m_hat / (sqrt(v_hat) + eps). Params are flat, and short enough for the cache."""
    step = state["step"] = state.get("step", 0) + 1
    correct1, correct2 = 1 - betas[0] ** step, (1 - betas[1] ** step) ** 0.5
    room = np.empty_like(max(params.values(), key=len, default=np.empty(0)))
    for name, param in params.items():
        g = grads[name]
        m, v = state.get(name) or state.setdefault(name, (np.zeros_like(param), np.zeros_like(param)))
        part = room[: len(param)]
        np.subtract(g, m, out=part)
        part *= 1 - betas[0]
        m += part
        v *= betas[1]
        np.multiply(g, g, out=part)
        part *= 1 - betas[1]
        v += part  # where squares overflow v stays infinite, and the param where it is
        np.sqrt(v, out=part)
        part += eps * correct2  # the corrections of v and m are a factor of all, the last one
        np.divide(m, part, out=part)
        part *= lr * correct2 / correct1
        param -= part


def norm_of(arrays):
    """The root of the sum of all squares; in float64 where squares overflow."""
    arrays = list(arrays)
    squares = [np.vdot(array, array) for array in arrays]
    total = sum(np.stack(squares).tolist()) if squares else 0.0
    if not math.isfinite(total):
        total = sum(float(np.square(array, dtype=np.float64).sum()) for array in arrays)
    return total**0.5


def clip_factor(norm, largest):
    """What gradients of that norm are multiplied by, 1 or less; torch.nn.utils.clip_grad_norm_ adds 1e-6, too."""
    return min(1.0, float(largest / (norm + 1e-6)))


def scaled(grads, factor):
    """Each gradient times the factor; the same arrays where it is 1."""
    return grads if factor == 1 else {name: factor * grad for name, grad in grads.items()}


def he(rng, shape, fan_in, fan_out, dtype):
    """He et al. 2015: normal with variance 2 / fan_in."""
    return (rng.standard_normal(shape) * (2.0 / fan_in) ** 0.5).astype(dtype)


def torch_uniform(rng, shape, fan_in, fan_out, dtype):
    """PyTorch's default for convolutions and linear layers, weights and biases: uniform within 1 / sqrt(fan_in)."""
    bound = fan_in**-0.5
    return rng.uniform(-bound, bound, shape).astype(dtype)


class Stages:
    """The stages of one worker, by name."""


def fast(network, *parts):
    """A class that describes a network, and parts of it beside FastNetwork -> the class that trains and answers."""
    return type(network.__name__, (network, *parts, FastNetwork), {"__doc__": network.__doc__})


class Network:
    """What a network can do once it has `params`, `buffers`, `logits`, `forward`, `backward`, `loss` and `update`.

    params and buffers: name -> array, with PyTorch's names, shapes and order, so that one checkpoint fits both.
    """

    def check_input(self, x):
        """x (N, *input_shape) -> the same in the network's dtype; bytes (uint8) become 0..1. Raises ValueError."""
        x = np.asarray(x)
        x = np.divide(x, 255, dtype=self.dtype) if x.dtype == np.uint8 else np.asarray(x, self.dtype)
        if x.shape[1:] != self.input_shape or not len(x):
            raise ValueError(f"the network takes (N, {', '.join(map(str, self.input_shape))}), not {x.shape}")
        return x

    def fit(self, x, y, epochs=5, batch=64, lr=None, seed=0):
        """Train on x (N, *input_shape) and targets y (N, ...) in shuffled batches; returns each epoch's mean loss."""
        rng, history = np.random.default_rng(seed), []
        for _ in range(epochs):
            batches = np.array_split(rng.permutation(len(x)), max(1, len(x) // batch))
            history.append(float(np.mean([self.train_step(x[rows], y[rows], lr) for rows in batches])))
        return history

    def outputs(self, x, batch=256):
        """x (N, *input_shape) -> what the network gives, (N, ...), without training, batch by batch."""
        x = self.check_input(x)
        return np.concatenate([self.forward(x[i : i + batch]) for i in range(0, len(x), batch)])

    def predict(self, x, batch=256):
        """x (N, *input_shape) -> the class with the largest logit, (N, ...); of a single one 1 where it is above 0."""
        x = self.check_input(x)
        logits = np.concatenate([self.logits(x[i : i + batch]) for i in range(0, len(x), batch)])
        return (logits[:, 0] > 0).astype(np.int64) if logits.shape[1] == 1 else logits.argmax(axis=1)

    def score(self, x, y):
        """The share of labels y that `predict` finds."""
        return float(np.mean(self.predict(x) == y))

    def save(self, path):
        """Write params and buffers to a `.safetensors` or `.npz` file."""
        write_weights(path, {**self.params, **self.buffers})

    def load(self, path):
        """Read what `save`, netdsl or PyTorch wrote; what is not right changes nothing and raises (read_weights)."""
        expected = {**self.params, **self.buffers}
        for name, array in read_weights(path, expected).items():
            expected[name][...] = array


class StoredNetwork(Network):
    """A network whose params are views of one vector, in which weights lie the other way round, (Kh, Kw, C, F) and
    (D, F), and whose workers have a vector of gradients each. At inference stages use what they derived from params
    earlier. Users may write to these at any time, so workers add up their bytes, times odd numbers, modulo 2 ** 64: one
    number that changes always shows, and several do but for one case in 2 ** 64."""

    chunk = 32768  # so many numbers of the vector are worked on at a time

    def store(self, params, buffers):
        """One vector for all of them, first the matrices, from which nothing is derived; gradients for each worker."""
        self.begin = self.room(array for array in params.values() if array.ndim == 2)
        self.size = self.room(params.values())
        self.vector = self.team.shared((self.size + self.room(buffers.values()),), self.dtype)
        self.gradients = self.team.shared((self.num_workers, self.size), self.dtype)
        self.stored, named = self.views(self.vector, {**params, **buffers})
        self.stored_grads, self.named_grads = zip(*(self.views(row, params) for row in self.gradients), strict=True)
        for name, array in (*params.items(), *buffers.items()):
            named[name][...] = array
        self.params, self.buffers = ({name: named[name] for name in some} for some in (params, buffers))
        self.sums, self.last_sum = self.team.shared((self.num_workers,), np.uint64), None
        self.odd_numbers = np.random.default_rng(0).integers(1 << 63, size=self.chunk, dtype=np.uint64) * 2 + 1
        self.shared_arrays, self.version = {}, 1

    def room(self, arrays):
        """How many numbers of a vector they take, each at a multiple of 64 bytes."""
        return sum(-(-array.size // 16) * 16 for array in arrays)

    def views(self, vector, arrays):
        """Of a vector the arrays as they are stored, and in PyTorch's shapes."""
        stored, named, begin = {}, dict(arrays), 0
        for name, array in sorted(arrays.items(), key=lambda item: item[1].ndim != 2):
            place = vector[begin : begin + array.size]
            stored[name] = place.reshape((*array.shape[2:], *array.shape[1::-1]))
            named[name] = np.moveaxis(stored[name], (-1, -2), (0, 1)) if array.ndim > 1 else stored[name]
            begin += self.room([array])
        return stored, named

    def shared(self, key, shape, dtype=None):
        """An array that all workers see, made when the first one asks for it, or one of two that do so at a time.
        Training and inference write there what they derive from params, over what the other has."""
        if (key, shape) not in self.shared_arrays:
            self.shared_arrays.setdefault((key, shape), self.team.shared(shape, dtype or self.dtype))
        return self.shared_arrays[key, shape]

    def add_up(self, index):
        """The bytes of one worker's part."""
        self.sums[index] = 0
        for begin in range(self.begin, len(self.vector), self.chunk)[index :: self.team.active]:
            words = self.vector[begin : begin + self.chunk].view(np.uint64)
            self.sums[index] += np.dot(words, self.odd_numbers[: len(words)])

    def touch(self):
        """What workers derived is no longer right, or is overwritten: that of each has the version that it is from."""
        self.version, self.last_sum = self.version + 1, None

    def was_touched(self):
        """Whether a user has written to params or buffers since this was asked last."""
        last, self.last_sum = self.last_sum, self.sums[: self.team.active].sum()
        is_new = last not in (None, self.last_sum)
        self.version += is_new
        return is_new


class FastNetwork(StoredNetwork):
    """A network whose batch is shared by workers, each with stages of its own. params: name -> array of PyTorch's
    shape, a view of one vector: write into it, `params[name][...] = new`, do not replace it."""

    worth_sharing = 1 << 18  # params: from so many on a step of the optimizer takes longer than to ask others for help

    def __init__(self, seed=0, dtype="float32", workers=None):
        """workers: how many share a batch; None: one for each core. Raises ValueError if these cannot be made."""
        if workers is not None and workers < 1:
            raise ValueError(f"a network needs 1 worker or more, not {workers}")
        self.rng, self.dtype = np.random.default_rng(seed), np.dtype(dtype)
        self.num_workers = available_cores() if workers is None else workers
        self.team = Team(self.num_workers)
        buffers = {}
        self.store(self.first_params(self.rng, dtype), buffers)
        self.moments = self.team.shared((2, self.size), self.dtype)
        self.norms, self.losses = self.team.shared((2, self.num_workers), np.float64)
        self.gives = {"logits": self.logits_shape, "dlogits": self.logits_shape}
        self.known_constants, self.workers, self.io = {}, {}, {"logits": np.zeros(0)}
        self.steps, self.pending, self.close = 0, None, self.team.close
        self.team.start(self.work)

    def logits(self, x, training=False):
        """x (N, *input_shape) -> what the loss reads, (N, ...)."""
        n = self.call(LOGITS if training else OUTPUTS, x)
        if not training and self.was_touched():
            self.run(OUTPUTS, n)
        return self.io["logits"][:n].copy()

    def backward(self, dy):
        """The gradient by the logits of the last batch that `logits` saw in training -> None, where a module of -O0 has
        that by the input, and {param name: gradient}."""
        n = len(dy)
        if n != self.pending:
            raise ValueError(f"the last batch that `logits` saw in training has {self.pending} samples, not {n}")
        self.io["dlogits"][:n] = dy
        self.touch()
        self.run(BACKWARD, n)
        return None, self.total_gradients(n)

    def loss_and_gradients(self, x, y):
        """x (N, *input_shape), targets y -> mean loss, {param name: gradient}, in training mode."""
        n = self.call(GRADIENTS, x, y)
        return self.losses.sum(), self.total_gradients(n)

    def train_step(self, x, y, lr=None):
        """Forward, loss, backward and one step of the optimizer, in place; returns the loss. Where a gradient is not a
        finite number the params stay as they are, and the loss is NaN."""
        self.call(STEP, x, y, self.learning_rate if lr is None else lr)
        return self.losses.sum() if np.isfinite(self.norms.sum()) else np.nan

    def update(self, grads, lr):
        """One step of the optimizer, in place."""
        for name, grad in grads.items():
            self.named_grads[0][name][...] = grad
        self.touch()
        self.run(UPDATE, 1, lr)  # the gradients are where those of one sample are

    def call(self, command, x, y=None, lr=0.0):
        """Hand a batch to the workers and wait for them; returns how many samples it has."""
        given = {"x": self.check_input(x)}
        n = len(given["x"])
        if y is not None:
            given["y"] = np.asarray(y)
            if given["y"].shape[:1] != (n,):
                raise ValueError(f"{n} samples, but targets of the shape {given['y'].shape}")
        if n > len(self.io["logits"]):
            self.io |= {name: np.zeros((n, *shape), self.dtype) for name, shape in self.gives.items()}
        self.io |= given
        if command != OUTPUTS:
            self.touch()
            self.pending = n if command == LOGITS else None
        self.run(command, n, lr)
        return n

    def run(self, command, n, lr=0.0):
        """Every worker does its part of a command; of a batch with too few samples for all, the first does all, but for
        the optimizer's step if params are many."""
        is_few = n < self.num_workers
        if command == STEP and is_few and self.size >= self.worth_sharing:
            self.run(GRADIENTS, n)
            self.run(UPDATE, n, lr)
            return
        self.losses[:], self.norms[:] = self.losses if command == UPDATE else 0, 0
        try:
            self.team.call((command, n, lr, self.steps, self.version), is_few and command != UPDATE)
        except BaseException:
            self.touch()
            self.workers, self.pending = {}, None  # some may have made theirs, others not
            raise
        self.steps += command in (UPDATE, STEP) and bool(np.isfinite(self.norms.sum()))

    def work(self, index, order):
        """One worker's part of a command: its samples through the network, and back, and its part of the params."""
        command, n, lr, steps, version = order
        with np.errstate(all="ignore"):  # what is not finite shows in the loss and in `norms`
            if command == OUTPUTS:
                self.add_up(index)
            if command != UPDATE:
                w = self.worker(index, n, command != OUTPUTS, command in (LOGITS, BACKWARD))
                if command == BACKWARD and w.version is None:
                    raise ValueError("what `logits` kept for `backward` is gone: too many other sizes came between")
                if w.version != version:
                    for stage in w.stages:  # each worker makes a part of what they derive from params
                        stage.refresh()
                    w.version = version
                    self.team.sync()
                self.each_block(w, command)
            if command in (UPDATE, STEP):
                self.update_part(index, n, lr, steps)

    def worker(self, index, n, training, apart):
        """What worker `index` needs for its part of a batch of n samples; the last six that were made are kept. All
        workers make and forget theirs in the same order, so that they agree on what is new."""
        known, key = self.workers.setdefault((index, self.team.active), {}), (n, training, apart)
        if key not in known:
            while len(known) >= 6:
                vars(known.pop(next(iter(known)))).clear()  # its memory, too: stages and worker refer to each other
            known[key] = Worker(self, index, n, training, apart)
        return known[key]

    def each_block(self, w, command):
        """One block after the other."""
        for block, rows in enumerate(w.rows):
            w.block = block
            if command != BACKWARD:
                y = w.compute(w.s, self.io["x"][rows])
                self.io["logits"][rows] = y
            if command not in (OUTPUTS, LOGITS):
                self.train_backward(w.s, self.gradient(w, rows, command))

    def gradient(self, w, rows, command):
        """The gradient by what the loss reads of a block, as the stages take it; the loss is added to this worker's."""
        if command == BACKWARD:
            dy = self.io["dlogits"][rows].copy()
        else:
            loss, dy = self.loss(self.io["logits"][rows], self.io["y"][rows])
            share = len(dy) / w.n  # of the batch's mean loss
            self.losses[w.index] += loss * share
            dy = (dy * share).astype(self.dtype)
        return dy

    def total_gradients(self, n):
        """{param name: gradient} by the last n samples, summed over the workers in their order."""
        for row in self.gradients[1 : 1 if n < self.num_workers else None]:
            self.gradients[0] += row
        return {name: self.named_grads[0][name].copy() for name in self.params}

    def update_part(self, index, n, lr, steps):
        """One worker's part of the params: sum the gradients, see that all are finite, then the optimizer's step."""
        self.team.sync()
        params, grads, norm = {}, {}, 0.0
        state = {"step": steps}  # of its own: each step adds 1 to it
        for begin in range(0, self.size, self.chunk)[index :: self.team.active]:
            part = slice(begin, min(begin + self.chunk, self.size))
            grads[begin], *others = self.gradients[: 1 if n < self.num_workers else None, part]
            for row in others:
                grads[begin] += row
            norm += float(np.dot(grads[begin], grads[begin]))
            params[begin], state[begin] = self.vector[part], tuple(self.moments[:, part])
        if not np.isfinite(norm) and all(np.isfinite(grad).all() for grad in grads.values()):
            norm = 0.0  # only the squares overflow
        self.norms[index] = norm
        self.team.sync()
        if np.isfinite(self.norms.sum()):
            self.optimize(params, grads, state, lr)


def write_weights(path, weights):
    """{name: array} -> a `.safetensors` or `.npz` file."""
    if str(path).endswith(".npz"):
        np.savez(path, **weights)
        return
    header, end = {}, 0
    for name, array in weights.items():
        dtype = {"f8": "F64", "f4": "F32", "f2": "F16"}[array.dtype.str[1:]]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    parts = [np.array([len(text)], "<u8"), np.frombuffer(text, np.uint8), *weights.values()]
    np.concatenate([np.ascontiguousarray(part).reshape(-1).view(np.uint8) for part in parts]).tofile(path)


def read_weights(path, expected):
    """A `.safetensors` or `.npz` file -> {name: array}, with the names, shapes and dtypes of the arrays `expected`.

    float16, float32 and float64 are converted; names that begin with `netdsl.` (the optimizer of a checkpoint) or end
    with `.num_batches_tracked` (PyTorch's counters) are passed over. Names, dtypes, shapes and sizes are compared
    before any data is read. Raises ValueError, which names the file and the tensor, where they differ, where the file
    is damaged and where a number is not finite; FileNotFoundError where there is none.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path} is not a file")
    size, names = os.path.getsize(path), 2**22 + 2000 * len(expected)  # bytes of the file, and at most of its names
    try:
        if not str(path).endswith(".npz"):
            return take_weights(path, find_tensors(path, size, names), expected)
        if size > names + 8 * sum(array.size for array in expected.values()):
            raise ValueError(f"it has {size} bytes, more than these weights can take")
        with zipfile.ZipFile(path) as archive:
            return take_weights(archive, find_arrays(archive), expected)
    except Exception as error:  # whatever a decoder raises on damaged bytes
        raise ValueError(f"{path}: {str(error)[:300] or type(error).__name__}") from error


def take_weights(file, held, expected):
    """held {name: (dtype, shape, place)} -> {name: array}, read from the file once all of `expected` are there."""
    passed = {name for name in held if name.startswith("netdsl.") or name.endswith(".num_batches_tracked")}
    for name in sorted((held.keys() | expected.keys()) - passed):
        dtype, shape, _ = held.get(name, ("", "nothing", 0))
        wanted = expected[name].shape if name in expected else "nothing"
        if shape != wanted:
            raise ValueError(f"{name!r} should be {wanted}, the file has {shape}")
        if dtype not in ("float16", "float32", "float64"):
            raise ValueError(f"{name!r} is {dtype}, expected float16, float32 or float64")
    weights = {}
    for name, array in expected.items():
        dtype, shape, place = held[name]
        if isinstance(file, zipfile.ZipFile):
            with file.open(place) as member:
                data = np.lib.format.read_array(member, allow_pickle=False)
        else:
            data = np.fromfile(file, np.dtype(dtype).newbyteorder("<"), math.prod(shape), offset=place).reshape(shape)
        with np.errstate(over="ignore"):
            weights[name] = data.astype(array.dtype, copy=False)
        if not np.isfinite(weights[name]).all():
            raise ValueError(f"{name!r} has numbers that are not finite in {array.dtype}")
    return weights


def find_tensors(path, size, names):
    """A safetensors file of `size` bytes, at most `names` of them its header -> {name: (dtype, shape, first byte)}.

    It is the length of the header (8 bytes), the header (JSON: dtype, shape and place of each tensor) and the data,
    every byte of which belongs to one tensor.
    """
    length = int(np.fromfile(path, "<u8", 1)[0]) if size >= 8 else 0
    if not 2 <= length <= min(size - 8, names):
        raise ValueError(f"the header is cut or too long: {length} bytes in a file of {size}")
    text = np.fromfile(path, np.uint8, length, offset=8).tobytes().decode()
    header = json.loads(text, object_pairs_hook=named_once)
    if not isinstance(header, dict):
        raise ValueError("the header is not a JSON object")
    header.pop("__metadata__", None)
    places, ranges = {}, []
    for name, entry in header.items():
        try:
            dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
            dtype, item = {"F16": ("float16", 2), "F32": ("float32", 4), "F64": ("float64", 8)}.get(dtype, (dtype, 0))
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{name!r} has no dtype, shape and data_offsets") from None
        is_right = all(type(n) is int and n >= 0 for n in (*shape, begin, end)) and begin <= end
        if not is_right or item and math.prod(shape) * item != end - begin:
            raise ValueError(f"{name!r} cannot be {dtype} of shape {shape} at the bytes {begin} to {end}")
        places[name] = dtype, shape, 8 + length + begin
        ranges.append((begin, end, repr(name)))
    last = 0
    for begin, end, name in [*sorted(ranges), (size - 8 - length, 0, "the end")]:
        if begin != last:
            raise ValueError(f"{name} is at byte {begin} of the data, but what is before it ends at {last}")
        last = end
    return places


def named_once(pairs):
    """The dict of the pairs; raises ValueError where a name comes twice."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name comes twice in the header")
    return dict(pairs)


def find_arrays(archive):
    """An open `.npz`, a zip file of `.npy` files as `np.savez` writes -> {name: (dtype, shape, member)}."""
    places = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name in places or member.compress_type not in (0, 8):
            raise ValueError(f"{name!r} comes twice, or is packed in another way than by NumPy")
        try:
            with archive.open(member) as file:
                if np.lib.format.read_magic(file) != (1, 0):
                    raise ValueError("not the first version of the format")
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
                held = member.file_size - file.tell()
        except Exception as error:  # whatever the decoders raise on damaged bytes
            raise ValueError(f"{name!r} is no array: {error}") from error
        if held != math.prod(shape) * dtype.itemsize or held > 1032 * member.compress_size + 1024:
            raise ValueError(f"{name!r} cannot be {dtype} of shape {shape} in {held} bytes")
        places[name] = dtype.name, shape, member
    return places


class Team:
    """`count` workers that do the same work at the same time, each its part of it: threads, and worker 0, who calls.
    After an error, Ctrl-C too, all others are let out of `sync` and awaited, and the next call finds them ready."""

    work = None  # what `start` is given
    is_cut = False  # whether helpers may be at work without a call

    def __init__(self, count):
        self.count, self.active, self.pid, self.why = count, count, os.getpid(), "they were closed"
        self.barrier, self.busy = threading.Barrier(count), threading.Lock()
        self.calls = [queue.SimpleQueue() for _ in range(1, count)]  # what each helper is to do
        self.threads = []
        self.close = weakref.finalize(self, end_threads, self.calls, self.threads)  # at exit, too

    def shared(self, shape, dtype):
        """-> zeros that every worker sees."""
        return np.zeros(shape, dtype)

    def start(self, work):
        """Start the helpers. `work(index, order)` does one worker's part; `order` is what `call` is given."""
        for calls in self.calls:
            thread = threading.Thread(target=serve, args=(calls,), daemon=True)
            thread.start()
            self.threads.append(thread)
        self.work = work

    def call(self, order=(), is_alone=False):
        """Every worker does its work on `order`, or the first one alone; raises what one of them raised."""
        if not self.close.alive:
            raise RuntimeError(f"the workers have ended: {self.why}")
        if self.busy.locked():
            raise RuntimeError("the workers are at work: one call at a time")
        with self.busy:
            if self.is_cut:
                self.settle()
            self.active, threads = 1 if is_alone else self.count, None
            try:
                threads = blas_threads(1 if self.count > 1 else None)  # of each worker
                if self.active == 1:
                    self.work(0, order)
                elif self.pid != os.getpid():
                    raise RuntimeError("the workers serve the process that started them, not a fork of it")
                else:
                    self.lead(order)
            finally:
                blas_threads(threads)

    def lead(self, order):
        """Worker 0's part of a call, with all others'."""
        ended = queue.SimpleQueue()
        self.barrier, self.is_cut = threading.Barrier(self.count), True
        try:
            for me, calls in enumerate(self.calls, 1):
                calls.put(lambda me=me: ended.put(self.help(me, order)))
            self.work(0, order)
            errors = [ended.get() for _ in self.calls]
        except BaseException as error:
            self.settle()
            errors = [error, *(ended.get() for _ in range(ended.qsize()))]
        self.is_cut = False
        for failure in errors:
            if failure is not None and not isinstance(failure, threading.BrokenBarrierError):
                raise failure

    def help(self, me, order):
        """A helper's part of a call -> its error."""
        try:
            self.work(me, order)
        except BaseException as error:
            self.barrier.abort()
            return error
        return None

    def settle(self):
        """Let the helpers out of the last call and wait until they are; a second Ctrl-C may cut that short."""
        self.barrier.abort()
        ended = queue.SimpleQueue()
        for calls in self.calls:
            calls.put(lambda: ended.put(None))
        for _ in self.calls:
            ended.get()
        self.is_cut = False

    def sync(self):
        """Wait until every worker has come to as many of these in this call as this one."""
        if self.active > 1:
            self.barrier.wait()


def end_threads(calls, threads):
    """End the helpers; those at work get a second."""
    for one in calls:
        one.put(None)
    for thread in {*threads} - {threading.current_thread()}:
        thread.join(1)


def serve(calls):
    """The life of a helper, which holds nothing between calls, so that the team can be collected."""
    while (call := calls.get()) is not None:
        call()
        del call


def blas_threads(count):
    """Set how many threads the BLAS of numpy uses; returns how many it did, None where it cannot be asked (0.5 us)."""
    known = vars(blas_threads)
    get, put = known.get("controls") or known.setdefault("controls", blas_controls())
    if put is None or count is None:
        return None
    previous = get()
    put(count)
    return previous


def blas_controls():
    """-> the functions that get and set the number of threads in the BLAS that numpy's own library links, or Nones.
    Windows knows a function only by the file that defines it, so what numpy's wheel brings along is asked as well."""
    forms = [f"{front}openblas_%s_num_threads{end}" for front in ("scipy_", "") for end in ("64_", "")]
    names = [(form % "get", form % "set") for form in [*forms, "bli_thread_%s_num_threads"]]
    for path in blas_libraries():
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        for get, put in [*names, ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads")]:
            if hasattr(library, get):
                return library[get], library[put]
    return None, None


def blas_libraries():
    """-> the paths of numpy's own library, which links a BLAS, and of those that its wheel brings along."""
    modules = "numpy._core._multiarray_umath", "numpy.core._multiarray_umath"  # numpy 2, numpy 1
    own = [str(sys.modules[name].__file__) for name in modules if name in sys.modules][:1]
    folder = os.path.join(os.path.dirname(os.path.dirname(np.__file__)), "numpy.libs")
    brought = [name for _, _, names in os.walk(folder) for name in sorted(names) if "openblas" in name]
    return [*own, *(os.path.join(folder, name) for name in brought)]


def available_cores():
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Worker:
    """One worker's part of a network: its samples in blocks, the stages that work on them, and its gradients.

    n: the samples of the whole batch; rows: which of them each block has, a slice, and `sizes` how many; `block` is the
    one at work. training: stages keep what their backward pass needs. apart: blocks keep it beside each other, since
    they take turns; else one ends before the next begins, and they share memory. s: its stages, by name.
    """

    def __init__(self, network, index, n, training, apart):
        self.network, self.index, self.n, self.training, self.apart = network, index, n, training, apart
        self.dtype, self.num_workers = network.dtype, network.num_workers if n >= network.num_workers else 1
        begin, end = self.part(n)
        count = max(1, min(-(-n // (self.num_workers * network.block)), end - begin))  # for all workers as many
        cuts = [begin + i * (end - begin) // count for i in range(count + 1)]
        self.rows = [slice(*both) for both in zip(cuts, cuts[1:], strict=False)]
        self.sizes, self.block, self.version = [part.stop - part.start for part in self.rows], 0, None
        self.params, self.grads = network.stored, network.stored_grads[index]
        self.buffers = Buffers(self.dtype)
        self.shared = network.shared
        make, self.compute = network.train_stages, network.train_forward
        for _ in range(2):  # the first time stages say how much memory they need, the second time they get it
            self.count, self.stages, self.handed_on = 0, [], {}
            self.s = make(self)
            if self.buffers.memory is None:
                self.buffers.settle()

    def arrays(self, shape, dtype=None):
        """An array for each block, shape(n) for its n samples, that keeps what is in it until the block ends."""
        self.count += 1
        return self.scratch(self.count, shape, dtype, self.apart, common=True)

    def scratch(self, key, shape, dtype=None, apart=False, common=False):
        """An array for each block; who asks for the same key gets the same memory, and so do blocks not apart."""
        return [self.buffers.array((key, i if apart else 0), shape(n), dtype) for i, n in enumerate(self.sizes)]

    def into(self, *memory):
        """This worker; what the next stage hands on goes into the memory of that number, which others use before and
        after it. A second number is that at inference; None: into one of its own."""
        self.handed_on[len(self.stages)] = memory[0 if self.training else -1]
        return self

    def outputs(self, shape):
        """An array for each block, for what a stage's forward gives: kept in training, handed on at inference."""
        return self.arrays(shape) if self.training else self.gradients(shape)

    def gradients(self, shape):
        """An array for each block, for what a stage's backward gives, which is handed on."""
        memory = self.handed_on.pop(len(self.stages) - 1, None)
        if memory is None:
            return self.arrays(shape)
        return self.scratch((memory, "handed on"), shape, None, self.apart, common=True)

    def part(self, size):
        """Begin and end of this worker's part of `size` things."""
        return self.index * size // self.num_workers, (self.index + 1) * size // self.num_workers

    def each(self, parts, work, *given):
        """work(part, *given) for every part; no part reads what another one writes. Where samples are fewer than
        workers, these share the parts."""
        for part in parts:
            work(part, *given)

    def multiply(self, a, b, out):
        """np.matmul(a, b, out=out); a column by a row through np.dot, which takes a quarter of the time."""
        return (np.dot if a.ndim == 2 and a.shape[1] == 1 else np.matmul)(a, b, out=out)


class Buffers:
    """Arrays that live as long as a worker, in one piece (a large one has huge pages); those of a key share it. Sizes
    are learned by building all twice, first with arrays over each other: a process keeps part of what it gives back."""

    def __init__(self, dtype):
        self.dtype, self.sizes, self.places = np.dtype(dtype), {}, {}
        self.memory, self.trial = None, np.empty(0, self.dtype)

    def array(self, key, shape, dtype=None):
        """An array of that shape; what is in it at first is undefined."""
        dtype, begin, count = np.dtype(dtype or self.dtype), self.places.get(key, 0), math.prod(shape)
        size = -(-count * dtype.itemsize // self.dtype.itemsize)
        if self.memory is None:
            self.sizes[key] = max(self.sizes.get(key, 0), size)
            self.trial = self.trial if size <= len(self.trial) else np.empty(2 * size, self.dtype)
        memory = self.trial if self.memory is None else self.memory
        return memory[begin : begin + size].view(dtype)[:count].reshape(shape)

    def settle(self):
        """Take the memory for all that was asked for; from now on arrays are parts of it."""
        end = 0
        for key, size in self.sizes.items():  # 64 bytes apart, and not at multiples of 4096, which share a cache set
            self.places[key], end = end, end + -(-size // 16) * 16 + 48
        memory = np.empty(end + 16, self.dtype)
        self.memory, self.trial = memory[-memory.ctypes.data % 64 // self.dtype.itemsize :], memory[:0]


def softmax(x, axis):
    """exp(x) / sum of exp(x) along `axis`; the maximum is taken out first, so that nothing overflows."""
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def answer(make, shares=None):
    """`python MODULE.py --weights FILE X.npy...` prints what the network says of each sample, and ends here.

    A file has x (N, ...), bytes or floats, or a single sample; one channel may be left out. make: the network's class.
    shares: outputs (N, K) -> probabilities of the classes; None prints the outputs themselves.
    """
    import argparse

    parser = argparse.ArgumentParser(description="What the network says of samples; without arguments, it trains.")
    parser.add_argument("--weights", metavar="FILE", help="as training or `save` leaves it")
    parser.add_argument("samples", metavar="X.npy", nargs="*", help="samples, or a single one; of a .npz its `x`")
    given = parser.parse_args()
    if not given.weights and not given.samples:
        return
    model = make()
    try:
        model.load(given.weights or parser.error("--weights FILE is missing"))
        for path in given.samples or parser.error("the files of samples are missing"):
            x = np.load(path)
            x = x if isinstance(x, np.ndarray) else x["x"]
            is_short = model.input_shape in (x.shape, (1, *x.shape), (1, *x.shape[1:]))
            y = model.outputs(x.reshape(-1, *model.input_shape) if is_short else x)
            for i, row in enumerate(y if shares is None else shares(y)):
                said = f"class {row.argmax()}, probability {row.max():.6f}" if shares else row
                print(f"{path} {i}: {said}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(str(error))
    raise SystemExit


Model = fast(Mnist1dGru)


if __name__ == "__main__":
    answer(Model, lambda y: softmax(y, axis=1))
    # A training run on made-up data, to show that the network learns.
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, 256)
    patterns = rng.standard_normal((10, *INPUT_SHAPE))  # one for each class
    x = (patterns[y] + rng.standard_normal((256, *INPUT_SHAPE))).astype(np.float32)
    model = Model(seed=0)
    for epoch in range(1, 6):
        (loss,) = model.fit(x, y, epochs=1, batch=32, seed=epoch)
        print(f"epoch {epoch}: loss {loss:.4f}, accuracy {model.score(x, y):.3f}")
