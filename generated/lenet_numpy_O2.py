"""Lenet in NumPy, 1x28x28 -> 10, 454,922 parameters. Written by `netdsl compile -O2`; needs numpy and nothing else.

    layer     output    parameters      layer     output    parameters
    conv1     32x28x28         832      pool2     64x7x7
    relu1     32x28x28                  flatten1  3136
    pool1     32x14x14                  linear1   128          401,536
    conv2     64x14x14      51,264      relu3     128
    relu2     64x14x14                  linear2   10             1,290

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
NUM_PARAMETERS = 454_922
OUTPUTS, LOGITS, GRADIENTS, BACKWARD, UPDATE, STEP = range(6)


class Lenet:
    """(N, 1, 28, 28) -> (N, 10)."""

    input_shape, logits_shape = INPUT_SHAPE, (10,)
    learning_rate = 0.001
    block = 32  # samples at a time, at most

    def first_params(self, rng, dtype):
        """The params before training, by PyTorch's names and in its shapes."""
        return {
            "conv1.weight": he(rng, (32, 1, 5, 5), 25, 800, dtype),
            "conv1.bias": np.zeros(32, dtype),
            "conv2.weight": he(rng, (64, 32, 5, 5), 800, 1600, dtype),
            "conv2.bias": np.zeros(64, dtype),
            "linear1.weight": he(rng, (128, 3136), 3136, 128, dtype),
            "linear1.bias": np.zeros(128, dtype),
            "linear2.weight": he(rng, (10, 128), 128, 10, dtype),
            "linear2.bias": np.zeros(10, dtype),
        }

    def loss(self, logits, target):
        """Logits and labels or probabilities -> mean loss, dlogits."""
        return cross_entropy(logits, target)

    def train_stages(self, w):
        """What worker w computes with, in training and at inference."""
        s = Stages()
        s.input = Input(w, (1, 28, 28))
        # rows of windows: est. 89 us a sample of a step (patches: 487)
        s.conv1 = RowConv(w.into(0), "conv1", ConvGeometry((1, 28, 28), 32, (5, 5), padding=((2, 2), (2, 2))))
        s.pool1 = PairPool(w.into(1), (32, 28, 28), (2, 2), conv=s.conv1)
        # Fourier, whole plane: est. 306 us a sample of a step (Fourier, 7x7 tiles: 445; Winograd along H, 5 rows: 493)
        s.conv2 = FourierConv(w.into(0), "conv2", ConvGeometry((32, 14, 14), 64, (5, 5), padding=((2, 2), (2, 2))))
        s.pool2 = PairPool(w.into(1), (64, 14, 14), (2, 2), conv=s.conv2)
        s.flatten1 = Flatten(w.into(0), (64, 7, 7))
        s.linear1 = Linear(w.into(1), "linear1", 128, relu=True)
        s.linear2 = Linear(w.into(0), "linear2", 10)
        return s

    def train_forward(self, s, x):
        """One block: x (N, 1, 28, 28) -> what the loss reads (N, 10)."""
        x = s.input.forward(x)
        x = s.conv1.forward(x)  # (28, 28, n, 32)
        x = s.pool1.forward(x)  # relu1 -> pool1: (14, 14, n, 32)
        x = s.conv2.forward(x)  # (14, 14, n, 64)
        x = s.pool2.forward(x)  # relu2 -> pool2: (7, 7, n, 64)
        x = s.flatten1.forward(x)  # (n, 3136)
        x = s.linear1.forward(x)  # linear1 -> relu3: (n, 128)
        return s.linear2.forward(x)  # (n, 10)

    def train_backward(self, s, dy):
        """The gradient by what `train_forward` gave -> those of the params."""
        dy = s.linear2.backward(dy)
        dy = s.linear1.backward(dy)
        dy = s.flatten1.backward(dy)
        dy = s.pool2.backward(dy)
        dy = s.conv2.backward(dy)
        dy = s.pool1.backward(dy)
        s.conv1.backward(dy)

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

    def prepare(self, w, name, g):
        self.start(w)
        self.name, self.shape, self.channels, self.filters = name, g.shape, g.shape[0], g.filters
        self.kernel_size, self.padding = g.kernel_size, g.padding
        self.out_size = g.out_size
        self.weight = w.params[name + ".weight"].reshape(*g.kernel_size, -1, g.filters)  # of a signal, too: K is Kx1
        self.bias = w.params.get(name + ".bias")


class RowConv(ConvStage):
    """A convolution of few channels. Windows overlap along W only: for every row of x the numbers that each column of
    a window sees lie together, (H, Kw, C, Wo*n), so that what a row of y sees is a block of Kh such rows, and the
    rows of the matrix product need no further copies."""

    def __init__(self, w, name, geometry):
        self.prepare(w, name, geometry)
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
        rows, windows = dy.reshape(len(dy), -1, self.filters), self.windows[b]
        if b == 0:
            self.grad_rows[...] = 0
        for begin in range(0, len(dy), self.band):
            parts = self.parts[: len(dy) - begin]
            np.matmul(windows[begin : begin + self.band], rows[begin : begin + self.band], out=parts)
            self.grad_rows += parts.sum(axis=0)


@dataclasses.dataclass(frozen=True)
class ConvGeometry:
    """The windows of a convolution of x, along every axis of space."""

    shape: tuple[int, ...]  # of x, (C, *space)
    filters: int
    kernel_size: tuple[int, ...]
    padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0))  # zeros before and behind x

    @property
    def padded_size(self):
        """The space of x with its zeros."""
        return tuple(n + before + behind for n, (before, behind) in zip(self.shape[1:], self.padding, strict=True))

    @property
    def out_size(self):
        """How many windows there are along each axis."""
        return tuple(n - k + 1 for n, k in zip(self.padded_size, self.kernel_size, strict=True))


class PairPool(Stage):
    """Maximum pooling of x (H, W, n, C) by windows of 2, or 1 along some axes, that do not overlap; then + bias, then
    relu: both keep the order, so they may wait for it. shape (C, *space) of x. The axes are halved one after the other,
    and bits say of each pair whether the second is larger: so every dy goes to the first maximum of its window."""

    def __init__(self, w, shape, kernel_size, conv=None):
        self.start(w)
        self.conv, c, self.size = conv, shape[0], shape[1:]
        self.out_size = tuple(size // k for size, k in zip(self.size, kernel_size, strict=True))
        whole = tuple(n * k for n, k in zip(self.out_size, kernel_size, strict=True))
        size = list(whole)
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
        rows += repeated(self.conv.bias, rows.shape[-1])
        return relu(y, y)

    def backward(self, dy):
        """dy (Ho, Wo, n, C) -> dx (H, W, n, C)."""
        b = self.w.block
        stop_negative(dy, self.y[b], self.mask[b])
        self.add_gradient(self.conv.name + ".bias", place_sums(dy))
        dx, rows = self.dx[b].reshape(*self.size, -1), dy.reshape(*self.out_size, -1)
        given = [dx, *(made[b] for *_, made in self.steps[:-1])]
        for (first, second, later, _), made in reversed(list(zip(self.steps, given, strict=True))):
            np.multiply(rows, later[b], out=made[second])
            np.subtract(rows, made[second], out=made[first])
            rows = made
        return self.dx[b]


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


def stop_negative(dy, y, mask):
    """The gradient of a relu that gave y (..., C) stops: dy stays where y is above 0. mask: scratch, flat."""
    mask = mask[: y.size].reshape(y.shape)
    np.greater(y, 0, out=mask)
    np.multiply(dy, mask, out=dy)


def place_sums(x):
    """x (..., C) -> (C,), the sum over all places and samples: two products with ones are quicker than sums."""
    rows = x.reshape(len(x), -1)
    row = np.dot(np.ones(len(rows), x.dtype), rows).reshape(-1, x.shape[-1])
    return np.dot(np.ones(len(row), x.dtype), row)


class TransformedConv(ConvStage):
    """A convolution as y = ty'((tx x) . (tw w)): constant matrices take x and the weights to points; at each point a
    matrix product sums over the channels; the transpose of ty brings these back. The gradients go the same way."""

    def make_room_for_weights(self, points):
        """Arrays for the weights and their gradient, (taps, C * F), made for as many channels as stay in the cache."""
        w, c, f = self.w, self.channels, self.filters
        self.tw_t = np.ascontiguousarray(self.tw.T)
        self.u = w.shared(self.name, (points, c * f))
        self.factors = self.u.reshape(points, c, f)
        if w.training:
            self.channels_at_once = max(1, min(c, (1 << 20) // (points * f)))
            self.du = w.scratch("du", lambda n: (points, self.channels_at_once * f))[0]
            self.grad = w.grads[self.name + ".weight"].reshape(-1, c * f)
            self.grad_part = w.scratch("dweight", lambda n: (len(self.grad), self.channels_at_once * f))[0]

    def refresh(self):
        """Transform this worker's part of the weights."""
        c, f = self.channels, self.filters
        begin, end = self.w.part(c * f)
        weight = self.weight.reshape(-1, c * f)[:, begin:end]
        product(self.tw, weight, self.u[:, begin:end])

    def channels_gradient(self, begin, is_first, v, z):
        """v (points, M, C), z (points, M, F) -> their products, back from the points, for some channels."""
        points, f = len(v), self.filters
        part = v[:, :, begin : begin + self.channels_at_once]
        du = self.du[:, : part.shape[2] * f]
        np.matmul(part.swapaxes(1, 2), z, out=du.reshape(points, -1, f))
        grad, more = self.grad[:, begin * f : (begin + part.shape[2]) * f], self.grad_part[:, : part.shape[2] * f]
        product(self.tw_t, du, grad if is_first else more)
        if not is_first:
            grad += more


class FourierConv(TransformedConv):
    """A convolution with stride 1 by the Fourier transform of the whole plane. What lies at one point is 32 numbers
    longer: rows that are multiples of 4096 bytes apart share one place in the cache."""

    def __init__(self, w, name, geometry):
        self.prepare(w, name, geometry)
        before = tuple(side for side, _ in self.padding)
        self.tx, self.tw, self.ty = w.constants(fourier, self.shape[1:], self.out_size, self.kernel_size, before)
        c, f, points = self.channels, self.filters, self.tx.points
        wide = max(tr.length * tr.width * maps for tr, maps in ((self.tx, c), (self.ty, f)))
        self.middle = w.scratch("middle", lambda n: (n * wide,))
        self.y = w.outputs(lambda n: (*self.out_size, n, f))
        self.m = w.scratch("m", lambda n: (points, n * f + 32))
        self.dv = w.scratch("v", lambda n: (points, n * c + 32))
        self.v = w.arrays(lambda n: (points, n * c + 32)) if w.training else self.dv
        if w.training:
            self.z = w.scratch("z", lambda n: (points, n * f + 32))
            self.dx = w.gradients(lambda n: (*self.shape[1:], n, c))
        self.make_room_for_weights(points)

    def forward(self, x):
        """x (H, W, n, C) -> y (Ho, Wo, n, F)."""
        b, u, y = self.w.block, self.factors, self.y[self.w.block]
        v, m = self.v[b][:, :-32], self.m[b][:, :-32]
        self.tx.to_points(x.reshape(len(x), -1), self.middle[b], v)
        self.w.multiply(v.reshape(len(u), -1, self.channels), u, m.reshape(len(u), -1, self.filters))
        self.ty.from_points(m, self.middle[b], y.reshape(len(y), -1))
        return y

    def backward(self, dy):
        """dy (Ho, Wo, n, F) -> dx (H, W, n, C) if anything needs it."""
        b, c, u = self.w.block, self.channels, self.factors
        z, dv = self.z[b][:, :-32], self.dv[b][:, :-32]
        self.ty.to_points(dy.reshape(len(dy), -1), self.middle[b], z)
        z, v = z.reshape(len(u), -1, self.filters), self.v[b][:, :-32].reshape(len(u), -1, c)
        for part in range(0, c, self.channels_at_once):
            self.channels_gradient(part, b == 0, v, z)
        dx = self.dx[b]
        self.w.multiply(z, u.swapaxes(1, 2), dv.reshape(len(u), -1, c))
        self.tx.from_points(dv, self.middle[b], dx.reshape(len(dx), -1))
        return dx


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


def fourier(in_size, out_size, kernel_size, before, dtype):
    """The real Fourier transform -> the map of the input, that of the weights, a matrix (points, Kh*Kw), and the
    transpose of that back to the output. All sizes are pairs (H, W).

    y[o] = sum over u of w[u] * x[o + u - before], x zero outside 0..in_size-1, is a circular convolution of any length
    >= in_size + before and >= out_size + kernel_size - 1 - before: the shortest is taken, and no padding is needed.
    Complex products take three multiplications instead of four (Gauss), whose sums are part of the matrices: the input
    gives [re + im, re, im], the weights [re, im - re, re + im].
    """
    sizes = list(zip(in_size, out_size, kernel_size, before, strict=True))
    lengths = [max(n + b, o + k - 1 - b) for n, o, k, b in sizes]
    x = transform(lengths, [np.arange(n) for n in in_size], [[1, 1], [1, 0], [0, 1]], dtype)
    w = transform(lengths, [b - np.arange(k) for _, _, k, b in sizes], [[1, 0], [-1, 1], [1, 1]], dtype)
    y = transform(lengths, [np.arange(o) for o in out_size], [[1, 1], [0, 1], [-1, 0]], dtype, inverse=True)
    eye = np.eye(w.height * w.width, dtype=dtype)
    dense = np.empty((w.points, len(eye)), dtype)
    w.to_points(eye.reshape(w.height, -1), np.empty(w.length * w.width * len(eye), dtype), dense)
    return x, dense, y


def transform(lengths, places, gauss, dtype, inverse=False):
    """Numbers at `places` along H and W to their frequencies, of which Gauss's factors make three from (re, im).
    inverse: the transpose of the way back. Along H half the frequencies are enough, since the numbers are real."""
    (_, width), (_, columns) = lengths, places
    rows, real = (spectrum(length, place, inverse) for length, place in zip(lengths, places, strict=True))
    alone = 2 - width % 2
    real = np.concatenate([real[:alone], *(gauss @ real[i : i + 2] for i in range(alone, width, 2))])
    angles = 2 * np.pi * np.arange(width)[:, None] / width * columns
    cos, sin = np.cos(angles), np.sin(angles)
    pairs = np.concatenate([gauss @ np.block([[c, s], [-s, c]]) for c, s in zip(cos, sin, strict=True)])
    return Separable(rows, real, pairs / width if inverse else pairs, 2 - lengths[0] % 2, dtype)


class Separable:
    """A linear map from a plane to points: along H by `rows` (L, H), of which the first `alone` stand alone, the others
    are pairs (real, imaginary part); then along W by `real` (A, W) of a row that stands alone, by `pairs` (B, 2*W) of a
    pair, laid end to end."""

    def __init__(self, rows, real, pairs, alone, dtype):
        self.rows, self.real, self.pairs = (np.ascontiguousarray(m, dtype) for m in (rows, real, pairs))
        self.rows_t, self.real_t, self.pairs_t = (np.ascontiguousarray(m.T, dtype) for m in (rows, real, pairs))
        (self.length, self.height), self.width, self.alone = rows.shape, real.shape[1], alone
        self.points = alone * len(real) + (self.length - alone) // 2 * len(pairs)

    def split(self, rows, v):
        """Rows (L, W, Q) and points (points, Q) -> views of both: of rows that stand alone, and of pairs."""
        q, end = v.shape[1], self.alone * len(self.real)
        alone, pairs = rows[: self.alone], rows[self.alone :].reshape(-1, 2 * self.width, q)
        at_pairs = v[end:].reshape(len(pairs), len(self.pairs), q)
        return alone, v[:end].reshape(self.alone, -1, q), pairs, at_pairs

    def to_points(self, x, middle, v):
        """x (H, W*Q) -> v (points, Q). middle: scratch for what lies between, flat."""
        rows = middle[: self.length * x.shape[1]].reshape(self.length, -1)
        product(self.rows, x, rows)
        alone, at_real, pairs, at_pairs = self.split(rows.reshape(self.length, self.width, -1), v)
        product(self.real, alone, at_real, 512)
        product(self.pairs, pairs, at_pairs, 512)

    def from_points(self, v, middle, x):
        """The transpose: v (points, Q) -> x (H, W*Q)."""
        rows = middle[: self.length * x.shape[1]].reshape(self.length, -1)
        alone, at_real, pairs, at_pairs = self.split(rows.reshape(self.length, self.width, -1), v)
        product(self.real_t, at_real, alone, 512)
        product(self.pairs_t, at_pairs, pairs, 512)
        product(self.rows_t, rows, x)


def spectrum(length, places, inverse):
    """(length, len(places)): the real frequencies, 0 and length / 2 if that is even; then (re, im) of the rest, which
    stand for two each on the way back."""
    rows = [np.ones(len(places))] + [np.cos(np.pi * places)] * (length % 2 == 0)
    for k in range(1, (length + 1) // 2):
        rows += [np.cos(2 * np.pi * k / length * places), -np.sin(2 * np.pi * k / length * places)]
    alone = 2 - length % 2
    times = np.array([1.0] * alone + [2.0] * (length - alone)) / length if inverse else np.ones(length)
    return times[:, None] * np.array(rows)


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
        y += self.bias
        return relu(y, y) if self.relu else y

    def backward(self, dy):
        """dy (n, F) -> dx (n, D) if anything needs it."""
        b = self.w.block
        if self.relu:
            dy *= self.y[b] > 0
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

    def frame(self, shape, inside):
        """Scratch that starts as zeros, for stages that write to the same part of it, said by `inside`."""
        keys = [(inside, shape(n)) for i, n in enumerate(self.sizes)]
        arrays = [self.buffers.array(key, shape(n)) for key, n in zip(keys, self.sizes, strict=True)]
        for array in arrays:
            array[...] = 0
        return arrays

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


Model = fast(Lenet)


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
