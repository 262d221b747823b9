"""Stages that move numbers, or mix them along H and W by constants: joining, cutting, padding, resampling, products."""

import numpy as np

from netdsl.stages.layout import inside
from netdsl.stages.stage import Stage


class Identity(Stage):
    """y = x: the plan leaves it out."""

    def __init__(self, w):
        self.start(w)

    def forward(self, x):
        return x

    def backward(self, dy):
        return dy


class Cat(Stage):
    """The channels of maps, the features of tokens or vectors, behind each other; shapes: those of the inputs."""

    own_output = own_gradient = True

    def __init__(self, w, *shapes):
        self.start(w)
        sizes = [shape[1] if len(shape) == 2 else shape[0] for shape in shapes]
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        self.parts = [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]
        self.y = w.outputs(lambda n: (*inside(shapes[0], n)[:-1], ends[-1]))
        if w.training:
            self.dx = [w.gradients(lambda n, shape=shape: inside(shape, n)) for shape in shapes]

    def forward(self, *xs):
        y = self.y[self.w.block]
        for part, x in zip(self.parts, xs, strict=True):
            y[..., part] = x
        return y

    def backward(self, dy):
        dxs = [dx[self.w.block] for dx in self.dx]
        for part, dx in zip(self.parts, dxs, strict=True):
            dx[...] = dy[..., part]
        return tuple(dxs)


class Slice(Stage):
    """Some of the channels of maps, or of the features of tokens or vectors."""

    own_output = own_gradient = True

    def __init__(self, w, shape, start, stop):
        self.start(w)
        self.part = slice(start, stop)
        self.y = w.outputs(lambda n: (*inside(shape, n)[:-1], stop - start))
        if w.training:
            self.dx = w.gradients(lambda n: inside(shape, n))

    def forward(self, x):
        y = self.y[self.w.block]
        y[...] = x[..., self.part]
        return y

    def backward(self, dy):
        dx = self.dx[self.w.block]
        dx[..., : self.part.start] = 0
        dx[..., self.part] = dy
        dx[..., self.part.stop :] = 0
        return dx


class Pad(Stage):
    """Rows and columns of zeros around maps."""

    def __init__(self, w, shape, padding):
        self.start(w)
        c, height, width = shape
        (top, bottom), (left, right) = padding
        self.place = (slice(top, top + height), slice(left, left + width))
        self.y = w.zeros(lambda n: (top + height + bottom, left + width + right, n, c))

    def forward(self, x):
        y = self.y[self.w.block]
        y[self.place] = x
        return y

    def backward(self, dy):
        return dy[self.place]


class Crop(Stage):
    """Maps without some rows and columns on each side; sides ((top, bottom), (left, right))."""

    own_gradient = True

    def __init__(self, w, shape, sides):
        self.start(w)
        c, height, width = shape
        (top, bottom), (left, right) = sides
        self.place = (slice(top, height - bottom), slice(left, width - right))
        if w.training:
            self.dx = w.gradients(lambda n: (height, width, n, c))

    def forward(self, x):
        return x[self.place]

    def backward(self, dy):
        dx = self.dx[self.w.block]
        dx[...] = 0
        dx[self.place] = dy
        return dx


class Moved(Stage):
    """The numbers of x, of `shape`, seen as `split` with the axes in the order `order`: that is y, of `out_shape`. In
    `split` "n" stands for the samples; x lies as (H, W, n, C)."""

    own_output = own_gradient = True

    def __init__(self, w, shape, out_shape, split, order):
        self.start(w)
        self.split, self.order = split, order
        self.y = w.outputs(lambda n: inside(out_shape, n))
        if w.training:
            self.dx = w.gradients(lambda n: inside(shape, n))

    def moved(self, x, n):
        return x.reshape([n if size == "n" else size for size in self.split]).transpose(self.order)

    def forward(self, x):
        y = self.y[self.w.block]
        moved = self.moved(x, self.w.sizes[self.w.block])
        y.reshape(moved.shape)[...] = moved
        return y

    def backward(self, dy):
        dx = self.dx[self.w.block]
        moved = self.moved(dx, self.w.sizes[self.w.block])
        moved[...] = dy.reshape(moved.shape)
        return dx


class Repeat(Stage):
    """Each number of a map fh times along H and fw times along W."""

    own_output = own_gradient = True

    def __init__(self, w, shape, factor):
        self.start(w)
        c, height, width = shape
        self.split = lambda x: x.reshape(height, factor[0], width, factor[1], -1)
        self.y = w.outputs(lambda n: (height * factor[0], width * factor[1], n, c))
        if w.training:
            self.dx = w.gradients(lambda n: (height, width, n, c))

    def forward(self, x):
        y = self.y[self.w.block]
        self.split(y)[...] = x.reshape(x.shape[0], 1, x.shape[1], 1, -1)
        return y

    def backward(self, dy):
        dx = self.dx[self.w.block]
        np.sum(self.split(dy), axis=(1, 3), out=dx.reshape(*dx.shape[:2], -1))
        return dx


class Resample(Stage):
    """y = rows x columns^T for each map, by the matrices make(*arguments, dtype) of each axis."""

    own_output = own_gradient = True

    def __init__(self, w, shape, out_size, make, arguments):
        self.start(w)
        c, height, width = shape
        self.rows, self.columns = (w.constants(make, *axis) for axis in arguments)
        self.middle = w.scratch("middle", lambda n: (out_size[0] * width * n * c,))
        self.y = w.outputs(lambda n: (*out_size, n, c))
        if w.training:
            self.dx = w.gradients(lambda n: (height, width, n, c))

    def forward(self, x):
        y = self.y[self.w.block]
        middle = self.middle[self.w.block][: len(y) * x[0].size].reshape(len(y), x.shape[1], -1)
        np.matmul(self.rows, x.reshape(len(x), -1), out=middle.reshape(len(y), -1))
        np.matmul(self.columns, middle, out=y.reshape(*y.shape[:2], -1))
        return y

    def backward(self, dy):
        dx = self.dx[self.w.block]
        middle = self.middle[self.w.block][: len(dy) * dx[0].size].reshape(len(dy), dx.shape[1], -1)
        np.matmul(self.columns.T, dy.reshape(*dy.shape[:2], -1), out=middle)
        np.matmul(self.rows.T, middle.reshape(len(dy), -1), out=dx.reshape(len(dx), -1))
        return dx


class Mul(Stage):
    """The product of its inputs. What has one number where others have many counts for all of them; a vector beside
    maps is a factor for each channel, as it lies."""

    own_output = own_gradient = True

    def __init__(self, w, *shapes):
        self.start(w)
        rank = max(map(len, shapes))
        whole = tuple(map(max, zip(*((*s, 1, 1)[:rank] for s in shapes), strict=True)))
        self.xs = [None] * len(w.sizes)
        self.y = w.outputs(lambda n: inside(whole, n))
        if w.training:
            self.dx = [w.gradients(lambda n: inside(whole, n)) for _ in shapes]

    def forward(self, *xs):
        y = self.y[self.w.block]
        self.xs[self.w.block] = xs
        np.multiply(xs[0], xs[1], out=y)
        for x in xs[2:]:
            y *= x
        return y

    def backward(self, dy):
        """dx = dy * (the product of the others), summed over what x counted for."""
        xs, dxs = self.xs[self.w.block], []
        for i, x in enumerate(xs):
            dx = self.dx[i][self.w.block]
            others = [other for j, other in enumerate(xs) if j != i]
            np.multiply(dy, others[0], out=dx)
            for other in others[1:]:
                dx *= other
            sizes = (*[1] * (dx.ndim - x.ndim), *x.shape)
            many = tuple(axis for axis in range(dx.ndim) if sizes[axis] == 1 != dx.shape[axis])
            dxs.append((dx.sum(axis=many, keepdims=True) if many else dx).reshape(x.shape))
        return tuple(dxs)


class Scale(Stage):
    """y = weight * x, a weight for each channel of maps, each feature of tokens or vectors."""

    own_output = True

    def __init__(self, w, name, shape):
        self.start(w)
        self.name, self.weight = name, w.params[name].reshape(-1)
        self.x = [None] * len(w.sizes)
        self.y = w.outputs(lambda n: inside(shape, n))

    def forward(self, x):
        self.x[self.w.block] = x
        return np.multiply(x, self.weight, out=self.y[self.w.block])

    def backward(self, dy):
        rows, x = (a.reshape(-1, len(self.weight)) for a in (dy, self.x[self.w.block]))
        products = np.einsum("ij,ij->j", rows, x)
        self.add_gradient(self.name, products.reshape(self.w.grads[self.name].shape))
        dy *= self.weight
        return dy
