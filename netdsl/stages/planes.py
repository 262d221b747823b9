"""Stages that pass over maps and vectors: norms, activations, pooling, sums. Those that follow a convolution may add
its bias, and may end in a relu: both are done while the numbers are in the cache."""

import numpy as np

from netdsl.stages.stage import Stage, bands, column_sums, long_rows, relu, row_sums, stop_negative


class Input(Stage):
    """The network's input, (n, C, H, W) -> (H, W, n, C)."""

    own_output = True

    def __init__(self, w, shape):
        self.start(w)
        self.y = w.arrays(lambda n: (*shape[1:], n, shape[0]))

    def forward(self, x):
        y = self.y[self.w.block]
        y[...] = x.transpose(2, 3, 0, 1)
        return y


class Relu(Stage):
    """y = max(x, 0). Behind most stages that is part of them."""

    own_output = True

    def __init__(self, w, shape):
        self.start(w)
        self.y = w.outputs(lambda n: (*shape[1:], n, shape[0]) if len(shape) == 3 else (n, *shape))
        if w.training:
            self.mask = w.masks(shape)

    def forward(self, x):
        return relu(x, self.y[self.w.block])

    def backward(self, dy):
        stop_negative(dy, self.y[self.w.block], self.mask[self.w.block])
        return dy


class MaxPool(Stage):
    """Maximum pooling of x (H, W, n, C), then + bias, then relu: both keep the order, so they may wait for it.

    Every dy goes to the first maximum of its window. shape (C, H, W) of x.
    """

    own_output = own_gradient = True

    def __init__(
        self, w, shape, kernel_size, stride, padding=((0, 0), (0, 0)), dilation=(1, 1), conv=None, relu=False, dx=True
    ):
        self.start(w)
        self.kernel_size, self.stride, self.padding, self.dilation = kernel_size, stride, padding, dilation
        self.conv, self.relu, self.shape = conv, relu, shape
        (top, bottom), (left, right) = padding
        self.size = (shape[1] + top + bottom, shape[2] + left + right)
        self.out_size = tuple(
            (size - d * (k - 1) - 1) // s + 1
            for size, d, k, s in zip(self.size, dilation, kernel_size, stride, strict=True)
        )
        self.pads = self.size != shape[1:]
        self.pairs = kernel_size == stride == (2, 2) and dilation == (1, 1)
        c = shape[0]
        self.y = w.outputs(lambda n: (*self.out_size, n, c))
        if self.pads:
            self.padded = w.zeros(lambda n: (*self.size, n, c))
            for padded in self.padded:
                padded[...] = -np.inf
        if self.pairs:
            ho, wo = self.out_size
            self.wide = w.scratch("pool", lambda n: (2 * ho * wo * n * c,))
            if w.training:
                self.right = w.bits(lambda n: (2 * ho, wo, n * c))
                self.low = w.bits(lambda n: (ho, wo, n * c))
        elif w.training:
            self.x = [None] * len(w.sizes)
            self.best = w.arrays(lambda n: (*self.out_size, n, c))
            self.part = w.scratch("pool", lambda n: (*self.out_size, n, c))
        if w.training:
            self.dx = w.gradients(lambda n: (*self.size, n, c))
            self.mask = w.masks((c, *self.out_size))

    def forward(self, x):
        b = self.w.block
        if self.pads:
            (top, _), (left, _) = self.padding
            self.padded[b][top : top + self.shape[1], left : left + self.shape[2]] = x
            x = self.padded[b]
        y = self.y[b]
        if self.pairs:
            self.pair_maximum(x.reshape(*x.shape[:2], -1), y.reshape(*y.shape[:2], -1))
        else:
            places = self.places(x)
            np.maximum(places[0], places[-1], out=y)
            for place in places[1:-1]:
                np.maximum(y, place, out=y)
            if self.w.training:
                self.x[b] = x
                self.best[b][...] = y
        if self.conv is not None and self.conv.bias is not None:
            rows = long_rows(y)
            rows += np.resize(self.conv.bias, rows.shape[-1])
        return relu(y, y) if self.relu else y

    def places(self, x):
        """For each place of the window, in reading order: the numbers of x that lie there, (Ho, Wo, n, C)."""
        (ho, wo), (sh, sw), (dh, dw) = self.out_size, self.stride, self.dilation
        return [
            x[u * dh : u * dh + (ho - 1) * sh + 1 : sh, v * dw : v * dw + (wo - 1) * sw + 1 : sw]
            for u in range(self.kernel_size[0])
            for v in range(self.kernel_size[1])
        ]

    def pair_maximum(self, x, y):
        """Windows of 2x2 that do not overlap. In training first of columns, then of rows, with bits that remember where
        it was; at inference first of rows, which lie in one piece."""
        b = self.w.block
        ho, wo = self.out_size
        if not self.w.training:
            wide = self.wide[b].reshape(ho, 2 * wo, -1)
            np.maximum(x[: 2 * ho : 2, : 2 * wo], x[1 : 2 * ho : 2, : 2 * wo], out=wide)
            np.maximum(wide[:, ::2], wide[:, 1::2], out=y)
            return
        wide = self.wide[b].reshape(2 * ho, wo, -1)
        left, right = x[: 2 * ho, : 2 * wo : 2], x[: 2 * ho, 1 : 2 * wo : 2]
        np.maximum(left, right, out=wide)
        np.maximum(wide[::2], wide[1::2], out=y)
        np.greater(right, left, out=self.right[b])
        np.greater(wide[1::2], wide[::2], out=self.low[b])

    def backward(self, dy):
        b = self.w.block
        y = self.y[b]
        if self.relu:
            stop_negative(dy, y, self.mask[b])
        if self.conv is not None and self.conv.bias is not None:
            self.add_gradient(self.conv.name + ".bias", column_sums(row_sums(dy), dy.shape[-1]))
        dx = self.dx[b]
        if self.pairs:
            self.pair_gradient(dy.reshape(*dy.shape[:2], -1), dx.reshape(*dx.shape[:2], -1))
        else:
            self.window_gradient(dy, dx)
        (top, _), (left, _) = self.padding
        return dx[top : top + self.shape[1], left : left + self.shape[2]]

    def pair_gradient(self, dy, dx):
        b = self.w.block
        ho, wo = self.out_size
        wide = self.wide[b].reshape(2 * ho, wo, -1)
        left, right = dx[: 2 * ho, : 2 * wo : 2], dx[: 2 * ho, 1 : 2 * wo : 2]
        dx[2 * ho :] = 0  # of odd planes; those that dx was handed to may have written there
        dx[:, 2 * wo :] = 0
        np.multiply(dy, self.low[b], out=wide[1::2])
        np.subtract(dy, wide[1::2], out=wide[::2])
        np.multiply(wide, self.right[b], out=right)
        np.subtract(wide, right, out=left)

    def window_gradient(self, dy, dx):
        b = self.w.block
        dx[...] = 0
        part, best = self.part[b], self.best[b]
        mask = self.mask[b][: dy.size].reshape(dy.shape)
        for place, target in zip(self.places(self.x[b]), self.places(dx), strict=True):
            np.equal(place, best, out=mask)
            np.multiply(dy, mask, out=part)
            target += part
            dy -= part  # what found its maximum is gone


class BatchNorm(Stage):
    """Batch normalisation of the whole batch over all workers (Ioffe & Szegedy 2015), in training only; then relu.

    x is a map or a vector. Both passes need sums over the whole batch: they are generators that wait for them. Where
    the mean is large it is taken out before anything is summed: the digits that count would not outlive a sum with it.
    """

    own_output = True

    def __init__(self, w, name, shape, eps=1e-5, momentum=0.1, relu=False):
        self.start(w)
        self.name, self.eps, self.momentum, self.relu = name, eps, momentum, relu
        self.channels = shape[0]
        self.moments = w.shared((name, "moments"), (w.network.num_workers, 3, shape[0]), np.float64)
        self.sums = w.shared((name, "sums"), (w.network.num_workers, 2, shape[0]), np.float64)
        self.weight, self.bias = w.params.get(name + ".weight"), w.params.get(name + ".bias")
        buffers = w.network.buffers
        self.running_mean, self.running_var = buffers[name + ".running_mean"], buffers[name + ".running_var"]
        self.x = [None] * len(w.sizes)
        self.guess = [None] * len(w.sizes)
        self.y = w.arrays(lambda n: (*shape[1:], n, shape[0]))
        self.factors = w.scratch("bn", lambda n: (3, n, shape[0]))
        self.part = w.scratch("band", lambda n: (max(65536, n * int(np.prod(shape[2:])) * shape[0]),))
        self.mask = w.masks(shape)
        self.count = w.n * int(np.prod(shape[1:]))

    def exact_sums(self, row):
        """(..., C) flat -> (C,), in float64."""
        return column_sums(row.astype(np.float64), self.channels)

    def power_sums(self, x):
        """The sums of x and of x * x, (C,) each."""
        return self.exact_sums(row_sums(x)), self.exact_sums(row_sums(x, x))

    def measure(self, x, y):
        """The numbers, mean and squares around it of a block, (3, C); keeps the guess (C,) that it took them around.

        The guess is 0. But where the square of the mean is over ten times the variance, which would then be what is
        left of two large sums, the guess is the mean, and y is x - guess.
        """
        n, guess = x.size // self.channels, np.zeros(self.channels)
        total, squares = self.power_sums(x)
        if (total * total / n > 10 * (squares - total * total / n)).any():
            guess += (total / n).astype(x.dtype)
            total, squares = self.power_sums(self.less(x, guess, y))
        self.guess[self.w.block] = guess
        return np.stack([np.full_like(total, n), guess + total / n, np.maximum(squares - total * total / n, 0)])

    def less(self, x, guess, out):
        """x - guess, written to `out`; x itself where the guess is 0."""
        if not guess.any():
            return x
        np.subtract(long_rows(x), np.tile(guess.astype(x.dtype), x.shape[-2]), out=long_rows(out))
        return out

    def forward(self, x):
        """Generator: x (H, W, n, C) or (n, C) -> y of that shape."""
        b = self.w.block
        if self.count == 1:
            raise ValueError("batch norm needs more than one value for each channel in training: use a larger batch")
        self.x[b], y, so_far = x, self.y[b], self.moments[self.w.index]
        moments = self.measure(x, y)
        so_far[...] = moments if b == 0 else joined(np.stack([so_far, moments]))
        yield
        _, self.mean, squares = joined(self.moments[: self.w.num_workers])
        var, guess = squares / self.count, self.guess[b]
        self.inv_std = 1 / np.sqrt(var + self.eps)
        if self.w.index == 0 and b == 0:
            self.running_mean += self.momentum * (self.mean - self.running_mean)
            self.running_var += self.momentum * (var * (self.count / (self.count - 1)) - self.running_var)
        scale, shift, _ = self.factors[b]
        scale[...] = self.inv_std if self.weight is None else self.weight * self.inv_std
        shift[...] = (0 if self.bias is None else self.bias) - (self.mean - guess) * scale[0]
        scale, shift, rows, given = (
            scale.reshape(-1),
            shift.reshape(-1),
            long_rows(y),
            long_rows(y if guess.any() else x),
        )
        for band in bands(y):
            part = rows[band]
            np.multiply(given[band], scale, out=part)
            part += shift
            if self.relu:
                relu(y[band], y[band])
        return y

    def backward(self, dy):
        """Generator: dy -> dx, in place."""
        b = self.w.block
        x, y, guess = self.x[b], self.y[b], self.guess[b]
        given, dbias, products = long_rows(x), 0, 0
        for band in bands(dy):
            if self.relu:
                stop_negative(dy[band], y[band], self.mask[b])
            part = self.less(x[band], guess, self.part[b][: x[band].size].reshape(x[band].shape))
            dbias, products = dbias + row_sums(dy[band]), products + row_sums(dy[band], part)
        dbias, products = self.exact_sums(dbias), self.exact_sums(products)
        products = (products - (self.mean - guess) * dbias) * self.inv_std
        so_far = self.sums[self.w.index]
        so_far[...] = (0 if b == 0 else so_far) + np.stack([dbias, products])
        if self.weight is not None:
            self.add_gradient(self.name + ".bias", dbias)
            self.add_gradient(self.name + ".weight", products)
        yield
        dbias, products = self.sums[: self.w.num_workers].sum(axis=0)
        scale, slope, shift = self.factors[b]
        factor = self.inv_std if self.weight is None else self.weight * self.inv_std
        k = -factor * self.inv_std * products / self.count
        scale[...], slope[...], shift[...] = factor, k, -factor * dbias / self.count - k * self.mean
        scale, slope, shift = scale.reshape(-1), slope.reshape(-1), shift.reshape(-1)
        rows = long_rows(dy)
        for band in bands(dy):
            row = rows[band]
            part = self.part[b][: row.size].reshape(row.shape)
            np.multiply(given[band], slope, out=part)
            part += shift
            row *= scale
            row += part
        return dy


def joined(moments):
    """Of parts (K, 3, C) -> of all of them (3, C): how many numbers, their mean, their squares around it, summed (Chan
    et al. 1979)."""
    n, mean, squares = moments.transpose(1, 0, 2)
    total = n.sum(axis=0)
    middle = (n * mean).sum(axis=0) / total
    return np.stack([total, middle, (squares + n * (mean - middle) ** 2).sum(axis=0)])


class Add(Stage):
    """The sum of maps, then relu."""

    own_output = True

    def __init__(self, w, shape, relu=False):
        self.start(w)
        self.relu = relu
        self.y = w.outputs(lambda n: (*shape[1:], n, shape[0]) if len(shape) == 3 else (n, *shape))
        if w.training:
            self.mask = w.masks(shape)

    def forward(self, *xs):
        y, self.num_inputs = self.y[self.w.block], len(xs)
        for band in bands(y):
            part = y[band]
            np.add(xs[0][band], xs[1][band], out=part)
            for x in xs[2:]:
                part += x[band]
            if self.relu:
                relu(part, part)
        return y

    def backward(self, dy):
        """dy for each input, each its own array."""
        if self.relu:
            stop_negative(dy, self.y[self.w.block], self.mask[self.w.block])
        return dy, *(dy.copy() for _ in range(self.num_inputs - 1))


class GlobalAverage(Stage):
    """Global average pooling, (H, W, n, C) -> (n, C)."""

    own_gradient = True

    def __init__(self, w, shape):
        self.start(w)
        self.shape = shape
        if w.training:
            self.dx = w.gradients(lambda n: (*shape[1:], n, shape[0]))

    def forward(self, x):
        return x.reshape(-1, *x.shape[2:]).mean(axis=0)

    def backward(self, dy):
        dx = self.dx[self.w.block]
        dx[...] = dy / (self.shape[1] * self.shape[2])
        return dx


class GlobalMaximum(Stage):
    """Global maximum pooling, (H, W, n, C) -> (n, C). Every dy goes to the first maximum of its map: the first row that
    has it, and the first place there."""

    own_gradient = True

    def __init__(self, w, shape):
        self.start(w)
        self.winner = [None] * len(w.sizes)
        if w.training:
            self.dx = w.gradients(lambda n: (*shape[1:], n, shape[0]))

    def forward(self, x):
        maps = x.reshape(*x.shape[:2], -1)  # (H, W, n*C)
        if not self.w.training:
            return maps.max(axis=(0, 1)).reshape(x.shape[2:])
        every = np.arange(maps.shape[2])
        row = maps.max(axis=1).argmax(axis=0)
        rows = maps[row, :, every]  # (n*C, W)
        column = rows.argmax(axis=1)
        self.winner[self.w.block] = (row, column, every)
        return rows[every, column].reshape(x.shape[2:])

    def backward(self, dy):
        dx = self.dx[self.w.block]
        dx[...] = 0
        dx.reshape(*dx.shape[:2], -1)[self.winner[self.w.block]] = dy.reshape(-1)
        return dx


class Flatten(Stage):
    """(H, W, n, C) -> (n, C*H*W), PyTorch's order."""

    own_output = own_gradient = True

    def __init__(self, w, shape):
        self.start(w)
        c, height, width = shape
        self.y = w.outputs(lambda n: (n * c, height * width))
        self.apart = w.scratch("flat", lambda n: (height * width, n * c + 16))
        if w.training:
            self.dx = w.gradients(lambda n: (height, width, n, c))

    def forward(self, x):
        """By way of rows that lie n * C + 16 numbers apart: n * C is often a power of two, whose multiples share one
        place in the cache. Two copies take a third of the time of one."""
        y, apart = self.y[self.w.block], self.apart[self.w.block][:, :-16]
        apart[...] = x.reshape(len(apart), -1)
        y[...] = apart.T
        return y.reshape(x.shape[2], -1)

    def backward(self, dy):
        dx = self.dx[self.w.block]
        dx[...] = dy.reshape(*dx.shape[2:], *dx.shape[:2]).transpose(2, 3, 0, 1)
        return dx


class Linear(Stage):
    """y = x weight + bias, then relu; weight is stored as (D, F)."""

    own_output = True

    def __init__(self, w, name, filters, relu=False, dx=True):
        self.start(w)
        self.name, self.relu, self.has_dx = name, relu, dx
        self.weight, self.bias = w.params[name + ".weight"], w.params.get(name + ".bias")
        self.x = [None] * len(w.sizes)
        self.y = w.outputs(lambda n: (n, filters))
        if w.training:
            self.part = w.scratch("dweight", lambda n: self.weight.shape)[0]

    def forward(self, x):
        self.x[self.w.block] = x
        y = np.matmul(x, self.weight, out=self.y[self.w.block])
        if self.bias is not None:
            y += self.bias
        return relu(y, y) if self.relu else y

    def backward(self, dy):
        b = self.w.block
        if self.relu:
            dy *= self.y[b] > 0
        grad = self.w.grads[self.name + ".weight"]
        np.matmul(self.x[b].T, dy, out=grad if b == 0 else self.part)
        if b > 0:
            grad += self.part
        if self.bias is not None:
            self.add_gradient(self.name + ".bias", dy.sum(axis=0))
        return np.matmul(dy, self.weight.T) if self.has_dx else None


class Textbook(Stage):
    """A layer by its textbook kernels: maps are brought to (n, C, H, W) and back.

    forward(*xs, params...) -> (y, saved), backward(dy, saved) -> (dx, grads); call: how `forward` is called.
    """

    def __init__(self, w, name, call, backward):
        self.start(w)
        self.name, self.call, self.kernel = name, call, backward
        self.saved = [None] * len(w.sizes)

    def forward(self, *xs):
        y, saved = self.call(*(to_textbook(x) for x in xs))
        self.saved[self.w.block] = saved if self.w.training else None
        return from_textbook(y)

    def backward(self, dy):
        dx, grads = self.kernel(to_textbook(dy), self.saved[self.w.block])
        for name, grad in grads.items():
            full = f"{self.name}.{name}" if name else self.name
            self.w.add_named_gradient(full, grad)
        if isinstance(dx, tuple):
            return tuple(np.array(from_textbook(d)) for d in dx)
        dx = from_textbook(dx)
        return dx if dx.flags.owndata and dx.flags.writeable else dx.copy()


class Factor(Stage):
    """Dropout: x times the factor (n, ...) that was drawn for the whole batch (`draws`); nothing at inference."""

    def __init__(self, w, name):
        self.start(w)
        self.name = name

    def forward(self, x):
        return x * self.factor() if self.w.training else x

    def factor(self):
        return from_textbook(self.w.network.factors[self.name][self.w.rows[self.w.block]])

    def backward(self, dy):
        dy *= self.factor()
        return dy


def to_textbook(x):
    """(H, W, n, C) -> (n, C, H, W); tokens and vectors stay."""
    return np.ascontiguousarray(x.transpose(2, 3, 0, 1)) if x.ndim == 4 else x


def from_textbook(x):
    """(n, C, H, W) -> (H, W, n, C); tokens and vectors stay."""
    return np.ascontiguousarray(x.transpose(2, 3, 0, 1)) if x.ndim == 4 else x
