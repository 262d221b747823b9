"""BnCnn in NumPy, 1x28x28 -> 10, 468,138 parameters. Written by `netdsl compile -O2`; needs numpy and nothing else.

    layer       output    parameters      layer       output    parameters
    conv1       32x28x28         288      conv4       64x14x14      36,864
    bn1         32x28x28          64      bn4         64x14x14         128
    relu1       32x28x28                  relu4       64x14x14
    conv2       32x28x28       9,216      pool2       64x7x7
    bn2         32x28x28          64      dropout2d2  64x7x7
    relu2       32x28x28                  flatten1    3136
    pool1       32x14x14                  linear1     128          401,408
    dropout2d1  32x14x14                  bn5         128              256
    conv3       64x14x14      18,432      relu5       128
    bn3         64x14x14         128      dropout1    128
    relu3       64x14x14                  linear2     10             1,290

Every layer, or a few together, is a stage: an object with its buffers, a forward and a backward. Inside, maps are
(H, W, n, C), n the samples of a block; x, params and gradients have PyTorch's shapes. Workers, threads, share
the batch: each has stages of its own, and they wait for each other where a batch norm needs all samples, and around the
optimizer. Read on: the network and why it has its stages, these in the order of their use, then what trains it, `fast`.
"""

import ctypes
import dataclasses
import json
import math
import os
import queue
import sys
import threading
import weakref
import zipfile

import numpy as np

INPUT_SHAPE = (1, 28, 28)
NUM_PARAMETERS = 468_138
OUTPUTS, LOGITS, GRADIENTS, BACKWARD, UPDATE, STEP = range(6)


class BnCnn:
    """(N, 1, 28, 28) -> (N, 10)."""

    input_shape, logits_shape = INPUT_SHAPE, (10,)
    learning_rate = 0.002
    block = 32  # samples at a time, at most

    def draws(self):
        """For each dropout its layer, its kernel, the shape of a sample and its share."""
        return (
            ("dropout2d1", dropout2d_forward, (32, 14, 14), 0.25),
            ("dropout2d2", dropout2d_forward, (64, 7, 7), 0.25),
            ("dropout1", dropout_forward, (128,), 0.5),
        )

    def first_params(self, rng, dtype):
        """The params before training, by PyTorch's names and in its shapes."""
        return {
            "conv1.weight": he(rng, (32, 1, 3, 3), 9, 288, dtype),
            "bn1.weight": np.ones(32, dtype),
            "bn1.bias": np.zeros(32, dtype),
            "conv2.weight": he(rng, (32, 32, 3, 3), 288, 288, dtype),
            "bn2.weight": np.ones(32, dtype),
            "bn2.bias": np.zeros(32, dtype),
            "conv3.weight": he(rng, (64, 32, 3, 3), 288, 576, dtype),
            "bn3.weight": np.ones(64, dtype),
            "bn3.bias": np.zeros(64, dtype),
            "conv4.weight": he(rng, (64, 64, 3, 3), 576, 576, dtype),
            "bn4.weight": np.ones(64, dtype),
            "bn4.bias": np.zeros(64, dtype),
            "linear1.weight": he(rng, (128, 3136), 3136, 128, dtype),
            "bn5.weight": np.ones(128, dtype),
            "bn5.bias": np.zeros(128, dtype),
            "linear2.weight": he(rng, (10, 128), 128, 10, dtype),
            "linear2.bias": np.zeros(10, dtype),
        }

    def first_buffers(self, dtype):
        """What batch norms carry along, before training."""
        return {
            "bn1.running_mean": np.zeros(32, dtype),
            "bn1.running_var": np.ones(32, dtype),
            "bn2.running_mean": np.zeros(32, dtype),
            "bn2.running_var": np.ones(32, dtype),
            "bn3.running_mean": np.zeros(64, dtype),
            "bn3.running_var": np.ones(64, dtype),
            "bn4.running_mean": np.zeros(64, dtype),
            "bn4.running_var": np.ones(64, dtype),
            "bn5.running_mean": np.zeros(128, dtype),
            "bn5.running_var": np.ones(128, dtype),
        }

    def loss(self, logits, target):
        """Logits and labels or probabilities -> mean loss, dlogits."""
        return cross_entropy(logits, target)

    def train_stages(self, w):
        """What worker w computes with, in training."""
        s = Stages()
        s.input = Input(w, (1, 28, 28))
        # rows of windows: est. 49 us a sample of a step (patches: 192)
        s.conv1 = RowConv(w.into(0), "conv1", ConvGeometry((1, 28, 28), 32, (3, 3), padding=((1, 1), (1, 1))), epilogue=Epilogue(sums=True), dx=False)
        s.bn1 = BatchNorm(w, "bn1", (32, 28, 28), sums=s.conv1, relu=True)
        # Winograd along H, 7 rows: est. 470 us a sample of a step (Winograd, 4x4 tiles: 511)
        s.conv2 = WinogradRows(w.into(1), "conv2", ConvGeometry((32, 28, 28), 32, (3, 3), padding=((1, 1), (1, 1))), 7, epilogue=Epilogue(sums=True))
        s.bn2 = BatchNorm(w.into(0), "bn2", (32, 28, 28), sums=s.conv2)
        s.pool1 = PairPool(w.into(0), (32, 28, 28), (2, 2), relu=True)
        s.dropout2d1 = Factor(w, "dropout2d1")
        # Winograd along H, 7 rows: est. 209 us a sample of a step (Fourier, whole plane: 270; Winograd, 4x4 tiles: 274)
        s.conv3 = WinogradRows(w.into(1), "conv3", ConvGeometry((32, 14, 14), 64, (3, 3), padding=((1, 1), (1, 1))), 7, epilogue=Epilogue(sums=True))
        s.bn3 = BatchNorm(w, "bn3", (64, 14, 14), sums=s.conv3, relu=True)
        # Winograd along H, 7 rows: est. 356 us a sample of a step (Winograd, 4x4 tiles: 432; Winograd, 3x3 tiles: 462)
        s.conv4 = WinogradRows(w.into(0), "conv4", ConvGeometry((64, 14, 14), 64, (3, 3), padding=((1, 1), (1, 1))), 7, epilogue=Epilogue(sums=True))
        s.bn4 = BatchNorm(w.into(0), "bn4", (64, 14, 14), sums=s.conv4)
        s.pool2 = PairPool(w.into(1), (64, 14, 14), (2, 2), relu=True)
        s.dropout2d2 = Factor(w, "dropout2d2")
        s.flatten1 = Flatten(w.into(0), (64, 7, 7))
        s.linear1 = Linear(w.into(1), "linear1", 128)
        s.bn5 = BatchNorm(w, "bn5", (128,), relu=True)
        s.dropout1 = Factor(w, "dropout1")
        s.linear2 = Linear(w.into(0), "linear2", 10)
        return s

    def infer_stages(self, w):
        """The same at inference: batch norms are part of convolutions."""
        s = Stages()
        s.input = Input(w, (1, 28, 28))
        s.conv1 = RowConv(w.into(0), "conv1", ConvGeometry((1, 28, 28), 32, (3, 3), padding=((1, 1), (1, 1))), epilogue=Epilogue(norm=("bn1", 1e-05), relu=True))
        s.conv2 = WinogradRows(w.into(1), "conv2", ConvGeometry((32, 28, 28), 32, (3, 3), padding=((1, 1), (1, 1))), 7, epilogue=Epilogue(bias=False, norm=("bn2", 1e-05)))
        s.pool1 = PairPool(w.into(0), (32, 28, 28), (2, 2), conv=s.conv2, relu=True)
        s.conv3 = WinogradRows(w.into(1), "conv3", ConvGeometry((32, 14, 14), 64, (3, 3), padding=((1, 1), (1, 1))), 7, epilogue=Epilogue(norm=("bn3", 1e-05), relu=True))
        s.conv4 = WinogradRows(w.into(0), "conv4", ConvGeometry((64, 14, 14), 64, (3, 3), padding=((1, 1), (1, 1))), 7, epilogue=Epilogue(bias=False, norm=("bn4", 1e-05)))
        s.pool2 = PairPool(w.into(1), (64, 14, 14), (2, 2), conv=s.conv4, relu=True)
        s.flatten1 = Flatten(w.into(0), (64, 7, 7))
        s.linear1 = Linear(w.into(1), "linear1", 128)
        s.bn5 = FrozenNorm(w.into(0), "bn5", (128,))
        s.linear2 = Linear(w.into(1), "linear2", 10)
        return s

    def train_forward(self, s, x):
        """One block: x (N, 1, 28, 28) -> what the loss reads (N, 10)."""
        x = s.input.forward(x)
        x = s.conv1.forward(x)  # (28, 28, n, 32)
        x = yield from s.bn1.forward(x)  # bn1 -> relu1
        x = s.conv2.forward(x)
        x = yield from s.bn2.forward(x)
        x = s.pool1.forward(x)  # relu2 -> pool1: (14, 14, n, 32)
        x = s.dropout2d1.forward(x)
        x = s.conv3.forward(x)  # (14, 14, n, 64)
        x = yield from s.bn3.forward(x)  # bn3 -> relu3
        x = s.conv4.forward(x)
        x = yield from s.bn4.forward(x)
        x = s.pool2.forward(x)  # relu4 -> pool2: (7, 7, n, 64)
        x = s.dropout2d2.forward(x)
        x = s.flatten1.forward(x)  # (n, 3136)
        x = s.linear1.forward(x)  # (n, 128)
        x = yield from s.bn5.forward(x)  # bn5 -> relu5
        x = s.dropout1.forward(x)
        return s.linear2.forward(x)  # (n, 10)

    def train_backward(self, s, dy):
        """The gradient by what `train_forward` gave -> those of the params."""
        dy = s.linear2.backward(dy)
        dy = s.dropout1.backward(dy)
        dy = yield from s.bn5.backward(dy)
        dy = s.linear1.backward(dy)
        dy = s.flatten1.backward(dy)
        dy = s.dropout2d2.backward(dy)
        dy = s.pool2.backward(dy)
        dy = yield from s.bn4.backward(dy)
        dy = s.conv4.backward(dy)
        dy = yield from s.bn3.backward(dy)
        dy = s.conv3.backward(dy)
        dy = s.dropout2d1.backward(dy)
        dy = s.pool1.backward(dy)
        dy = yield from s.bn2.backward(dy)
        dy = s.conv2.backward(dy)
        dy = yield from s.bn1.backward(dy)
        s.conv1.backward(dy)

    def infer_forward(self, s, x):
        """As `train_forward`, at inference."""
        x = s.input.forward(x)
        x = s.conv1.forward(x)  # conv1 -> bn1 -> relu1: (28, 28, n, 32)
        x = s.conv2.forward(x)  # conv2 -> bn2
        x = s.pool1.forward(x)  # relu2 -> pool1: (14, 14, n, 32)
        x = s.conv3.forward(x)  # conv3 -> bn3 -> relu3: (14, 14, n, 64)
        x = s.conv4.forward(x)  # conv4 -> bn4
        x = s.pool2.forward(x)  # relu4 -> pool2: (7, 7, n, 64)
        x = s.flatten1.forward(x)  # (n, 3136)
        x = s.linear1.forward(x)  # (n, 128)
        x = s.bn5.forward(x)  # bn5 -> relu5
        return s.linear2.forward(x)  # (n, 10)

    def forward(self, x, training=False):
        """x (N, 1, 28, 28) -> y (N, 10)."""
        return self.logits(x, training)

    def optimize(self, params, grads, state, lr):
        """One step of the optimizer, in place."""
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


class ConvStage(Stage):
    """A convolution of x (H, W, n, C) to y (Ho, Wo, n, F)."""

    room = None  # where weights lie that a batch norm is in, if not in new memory

    def prepare(self, w, name, g, epilogue, dx):
        self.start(w)
        self.name, self.shape, self.channels, self.filters = name, g.shape, g.shape[0], g.filters
        self.has_dx = dx  # whether anything needs the gradient by x
        self.kernel_size, self.stride, self.padding = g.kernel_size, g.stride, g.padding
        self.out_size, self.norm, self.has_norm, self.behind = g.out_size, epilogue.norm, epilogue.sums, None
        self.weight = w.params[name + ".weight"].reshape(*g.kernel_size, -1, g.filters)  # of a signal, too: K is Kx1
        self.bias = w.params.get(name + ".bias")
        if self.norm is not None:
            self.stored, self.scale, self.bias = self.weight, np.ones(g.filters, w.dtype), np.zeros(g.filters, w.dtype)
        self.adds_bias = epilogue.bias and self.bias is not None
        self.adds_map, self.ends_in_relu, self.bounds = epilogue.plus, epilogue.relu, epilogue.clip
        self.ends = self.ends_in_relu or self.bounds is not None
        self.has_epilogue = self.adds_bias or self.ends or self.adds_map or self.has_norm
        if self.has_norm:
            self.totals = w.tallies((2, g.filters))

    def fold(self):
        """Makes, at inference, the scale and the bias that the batch norm behind this layer leaves to it."""
        if self.norm is None:
            return
        name, eps = self.norm
        params = self.w.params
        mean, var = params[name + ".running_mean"], params[name + ".running_var"]
        np.divide(1, np.sqrt(var + eps), out=self.scale)
        if name + ".weight" in params:
            self.scale *= params[name + ".weight"]
        own = params.get(self.name + ".bias")
        np.multiply(self.scale, -mean if own is None else own - mean, out=self.bias)
        if name + ".bias" in params:
            self.bias += params[name + ".bias"]

    def refresh(self):
        """Makes the weights that this worker computes with."""
        self.fold()
        if self.norm is not None:
            self.weight = np.multiply(self.stored, self.scale, out=self.room)

    def complete(self, y, has_bias=False):
        """To y (rows, Wo, n, F) come the bias, if it has none yet, another map, and what stands at the end; then its
        sums are taken."""
        if not self.has_epilogue:
            return
        rows = wide_rows(y)
        bias = repeated(self.bias, rows.shape[2]) if self.adds_bias and not has_bias else None
        for band in bands(y, 1 << 16):
            if bias is not None:
                rows[band] += bias
            if self.ends_in_relu:
                relu(rows[band], rows[band])
            if self.has_norm:
                self.totals[self.w.block][0] += moments_by_channel(y[band], y[band])

    def work_for(self, norm):
        """The batch norm behind, which takes the sums, leaves to this stage to make dy."""
        self.behind = norm

    def take_sums(self):
        """The sums of y and of y * y of this block, (2, F); they begin at 0 again."""
        return take(self.totals[self.w.block])

    def bias_gradient(self, dy):
        """dy (Ho, Wo, n, F) becomes the gradient by the sums over windows, and the bias gets its own."""
        if (self.has_norm and self.behind is not None) or self.ends or self.adds_bias:
            self.gradient_of_rows(slice(0, len(dy)), dy)

    def gradient_of_rows(self, rows, dy):
        """Rows of dy (Ho, Wo, n, F), band by band."""
        for band in bands(dy, within=rows):
            self.gradient_of_sums(dy, band)

    def gradient_of_sums(self, dy, band):
        """Rows of dy (Ho, Wo, n, F) become the gradient by the sums over windows: by what the batch norm behind was
        given, then in front of what stands at the end."""
        if self.has_norm and self.behind is not None:
            self.behind.give_rows(band, dy, self.behind.rows_back)


@dataclasses.dataclass(frozen=True)
class Epilogue:
    """What a convolution makes of its sums while they are in the cache: y = relu(sums * scale + bias + plus)."""

    bias: bool = True  # whether it adds its own; else the next stage does
    norm: tuple[str, float] | None = None  # (name, eps) of a batch norm: at inference the scale and part of the bias
    plus: bool = False  # whether forward is given another map, at inference
    relu: bool = False
    clip: tuple[float, float] | None = None  # between which two numbers y is kept
    sums: bool = False  # whether it adds up y and y * y for the batch norm behind it


class RowConv(ConvStage):
    """A convolution of few channels. Windows overlap along W only: for every row of x the numbers that each column of
    a window sees lie together, (H, Kw, C, Wo*n), so that what a row of y sees is a block of Kh such rows, and the
    rows of the matrix product need no further copies."""

    def __init__(self, w, name, geometry, epilogue=Epilogue(), dx=True):
        self.prepare(w, name, geometry, epilogue, dx)
        c, filters, (ho, wo), (kh, kw) = self.channels, self.filters, self.out_size, self.kernel_size
        shape, (height, width), (top, _), (left, _) = self.shape, geometry.padded_size, *self.padding
        self.rows_of_window = kh * kw * c
        inside = slice(top, top + shape[1]), slice(None), slice(left, left + shape[2])  # of (H, C, W, n) with zeros
        padded = w.frame(lambda n: (height, c, width, n), ("rows", self.padding, shape))
        self.columns = w.arrays(lambda n: (height, kw, c, wo, n))
        self.inside, self.seen = [one[inside] for one in padded], [self.columns_of(one) for one in padded]
        self.windows = [self.windows_of(columns) for columns in self.columns]
        self.y = w.outputs(lambda n: (ho, wo, n, filters))
        if w.training:
            self.grad_rows = w.grads[name + ".weight"].reshape(-1, filters)
            self.band = min(ho, max(8, (1 << 15) // (self.rows_of_window * filters)))
            self.parts = w.scratch("dweight", lambda n: (self.band, self.rows_of_window, filters))[0]

    def forward(self, x):
        """x (H, W, n, C) -> y (Ho, Wo, n, F)."""
        b, y = self.w.block, self.y[self.w.block]
        self.inside[b][...] = x.transpose(0, 3, 1, 2)
        self.columns[b][...] = self.seen[b]
        weight = self.weight.reshape(-1, self.filters)
        self.w.multiply(self.windows[b].swapaxes(1, 2), weight, y.reshape(len(y), -1, self.filters))
        self.complete(y)
        return y

    def columns_of(self, padded):
        """What the columns of a window see of (H, C, W, n), a view (H, Kw, C, Wo, n)."""
        seen = np.lib.stride_tricks.sliding_window_view(padded, self.kernel_size[1], 2, writeable=True)
        return seen.transpose(0, 4, 1, 2, 3)

    def windows_of(self, columns):
        """What each row of y sees, a view (Ho, Kh*Kw*C, Wo*n)."""
        row, _, one, _, item = columns.strides
        shape = (self.out_size[0], self.rows_of_window, columns.shape[3] * columns.shape[4])
        return np.lib.stride_tricks.as_strided(columns, shape, (row, one, item))

    def backward(self, dy):
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C) if anything needs it."""
        b = self.w.block
        self.bias_gradient(dy)
        rows, windows = dy.reshape(len(dy), -1, self.filters), self.windows[b]
        if b == 0:
            self.grad_rows[...] = 0
        for begin in range(0, len(dy), self.band):
            parts = self.parts[: len(dy) - begin]
            np.matmul(windows[begin : begin + self.band], rows[begin : begin + self.band], out=parts)
            self.grad_rows += parts.sum(axis=0)


def wide_rows(x, longest=8192):
    """x (H, W, n, C) -> a view (H, W/k, k*n*C), k pixels as one: a loop over 100 numbers takes twice its time. Other
    arrays, and maps whose columns lie apart: (..., n*C)."""
    *space, n, channels = x.shape
    pixels = n * channels
    if len(space) != 2 or x.strides[1] != pixels * x.itemsize:
        return x.reshape(*space, pixels)
    k = max(1, min(space[1], longest // pixels))
    while space[1] % k:
        k -= 1
    return x.reshape(space[0], -1, k * pixels)


def bands(x, numbers=32768, within=slice(None)):
    """x (H, W, n, C) -> slices of its rows, of those `within` a slice, so that several passes over one of them stay in
    the cache; of other arrays one of all."""
    if x.ndim < 4:
        return [within]
    begin, end, _ = within.indices(len(x))
    rows = max(1, numbers * len(x) // max(x.size, 1))
    return [slice(i, min(i + rows, end)) for i in range(begin, end, rows)]


def take(tally):
    """Rows of sums (K, ...) -> their sum (...); they begin at 0 again."""
    sums = np.add.reduce(tally)
    tally[...] = 0
    return sums


def repeated(a, size):
    """a (C,) -> (size,), again and again, in 1 us; np.resize takes 20 to 50."""
    out = np.empty((size // len(a), len(a)), a.dtype)
    out[...] = a
    return out.reshape(-1)


def relu(x, out):
    """x (..., C) -> max(x, 0), written to `out`; both lie in one piece along samples and channels. NumPy takes a third
    of the time for the maximum of two arrays that it takes for that of an array and a number."""
    rows, made = (array.reshape(*array.shape[:-2], -1) for array in (x, out))
    np.maximum(rows, np.zeros(rows.shape[-1], x.dtype), out=made)
    return out


def moments_by_channel(a, b, longest=1024):
    """Bands a and b (..., C) that lie in the cache -> the sums of a and of a * b over all but the channels, (2, C), in
    float64."""
    pixels = beside(a, longest)
    a, b = (x.reshape(-1, pixels * x.shape[-1]) for x in (a, b))
    sums = np.empty((2, a.shape[1]), a.dtype)
    sums[0] = np.dot(np.ones(len(a), a.dtype), a)
    sums[1] = np.einsum("ij,ij->j", a, b)
    return sums.reshape(2, pixels, -1).sum(axis=1, dtype=np.float64)


def beside(a, longest):
    """How many of the pixels of a (..., C) are as good as one: a power of 2 that divides them."""
    return math.gcd(a.size // a.shape[-1], 1 << max(1, longest // a.shape[-1]).bit_length() - 1)


@dataclasses.dataclass(frozen=True)
class ConvGeometry:
    """The windows of a convolution of x, along every axis of space."""

    shape: tuple[int, ...]  # of x, (C, *space)
    filters: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...] = (1, 1)  # from one window to the next
    padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0))  # zeros before and behind x

    @property
    def padded_size(self):
        """The space of x with its zeros."""
        return tuple(n + before + behind for n, (before, behind) in zip(self.shape[1:], self.padding, strict=True))

    @property
    def out_size(self):
        """How many windows there are along each axis."""
        return tuple(n - k + 1 for n, k in zip(self.padded_size, self.kernel_size, strict=True))


class BatchNorm(Stage):
    """Normalises the whole batch over all workers (Ioffe & Szegedy 2015), in training only; may add another map (plus),
    and end in a relu or between two bounds.

    x is a map or a vector. Both passes need sums over the whole batch: they are generators that wait for them, between
    two walks over the map each. sums: the convolution that makes x; it does the first walk while it makes x, and the
    last as it needs dx. `reader`, if there is one, does those over y and dy.
    """

    band = 1 << 16  # numbers that stay in the cache while several passes go over them

    def __init__(self, w, name, shape, eps=1e-5, momentum=0.1, sums=None, relu=False):
        self.start(w)
        self.name, self.eps, self.momentum, self.channels = name, eps, momentum, shape[0]
        self.conv, self.ends_in_relu = sums, relu
        self.reader = None
        self.gives = sums is None or w.splits  # else the convolution in front does the last walk
        if sums is not None and not self.gives:
            sums.work_for(self)
        self.moments = w.shared((name, "moments"), (w.network.num_workers, 3, shape[0]), np.float64)
        self.sums = w.shared((name, "sums"), (w.network.num_workers, 2, shape[0]), np.float64)
        self.weight, self.bias = w.params.get(name + ".weight"), w.params.get(name + ".bias")
        self.running_mean, self.running_var = (w.params[f"{name}.running_{what}"] for what in ("mean", "var"))
        self.x = [None] * len(w.sizes)
        self.is_shifted, self.rows = self.x[:], self.x[:]
        self.taken = w.tallies((2, shape[0]))
        self.numbers, self.guesses = w.arrays(lambda n: (3, shape[0])), w.arrays(lambda n: (1, shape[0]))
        # Of the two the one that backward reads no more is handed on: y, or where it adds a map dx, which lies apart.
        self.y = w.gradients(lambda n: inside(shape, n))
        self.part = w.scratch("band", lambda n: (max(self.band, n * int(np.prod(shape[2:])) * shape[0]),))
        self.mask = w.scratch("mask", lambda n: (n * math.prod(shape),), np.bool_)
        self.count = w.n * int(np.prod(shape[1:]))

    def power_sums(self, x):
        """x (..., C) -> the sums of x and of x * x, (2, C)."""
        sums = np.zeros((2, self.channels))
        for band in bands(x, self.band):
            sums += moments_by_channel(x[band], x[band])
        return sums

    def measure(self, x, y, moments):
        """x (..., C) of a block -> moments (3, C), how many numbers there are, their mean, and their squares around it;
        keeps the guess that it took them around. The guess is 0. But where the square of the mean is over ten times the
        variance, which would then be what is left of two large sums, the guess is the mean, and y is x - guess."""
        b, n = self.w.block, x.size // self.channels
        mean, squares = (self.power_sums(x) if self.conv is None else self.conv.take_sums()) / n
        self.is_shifted[b], self.guesses[b][...] = bool((11 * mean * mean > 10 * squares).any()), 0
        if self.is_shifted[b]:
            self.guesses[b][...] = mean
            mean, squares = self.power_sums(np.subtract(x, self.guesses[b], out=y)) / n
        squares -= mean * mean
        moments[0], moments[2] = n, n * np.maximum(squares, 0, out=squares)
        np.add(mean, self.guesses[b][0], out=moments[1])

    def forward(self, x):
        """A generator: x (H, W, n, C) or (n, C), and another of that shape if it adds one -> y of that shape."""
        b = self.w.block
        if self.count == 1:
            raise ValueError("batch norm needs more than one value for each channel in training: use a larger batch")
        self.x[b], y, so_far = x, self.y[b], self.moments[self.w.index]
        moments = so_far if b == 0 else np.empty_like(so_far)
        self.measure(x, y, moments)
        if b:
            so_far[...] = joined(np.stack([so_far, moments]))
        yield
        _, self.mean, squares = joined(self.moments[: self.w.num_workers])
        var, numbers, given = squares / self.count, self.numbers[b], y if self.is_shifted[b] else x
        self.inv_std = 1 / np.sqrt(var + self.eps)
        if self.w.index == 0 and b == 0:
            self.running_mean += self.momentum * (self.mean - self.running_mean)
            self.running_var += self.momentum * (var * (self.count / (self.count - 1)) - self.running_var)
        self.factor = self.weight * self.inv_std
        numbers[0], self.taken[b][...] = self.factor, 0
        np.multiply(self.guesses[b][0] - self.mean, self.factor, out=numbers[1])
        numbers[1] += self.bias
        if self.reader is None:
            for part in self.parts_of(y):
                self.fill_part(part, given, numbers)
        else:
            self.rows[b] = rows_for(y, numbers[:2], given)
        return y

    def parts_of(self, x):
        """The rows of a map (H, W, n, C) that each worker has."""
        return [slice(0, len(x))] if x.ndim == 4 else [slice(None)]

    def fill_part(self, part, x, numbers):
        """Rows of y: x times the first of the numbers, and the second, and another map."""
        rows = rows_for(self.y[self.w.block], numbers[:2], x)
        self.fill_rows(part, rows)

    def fill_rows(self, rows, given):
        """Rows of y, given what `rows_for` made of it, of x and of the numbers."""
        for band in bands(self.y[self.w.block], self.band, rows):
            part = scale_rows(given, band)
            if self.ends_in_relu:
                relu(part, part)

    def backward(self, dy):
        """A generator: dy (H, W, n, C) or (n, C) -> dx, in its place. If it adds another map, dx lies apart, and in the
        place of dy is the gradient by that map.

        dx = inv_std * (g - mean(g) - x_hat * mean(g * x_hat)), g = dy * weight, means over the whole batch.
        """
        b, numbers, so_far = self.w.block, self.numbers[self.w.block], self.sums[self.w.index]
        guess = self.guesses[b] if self.is_shifted[b] else None
        if self.reader is None:
            for part in self.parts_of(dy):
                self.take_part(part, dy, self.x[b], guess)
        sums = take(self.taken[b])
        sums[1] -= (self.mean - self.guesses[b][0]) * sums[0]
        sums[1] *= self.inv_std
        so_far[...] = sums if b == 0 else so_far + sums
        self.add_gradient(self.name + ".bias", sums[0])
        self.add_gradient(self.name + ".weight", sums[1])
        yield
        dbias, products = np.add.reduce(self.sums[: self.w.num_workers])
        factor = self.factor / -self.count
        slope = factor * self.inv_std * products
        numbers[0], numbers[1], numbers[2] = self.factor, slope, factor * dbias - slope * self.mean
        dx = dy
        if self.gives:
            for part in self.parts_of(dy):
                self.give_part(part, dx, dy, self.x[b], numbers)
        else:
            self.rows_back = rows_for(dx, numbers, dy, self.x[b])
        return dx

    def take_part(self, rows, dy, x, guess):
        """As `take_gradient`, of x (H, W, n, C) less the guess (1, C), if there is one."""
        b = self.w.block
        y, sums = self.y[b], self.taken[b][0]
        for band in bands(dy, self.band, rows):
            if self.ends_in_relu:
                stop_negative(dy[band], y[band], self.mask[b])
            part = x[band]
            if guess is not None:
                part = np.subtract(part, guess, out=self.part[b][: part.size].reshape(part.shape))
            sums += moments_by_channel(dy[band], part)

    def give_part(self, rows, dx, dy, x, numbers):
        """Rows of dx (H, W, n, C), by what it multiplies dy and x with and adds."""
        self.give_rows(rows, dx, rows_for(dx, numbers, dy, x))

    def give_rows(self, rows, dx, given):
        """Rows of dx (H, W, n, C), given what `rows_for` made of it, of dy, of x and of the numbers."""
        wide, dy, x, factor, slope, shift = given
        for band in bands(dx, self.band, rows):
            row = np.multiply(dy[band], factor, out=wide[band])
            part = np.multiply(x[band], slope, out=self.part[self.w.block][: row.size].reshape(row.shape))
            part += shift
            row += part


def joined(moments):
    """Moments of K parts (K, 3, C) -> of all of them (3, C): how many numbers there are, their mean, and their squares
    around it, summed (Chan et al. 1979)."""
    if len(moments) == 1:
        return moments[0]
    n, mean, squares = moments.transpose(1, 0, 2)
    total = n.sum(axis=0)
    middle = (n * mean).sum(axis=0) / total
    return np.stack([total, middle, (squares + n * (mean - middle) ** 2).sum(axis=0)])


def rows_for(y, numbers, *xs):
    """The wide rows of y (..., C) and of each x of that shape, and each of the numbers (K, C) as long as those."""
    rows = wide_rows(y)
    wide = np.empty((len(numbers), rows.shape[-1] // numbers.shape[1], numbers.shape[1]), y.dtype)
    wide[...] = numbers[:, None]
    return rows, *(x.reshape(rows.shape) for x in xs), *wide.reshape(len(numbers), -1)


def scale_rows(rows, band):
    """y = factor * x + shift in a band of the rows of y, x, factor and shift -> that band of y."""
    y, x, factor, shift = rows
    part = np.multiply(x[band], factor, out=y[band])
    part += shift
    return part


def inside(shape, n):
    """The sizes of n samples as stages keep them: (H, W, n, C) of maps, else (n, *shape)."""
    return (*plane(shape[1:]), n, shape[0]) if is_map(shape) else (n, *shape)


def is_map(shape):
    """Whether a value of these sizes is a map, (C, H, W) or (C, D, H, W); signals are (C, L, 1) here."""
    return len(shape) >= 3


def stop_negative(dy, y, mask):
    """The gradient of a relu that gave y (..., C) stops: dy stays where y is above 0. mask: scratch, flat."""
    mask = mask[: y.size].reshape(y.shape)
    np.greater(y, 0, out=mask)
    np.multiply(dy, mask, out=dy)


class WinogradRows(ConvStage):
    """Convolution by Winograd's F(tile, kernel height) along H, and by the plain sum over the taps along W.

    With the matrices of `strided_toom_cook`, at each point a product over the channels,
    y[:, j] = output @ (sum over k of (data @ x)[:, j * stride + k - left] (weight @ w)[:, k]), for a row of tiles after
    the other, in strips of columns short enough for the cache. One call makes the products of all taps, from views of
    the points that overlap, and `output` with each of its columns once for every tap adds them up. Every product goes
    the other way in the backward pass. That transforms the input once more: it takes no longer than to keep all of it.
    """

    strip_numbers = 1 << 13
    narrow = 64  # channels: of so few BLAS takes up to twice the time for a product with a transposed matrix

    def __init__(self, w, name, geometry, tile, epilogue=Epilogue(), dx=True):
        self.prepare(w, name, geometry, epilogue, dx)
        (c, height, width), f, (taps, columns) = self.shape, self.filters, self.kernel_size
        (top, _), (left, _), out_width, (down, step) = *self.padding, self.out_size[1], self.stride
        data, self.tw, output = w.constants(strided_toom_cook, tile, taps, down)
        self.tw_t = np.ascontiguousarray(self.tw.T)
        self.points = points = len(data)
        self.taps = taps_by_rest(width, columns, step, left)
        self.tiles = tiles_along(tile, down, height, self.out_size[0], top, data, output)
        self.outputs = [self.for_all_taps(matrix) for *_, matrix in self.tiles]
        self.u = w.shared(name, (points, columns * c * f))
        self.factors = self.u.reshape(points, columns, c, f)
        self.y = w.outputs(lambda n: (*self.out_size, n, f))
        longest, widest = max(width, out_width), max(c, f)
        numbers = max(self.strip_numbers, c * f)  # each strip reads all weights
        self.groups = [[slice(0, len(self.tiles))] for n in w.sizes]  # else groups meet two others
        self.longest = {n: min(longest, max(1, numbers // (n * widest))) for n in w.sizes}
        self.sums = self.rows_at("sums", points * columns + 1, lambda n: self.longest[n] * n * widest)
        self.seen = [out_width + t.count - 1 if t.count else 0 for t in self.taps]
        rooms = self.rows_at("v", points, lambda n: sum(self.seen) * n * c)
        self.v = [self.frames_of(*both) for both in zip(rooms, w.sizes, strict=True)]
        self.strips = [self.strips_of(b) for b in range(len(w.sizes))]
        if w.training:
            self.prepare_backward()

    def prepare_backward(self):
        """Arrays and strips for the backward pass, of dy (Ho, Wo, n, F)."""
        w, c, f, (height, width) = self.w, self.channels, self.filters, self.shape[1:]
        (taps, columns), out_width = self.kernel_size, self.out_size[1]
        self.x = [None] * len(w.sizes)
        before = max(0, *(t.count - 1 - t.before for t in self.taps))
        seen = max(out_width, *(t.before + t.size for t in self.taps))
        rooms = self.rows_at("z", self.points, lambda n: (before + seen) * n * f)
        self.z = [Frame(room, before, out_width, before + seen, n * f) for room, n in zip(rooms, w.sizes, strict=True)]
        self.dx = w.gradients(lambda n: (height, width, n, c))
        self.shared_rows = w.scratch("shared rows", lambda n: (taps * width * n * c,))
        self.du = w.scratch("du", lambda n: (self.points, c * f))[0]  # for one column of taps at a time
        own = w.grads[self.name + ".weight"]
        self.grad = own.reshape(taps, columns, c * f)
        self.grad_part = w.scratch("dweight", lambda n: (taps, c * f))[0]
        more = max(map(len, self.groups)) - 1
        self.more_grads = w.scratch("grads", lambda n: (more, taps, columns, c * f))
        self.rims = w.scratch("rims", lambda n: (more, taps, width, n * c))
        self.is_turned = self.has_dx and max(c, f) <= self.narrow
        self.factors_back = self.factors.swapaxes(2, 3)
        if self.is_turned:
            self.turned = w.shared((self.name, "turned"), (self.points, columns * f * c))
            self.factors_back = self.turned.reshape(self.points, columns, f, c)
        self.meetings = [self.meetings_of(b) for b in range(len(w.sizes))]
        self.strips_back = [[self.strips_to(t, b) for t in self.taps] for b in range(len(w.sizes))]

    def rows_at(self, key, rows, numbers):
        """Scratch for so many numbers a row; rows are no multiple of 4096 bytes apart."""
        arrays = self.w.scratch(key, lambda n: (rows, numbers(n) + 32))
        return [array[:, :-32] for array in arrays]

    def for_all_taps(self, matrix):
        """(rows, points) -> the same with each column for every tap, and one for the bias."""
        bias = [np.ones((len(matrix), 1), matrix.dtype)] * self.adds_bias
        return np.concatenate([*(np.repeat(matrix, t.count, axis=1) for t in self.taps), *bias], axis=1)

    def frames_of(self, room, n):
        """For each rest its columns of x at the points."""
        frames, q, end = [], n * self.channels, 0
        for t, seen in zip(self.taps, self.seen, strict=True):
            begin, end = end, end + seen * q
            before = min(t.before, seen)
            frames.append(Frame(room[:, begin:end], before, min(t.size, seen - before), seen, q))
        return frames

    def sums_of(self, b, begin, end, columns, channels):
        """Rows begin..end-1 of the scratch for sums, (rows, columns, n * channels)."""
        q = self.w.sizes[b] * channels
        return self.sums[b][begin:end, : columns * q].reshape(end - begin, columns, q)

    def products_of(self, frame, begin, taps, factors, sums):
        """What each tap gives: the first sees columns begin... of the frame. sums (points * taps, columns, Q)."""
        if not taps:
            return []
        given = frame.windows(begin, begin + sums.shape[1], taps, factors.shape[2])
        return [(given, factors, sums.reshape(*given.shape[:3], factors.shape[3]))]

    def strips_of(self, b):
        """The strips of the output."""
        strips, done = [], 0
        for begin, end in cuts(self.out_size[1], self.longest[self.w.sizes[b]]):
            fills, products, row = [], [], 0
            for t, frame in zip(self.taps, self.v[b], strict=True):
                fills.append(frame.fill(t.columns, done and done + t.count - 1, end + t.count - 1))
                first, row = row, row + self.points * t.count
                sums = self.sums_of(b, first, row, end - begin, self.filters)
                products += self.products_of(frame, begin, t.count, self.factors[:, t.taps], sums)
            every = self.sums_of(b, 0, row + self.adds_bias, end - begin, self.filters)
            strips.append(Strip(slice(begin, end), fills, products, every))
            done = end
        return strips

    def strips_to(self, t, b):
        """The strips of the gradient of the columns of a rest: its taps see dy in turn from the last to the first."""
        z, strips, rows = self.z[b], [], self.points * t.count
        first, factors = z.before + t.before - t.count + 1, self.factors_back[:, t.taps][:, ::-1]
        for begin, end in cuts(t.size, self.longest[self.w.sizes[b]]):
            sums = self.sums_of(b, 0, rows, end - begin, self.channels)
            products = self.products_of(z, first + begin, t.count, factors, sums)
            strips.append(Strip(slice(begin, end), [], products, sums))
        return strips

    def meetings_of(self, b):
        """(tap, what it sees of x, (points, C, M), the gradients there, (points, M, F)) for every tap along W."""
        met = []
        z, width = self.z[b], self.out_size[1]
        for t, frame in zip(self.taps, self.v[b], strict=True):
            for i, tap in enumerate(range(self.kernel_size[1])[t.taps]):
                low, high = max(0, frame.before - i), min(width, frame.before + frame.size - i)
                if low < high:
                    seen = frame.whole[:, low + i : high + i].reshape(self.points, -1, self.channels)
                    met.append((tap, seen.swapaxes(1, 2), z.inside[:, low:high].reshape(self.points, -1, self.filters)))
        return met

    def refresh(self):
        """Transform this worker's part of the weights."""
        self.fold()
        begin, end = self.w.part(self.u.shape[1])
        weight = self.weight.reshape(self.kernel_size[0], -1)[:, begin:end]
        if self.norm is not None:
            weight = weight * np.resize(self.scale, self.u.shape[1])[begin:end]
        product(self.tw, weight, self.u[:, begin:end])
        if self.w.training and self.is_turned:
            turned = self.weight.swapaxes(2, 3).reshape(self.kernel_size[0], -1)[:, begin:end]
            product(self.tw, turned, self.turned[:, begin:end])

    def forward(self, x):
        """x (H, W, n, C) -> y (Ho, Wo, n, F)."""
        rows = x.reshape(*x.shape[:2], -1)
        if self.w.training:
            self.x[self.w.block] = rows
        for part in self.groups[self.w.block]:
            self.forward_tiles(part, rows)
        return self.y[self.w.block]

    def forward_tiles(self, group, rows):
        """Some rows of tiles of x (H, W, n*C), and another map or None, to those of y."""
        b, y = self.w.block, self.y[self.w.block]
        out = y.reshape(*y.shape[:2], -1)
        if self.adds_bias:
            for strip in self.strips[b]:
                strip.sums[-1].reshape(-1, self.filters)[...] = self.bias
        for frame in self.v[b]:
            frame.clear()
        tiles, begin = self.tiles[group], self.tiles[group][0][0].start
        for (band, inputs, data, _), output in zip(tiles, self.outputs[group], strict=True):
            for strip in self.strips[b]:
                strip.fill(data, rows[inputs])
                strip.make()
                along_h(output, strip.sums, out[band, strip.place])
            if band is tiles[-1][0] or out[begin : band.stop].size >= 1 << 16:  # several small ones at a time
                done, begin = slice(begin, band.stop), band.stop
                self.complete(y[done], has_bias=True)

    def backward(self, dy):
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C) if anything needs it."""
        b = self.w.block
        self.bias_gradient(dy)
        self.has_gradient = b > 0
        if not self.has_gradient:
            self.grad[...] = 0
        dx, groups = self.dx[b].reshape(*self.shape[1:], -1), self.groups[b]
        for part in range(len(groups)):
            self.backward_tiles(part, dy.reshape(*dy.shape[:2], -1), self.x[b])
        for number, group in enumerate(groups[1:]):
            self.grad += self.more_grads[b][number]
            rim = slice(self.tiles[group.start][1].start, self.covered(group.start))
            dx[rim] += self.rims[b][number, : rim.stop - rim.start]
        dx[self.covered(len(self.tiles)) :] = 0
        return self.dx[b]

    def covered(self, count):
        """How many rows of dx the first tiles, so many, give something to."""
        return max((inputs.stop for _, inputs, *_ in self.tiles[:count]), default=0)

    def backward_tiles(self, number, rows, x):
        """One group of rows of tiles: rows, of dy (Ho, Wo, n*F), to dx, and with x (H, W, n*C) to the gradient of the
        weights. All but the first put aside what others give something to, too: the gradient, and first rows of dx."""
        b, group, grad = self.w.block, self.groups[self.w.block][number], self.grad
        dx, z = self.dx[b].reshape(*self.shape[1:], -1), self.z[b]
        for frame in (z, *self.v[b]):
            frame.clear()
        if number:
            grad = self.more_grads[b][number - 1]
            grad[...] = 0
        for i, (band, inputs, data, output) in enumerate(self.tiles[group], group.start):
            along_h(output.T, rows[band], z.inside)
            self.add_tile_gradient(data, x[inputs], grad)
            covered = self.covered(i)
            dx[covered : inputs.start] = 0
            rim = self.rims[b][number - 1] if number and i == group.start else None
            self.add_dx(dx, min(max(covered, inputs.start), inputs.stop), inputs, data.T, rim)

    def add_dx(self, dx, covered, inputs, data_t, rim):
        """What a row of tiles sends back: its first rows are added to those that have something (covered) already, or
        put aside in `rim`."""
        b, overlap = self.w.block, covered - inputs.start
        for t, strips in zip(self.taps, self.strips_back[b], strict=True):
            matrix = np.repeat(data_t, t.count, axis=1)
            target = dx[inputs, t.columns]
            for strip in strips:
                strip.make()
                part = target[:, strip.place]
                along_h(matrix[overlap:], strip.sums, part[overlap:])
                if overlap:
                    added = self.shared_rows[b][: overlap * part[0].size].reshape(overlap, *part.shape[1:])
                    along_h(matrix[:overlap], strip.sums, added)
                    if rim is None:
                        part[:overlap] += added
                    else:
                        rim[:overlap, t.columns][:, strip.place] = added

    def add_tile_gradient(self, data, x, grad):
        """One row of tiles: for each tap a product of what met there, and back from the points to the weights, added to
        `grad`."""
        b, du = self.w.block, self.du.reshape(self.points, self.channels, self.filters)
        for t, frame in zip(self.taps, self.v[b], strict=True):
            columns, out = frame.fill(t.columns, 0, frame.before + frame.size)
            along_h(data, x[:, columns], out)
        for tap, seen, given in self.meetings[b]:
            np.matmul(seen, given, out=du)
            product(self.tw_t, self.du, self.grad_part)
            grad[:, tap] += self.grad_part


def strided_toom_cook(tile, taps, stride, dtype):
    """F(tile, taps) with a stride, a convolution of one axis -> data (points, inputs), weight (points, taps), output
    (tile, points), of (tile - 1) * stride + taps inputs."""
    inputs = (tile - 1) * stride + taps
    parts = [toom_cook(tile, len(range(phase, taps, stride)), dtype) for phase in range(min(stride, taps))]
    points = sum(len(part[0]) for part in parts)
    data, weight = np.zeros((points, inputs), dtype), np.zeros((points, taps), dtype)
    begin = 0
    for phase, (part, part_weight, _) in enumerate(parts):
        rows = slice(begin, begin + len(part))
        data[rows, phase::stride][:, : part.shape[1]] = part
        weight[rows, phase::stride] = part_weight
        begin = rows.stop
    return data, weight, np.concatenate([output for _, _, output in parts], axis=1)


def toom_cook(tile, taps, dtype):
    """F(tile, taps), a convolution of one axis -> data (points, tile + taps - 1), weight (points, taps), output (tile,
    points): y = output @ ((data @ x) * (weight @ w)).

    By the method of Toom and Cook: polynomials are multiplied by their values at 0, pairs +-a, and infinity. Pairs lie
    around 1, as a and 1/a, which balances the sizes of the entries. One tap needs no algorithm.
    """
    if taps == 1:
        return np.eye(tile, dtype=dtype), np.ones((tile, 1), dtype), np.eye(tile, dtype=dtype)
    size = tile + taps - 1
    pairs = ((), (1.0,), (0.5**0.5, 2**0.5), (1.0, 0.5, 2.0), (0.45, 1 / 0.45, 0.8, 1 / 0.8))[(size - 1) // 2]
    a = np.array([0.0, *(sign * p for p in pairs for sign in (1, -1))])[: size - 1]
    scale = np.array([np.prod([a[i] - a[j] for j in range(size - 1) if j != i]) for i in range(size - 1)])
    weight, output = np.zeros((size, taps)), np.zeros((tile, size))
    weight[:-1] = a[:, None] ** np.arange(taps) / scale[:, None]
    output[:, :-1] = a[None, :] ** np.arange(tile)[:, None]
    weight[-1, -1] = output[-1, -1] = 1
    # Of `data` the sum over i of output[k, i] * weight[i, j] * data[i, l] is 1 where l = k + j, else 0.
    products = np.einsum("ki,ij->kji", output, weight).reshape(tile * taps, size)
    places = np.add.outer(np.arange(tile), np.arange(taps)).reshape(-1)
    data = np.linalg.lstsq(products, np.eye(size)[places], rcond=None)[0]
    return tuple(np.ascontiguousarray(matrix, dtype) for matrix in (data, weight, output))


def taps_by_rest(width, columns, step, left):
    """The taps of a kernel of so many columns for each rest modulo the stride."""
    every = []
    for rest in range(step):
        first = (rest + left) % step
        seen, taps = slice(rest, None, step), slice(first, None, step)
        size, count = len(range(width)[seen]), len(range(columns)[taps])
        every.append(Taps(seen, size, taps, count, -((first - left) // step)))
    return every


@dataclasses.dataclass(frozen=True)
class Taps:
    """The taps along W that see columns of x of one rest modulo the stride: `taps` of the kernel see `columns`, `size`
    of x. Output j sees with the first of `count` taps column j - before of them, with the next one the next column."""

    columns: slice
    size: int
    taps: slice
    count: int
    before: int


def tiles_along(tile, stride, size, out_size, before, data, output):
    """The tiles of one axis: (rows, inputs, data, output), which outputs and which inputs each has, as slices, and its
    part of the matrices data (points, inputs) and output (rows, points)."""
    every = []
    for begin in range(0, out_size, tile):
        count = min(tile, out_size - begin)
        first = begin * stride - before
        end = first + data.shape[1] - (tile - count) * stride
        inputs = slice(min(max(first, 0), size), max(min(end, size), 0))
        part = data[:, inputs.start - first : max(inputs.stop, inputs.start) - first]
        rows = slice(begin, begin + count)
        every.append((rows, inputs, np.ascontiguousarray(part), np.ascontiguousarray(output[:count])))
    return every


def cuts(size, longest):
    """(begin, end) of parts of about the same size."""
    count = -(-size // longest)
    return [(i * size // count, (i + 1) * size // count) for i in range(count)]


def product(matrix, x, out, limit=1024):
    """matrix (m, k) @ x (..., k, Q) -> out (..., m, Q), in columns of at most `limit` numbers, so that what a product
    reads stays in the cache: two or three times as fast as one product with very long rows."""
    size = x.shape[-1]
    parts = max(1, -(-size // limit))
    while size % parts:
        parts += 1
    if parts == 1 or size // parts < limit // 8:
        np.matmul(matrix, x, out=out)
        return
    x = x.reshape(*x.shape[:-1], parts, size // parts).swapaxes(-3, -2)
    np.matmul(matrix, x, out=out.reshape(*out.shape[:-1], parts, size // parts).swapaxes(-3, -2))


class Frame:
    """Columns at the points, (points, columns, Q): `size` of them, with zeros before and behind."""

    def __init__(self, room, before, size, columns, q):
        """room (points, columns * Q or more); so many columns with the zeros."""
        self.whole = room[:, : columns * q].reshape(len(room), columns, q)
        self.before, self.size = before, size
        self.inside = self.whole[:, before : before + size]
        self.zeros = self.whole[:, :before], self.whole[:, before + size :]

    def clear(self):
        """Zeros where no column lies."""
        for zeros in self.zeros:
            zeros[...] = 0

    def fill(self, columns, begin, end):
        """Of `columns` that lie inside those before `end`, but not those before `begin`, numbers of columns of the
        whole: (which they are, their place)."""
        low, high = (min(max(column - self.before, 0), self.size) for column in (begin, end))
        start, step = columns.start, columns.step
        return slice(start + low * step, start + high * step, step), self.inside[:, low:high]

    def windows(self, begin, end, taps, channels):
        """A view (points, taps, (end - begin) * n, channels): what the first tap sees at columns begin..end-1, the next
        one one column on."""
        points, _, q = self.whole.shape
        row, column, item = self.whole.strides
        shape = (points, taps, (end - begin) * q // channels, channels)
        return np.lib.stride_tricks.as_strided(self.whole[:, begin:], shape, (row, column, channels * item, item))


def along_h(matrix, x, out):
    """matrix (m, k) @ x (k, columns, Q) -> out (m, columns, Q); Q numbers lie together, columns may lie apart."""
    if matrix.size == 0:
        out[...] = 0
    elif x.strides[1] == out.strides[1] == out.shape[2] * out.itemsize:
        product(matrix, x.reshape(len(x), -1), out.reshape(len(out), -1), 2048)
    else:
        np.matmul(matrix, x.swapaxes(0, 1), out=out.swapaxes(0, 1))


class Strip:
    """Columns of what is made, at `place`. fills (columns, out): those of the given rows that its taps see and that are
    not at the points yet. products: what each tap makes at each point, which is `sums` (rows, columns, Q). A matrix
    that has each of its columns once for every tap adds them up.
    """

    def __init__(self, place, fills, products, sums):
        self.place, self.fills, self.products, self.sums = place, fills, products, sums

    def fill(self, matrix, rows):
        """rows (R, columns, Q) go to the points, by the matrix."""
        for columns, out in self.fills:
            if out.size:
                along_h(matrix, rows[:, columns], out)

    def make(self):
        """From the points to the sums."""
        for given, factors, out in self.products:
            np.matmul(given, factors, out=out)


class PairPool(Stage):
    """Maximum pooling of x (H, W, n, C) by windows of 2, or 1 along some axes, that do not overlap; then + bias, then
    relu: both keep the order, so they may wait for it. shape (C, *space) of x. The axes are halved one after the other,
    and bits say of each pair whether the second is larger: so every dy goes to the first maximum of its window."""

    def __init__(self, w, shape, kernel_size, conv=None, relu=False):
        self.start(w)
        self.conv, self.relu, c, self.size = conv, relu, shape[0], shape[1:]
        self.out_size = tuple(size // k for size, k in zip(self.size, kernel_size, strict=True))
        whole = tuple(n * k for n, k in zip(self.out_size, kernel_size, strict=True))
        self.whole, size = tuple(map(slice, whole)), list(whole)
        self.y = w.outputs(lambda n: (*plane(self.out_size), n, c))
        axes = [axis for axis, k in enumerate(kernel_size) if k == 2]
        self.steps = []
        for axis in axes[::-1] if w.training else axes:  # at inference rows lie in one piece
            first, second = ((*[slice(None)] * axis, slice(i, None, 2)) for i in (0, 1))
            size[axis] //= 2
            later = w.arrays(lambda n: (*size, n * c), np.bool_) if w.training else []
            made = w.scratch(("pool", axis), lambda n: (*size, n * c)) if len(self.steps) + 1 < len(axes) else []
            self.steps.append((first, second, later, made or [y.reshape(*size, -1) for y in self.y]))
        if w.training:
            self.dx = w.gradients(lambda n: (*plane(self.size), n, c))
            self.mask = w.scratch("mask", lambda n: (n * c * math.prod(self.out_size),), np.bool_)

    def forward(self, x):
        """x (H, W, n, C) -> y (Ho, Wo, n, C)."""
        b, y, rows = self.w.block, self.y[self.w.block], x.reshape(*self.size, -1)
        for first, second, later, made in self.steps:
            if self.w.training:
                np.greater(rows[second], rows[first], out=later[b])
            rows = np.maximum(rows[first], rows[second], out=made[b])
        if self.conv is not None:
            rows += repeated(self.conv.bias, rows.shape[-1])
        return relu(y, y)

    def backward(self, dy):
        """dy (Ho, Wo, n, C) -> dx (H, W, n, C)."""
        b = self.w.block
        stop_negative(dy, self.y[b], self.mask[b])
        dx, rows = self.dx[b].reshape(*self.size, -1), dy.reshape(*self.out_size, -1)
        given = [dx, *(made[b] for *_, made in self.steps[:-1])]
        for (first, second, later, _), made in reversed(list(zip(self.steps, given, strict=True))):
            np.multiply(rows, later[b], out=made[second])
            np.subtract(rows, made[second], out=made[first])
            rows = made
        return self.dx[b]


class Factor(Stage):
    """Dropout: x times the factor (n, ...) that was drawn for the whole batch (`draws`); nothing at inference."""

    def __init__(self, w, name):
        self.start(w)
        self.name = name

    def forward(self, x):
        """x (..., C) -> y (..., C)."""
        return x * self.factor(x)

    def factor(self, x):
        """The factor of this block, as the numbers of x lie: for each number, each channel or each sample."""
        return from_textbook(self.w.network.io[f"factor {self.name}"][self.w.rows[self.w.block]], is_map=x.ndim == 4)

    def backward(self, dy):
        """dy (..., C) -> dx (..., C), in its place."""
        dy *= self.factor(dy)
        return dy


def from_textbook(x, is_map=None):
    """(n, C, *space) -> (H, W, n, C); tokens and vectors stay. is_map: None where it can be no signal, so that a map
    has the most axes."""
    if not (x.ndim >= 4 if is_map is None else is_map):
        return x
    return np.ascontiguousarray(x.reshape(*x.shape[:2], *plane(x.shape[2:])).transpose(2, 3, 0, 1))


class Flatten(Stage):
    """(H, W, n, C) -> (n, C*H*W), PyTorch's order, by way of rows that lie n * C + 16 numbers apart: n * C is often a
    power of two, whose multiples share one place in the cache. Two copies take a third of the time of one."""

    def __init__(self, w, shape):
        self.start(w)
        c, (height, width) = shape[0], plane(shape[1:])
        self.y = w.outputs(lambda n: (n * c, height * width))
        self.apart = w.scratch("flat", lambda n: (height * width, n * c + 16))
        if w.training:
            self.dx = w.gradients(lambda n: (height, width, n, c))

    def forward(self, x):
        """x (H, W, n, C) -> y (n, C*H*W)."""
        y, apart = self.y[self.w.block], self.apart[self.w.block][:, :-16]
        apart[...] = x.reshape(len(apart), -1)
        y[...] = apart.T
        return y.reshape(x.shape[2], -1)

    def backward(self, dy):
        """dy (n, C*H*W) -> dx (H, W, n, C)."""
        dx = self.dx[self.w.block]
        dx[...] = dy.reshape(*dx.shape[2:], *dx.shape[:2]).transpose(2, 3, 0, 1)
        return dx


class Linear(Stage):
    """y = x weight + bias, then relu; weight is stored as (D, F)."""

    def __init__(self, w, name, filters, relu=False):
        self.start(w)
        self.name, self.relu = name, relu
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
        if self.bias is not None:
            y += self.bias
        return y

    def backward(self, dy):
        """dy (n, F) -> dx (n, D) if anything needs it."""
        b = self.w.block
        grad = self.w.grads[self.name + ".weight"]
        self.w.multiply(self.x[b].T, dy, grad if b == 0 else self.part)
        if b > 0:
            grad += self.part
        if self.bias is not None:
            self.add_gradient(self.name + ".bias", dy.sum(axis=0))
        return self.w.multiply(dy, self.weight.T, self.dx[b])


class FrozenNorm(Stage):
    """A batch norm at inference is y = scale * x + shift, by the statistics of the training; may end in a relu or
    between two bounds."""

    def __init__(self, w, name, shape, eps=1e-5):
        self.start(w)
        self.name, self.eps = name, eps
        self.weight, self.bias = w.params.get(name + ".weight"), w.params.get(name + ".bias")
        self.mean, self.var = (w.params[f"{name}.running_{what}"] for what in ("mean", "var"))
        self.y = w.outputs(lambda n: inside(shape, n))

    def refresh(self):
        """Makes the factor and the summand of each channel."""
        scale = 1 / np.sqrt(self.var + self.eps)
        scale *= self.weight
        shift = -self.mean * scale
        shift += self.bias
        self.numbers = np.stack([scale, shift])

    def forward(self, x):
        """x (H, W, n, C) or (n, C) -> y of that shape."""
        y = self.y[self.w.block]
        rows = rows_for(y, self.numbers, x)
        for band in bands(y):
            part = scale_rows(rows, band)
            relu(part, part)
        return y


def dropout2d_forward(x, p, training, rng):
    """In training y = x * factor, factor (N, C, 1, ...) = 0 with probability p, else 1 / (1 - p) (Tompson 2015)."""
    if not training:
        return x, None
    factor = ((rng.random((*x.shape[:2], *[1] * (x.ndim - 2)), np.float32) >= p) / (1 - p)).astype(x.dtype)
    return x * factor, factor


def dropout_forward(x, p, training, rng):
    """In training y = x * factor, factor = 0 with probability p, else 1 / (1 - p) (Srivastava et al. 2014)."""
    if not training:
        return x, None
    factor = ((rng.random(x.shape, np.float32) >= p) / (1 - p)).astype(x.dtype)
    return x * factor, factor


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


def he(rng, shape, fan_in, fan_out, dtype):
    """He et al. 2015: normal with variance 2 / fan_in."""
    return (rng.standard_normal(shape) * (2.0 / fan_in) ** 0.5).astype(dtype)


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
    splits = False  # whether workers share the layers of a sample

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
        buffers = self.first_buffers(dtype)
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
            self.draw(n)
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
        apart = apart or training  # all blocks are at work at a time
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

    splits = False  # whether others share what `each` is given

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
        make = make if training else network.infer_stages
        self.compute = self.compute if training else network.infer_forward
        for _ in range(2):  # the first time stages say how much memory they need, the second time they get it
            self.count, self.stages, self.handed_on = 0, [], {}
            self.s = make(self)
            if self.buffers.memory is None:
                self.buffers.settle()

    def arrays(self, shape, dtype=None):
        """An array for each block, shape(n) for its n samples, that keeps what is in it until the block ends."""
        self.count += 1
        return self.scratch(self.count, shape, dtype, self.apart)

    def scratch(self, key, shape, dtype=None, apart=False):
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
        return self.scratch((memory, "handed on"), shape, None, self.apart)

    def zeros(self, shape):
        """An array for each block that starts as zeros; what is not written stays so."""
        self.count += 1
        return self.frame(shape, self.count, self.apart)

    def frame(self, shape, inside, apart=False):
        """Scratch that starts as zeros, for stages that write to the same part of it, said by `inside`."""
        keys = [(inside, i if apart else shape(n)) for i, n in enumerate(self.sizes)]
        arrays = [self.buffers.array(key, shape(n)) for key, n in zip(keys, self.sizes, strict=True)]
        for array in arrays:
            array[...] = 0
        return arrays

    def tallies(self, shape):
        """Zeros for each block in float64, (1, *shape), to which parts of `each` add sums: row `row` of as many as
        there are workers that share parts."""
        return [np.zeros((1, *shape)) for _ in self.sizes]

    def constants(self, make, *arguments):
        """What make(*arguments, dtype) gives, made once for all workers."""
        known, key = self.network.known_constants, (make, arguments)
        if key not in known:
            known.setdefault(key, make(*arguments, self.dtype))
        return known[key]

    def part(self, size):
        """Begin and end of this worker's part of `size` things."""
        return self.index * size // self.num_workers, (self.index + 1) * size // self.num_workers

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


class DrawingNetwork(FastNetwork):
    """A network with dropouts, whose factors are drawn for the whole batch, before its workers begin."""

    def __init__(self, seed=0, dtype="float32", workers=None):
        """As every network, with places for the factors."""
        super().__init__(seed, dtype, workers)
        drawn = [(name, self.drawn(1, np.random.default_rng(0), *how)) for name, *how in self.draws()]
        self.gives |= {f"factor {name}": factor.shape[1:] for name, factor in drawn}

    def draw(self, n):
        """The factors by which dropouts multiply n samples."""
        drawn = {f"factor {name}": self.drawn(n, self.rng, *how) for name, *how in self.draws()}
        self.io |= drawn

    def drawn(self, n, rng, kernel, shape, p):
        """The factors of one dropout."""
        return kernel(np.broadcast_to(np.ones((), self.dtype), (n, *shape)), p, True, rng)[1]


class WaitingNetwork(FastNetwork):
    """A network of which the blocks wait for each other in training: a batch norm needs the whole batch. Both of its
    passes are generators, which yield where they wait."""

    def each_block(self, w, command):
        """All blocks by turns, each up to where it waits; at inference one after the other."""
        if not w.training:
            super().each_block(w, command)
            return
        steps, running = [self.steps_of(w, rows, command) for rows in w.rows], True
        while running:
            for block, step in enumerate(steps):
                w.block = block
                running = next(step, "ended") != "ended"
            if running and w.num_workers > 1:
                self.team.sync()

    def steps_of(self, w, rows, command):
        """What a block does in training."""
        if command != BACKWARD:
            xs = [self.io["x"][rows]]
            made = yield from w.compute(w.s, *xs)
            self.io["logits"][rows] = made
        if command != LOGITS:
            yield from self.train_backward(w.s, self.gradient(w, rows, command)) or ()


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


Model = fast(BnCnn, DrawingNetwork, WaitingNetwork)


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
