"""Gelu for speed: by one tanh, without choosing number by number, and its derivative made in the forward pass."""

from __future__ import annotations

import math

import numpy as np

from netdsl.kernels.arrays import Array, Shape
from netdsl.kernels.stable import erf
from netdsl.stages.can import Can
from netdsl.stages.conv_stage import ConvStage
from netdsl.stages.layout import inside
from netdsl.stages.pointwise import Pointwise
from netdsl.stages.stage import Worker


class Gelu(Pointwise):
    """y = x * Phi(x), and dx = dy * (Phi(x) + x * exp(-x*x/2) / sqrt(2 pi)); the factor is kept."""

    can = Can(add_bias=True, work_in_place=True, train_in_place=True, has_own_output=True)

    piece = 49152

    def __init__(
        self, w: Worker, shape: Shape, conv: ConvStage | None = None, copies: bool = False, in_place: bool = False
    ) -> None:
        self.trains_in_place = in_place
        super().__init__(w, shape, None, None, conv=conv, copies=copies)
        self.factor = w.arrays(lambda n: inside(shape, n)) if w.training else []
        most = max(self.piece, inside(shape, 1)[-1])  # a row at least
        self.parts = [w.scratch(("gelu", i), lambda n: (most,))[0] for i in range(3)]

    def compute(self, x: Array, y: Array, rows: slice) -> None:
        """x (rows, C) -> y, so as well; it may be x."""
        square, phi, part = (array[: x.size].reshape(x.shape) for array in self.parts)
        np.square(x, out=square)
        normal_distribution(x, square, phi, part)
        if self.w.training:
            square *= -0.5
            np.exp(square, out=square)
            square *= (2 * math.pi) ** -0.5
            square *= x
            np.add(phi, square, out=self.factor[self.w.block].reshape(-1, x.shape[1])[rows])
        np.multiply(phi, x, out=y)

    def backward(self, dy: Array) -> Array:
        """dy (..., C) -> dx (..., C), in its place."""
        rows = dy.reshape(-1, dy.shape[-1])
        self.w.each(self.w.cut(len(rows), 40 * rows.shape[1]), self.backward_rows, rows)
        return self.with_bias_gradient(rows.reshape(dy.shape))

    def backward_rows(self, part: slice, dy: Array) -> None:
        dy[part] *= self.factor[self.w.block].reshape(dy.shape)[part]


class TanhGelu(Gelu):
    """y = x * phi, phi = (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u)), u = a * x * (1 + b * x*x), a = sqrt(2 / pi), b =
    0.044715, and dx = dy * (phi + 2 * x * phi * (1 - phi) * a * (1 + 3 * b * x*x)); the factor is kept."""

    can = Gelu.can

    def compute(self, x: Array, y: Array, rows: slice) -> None:
        """x (rows, C) -> y, so as well; it may be x."""
        a, b = 2 * (2 / math.pi) ** 0.5, 0.044715
        square, phi, part = (array[: x.size].reshape(x.shape) for array in self.parts)
        np.square(x, out=square)
        np.minimum(square, 1600, out=square)  # beyond, phi is 0 or 1, and what follows might overflow
        np.multiply(square, -a * b, out=phi)
        phi -= a
        phi *= x
        np.exp(phi, out=phi)
        phi += 1
        np.reciprocal(phi, out=phi)
        np.multiply(phi, x, out=y)
        if self.w.training:
            square *= 3 * a * b
            square += a
            square *= y
            np.subtract(1, phi, out=part)
            square *= part
            np.add(square, phi, out=self.factor[self.w.block].reshape(-1, x.shape[1])[rows])


def normal_distribution(x: Array, square: Array, phi: Array, part: Array) -> None:
    """x and x*x, of any shape -> Phi(x) = (1 + erf(x / sqrt(2))) / 2 = t*t * (3 - t) / 4, t = 1 + tanh(x * p(x*x)).
    part: scratch.

    p is a polynomial, a product of two squares and what is added to them: with it Phi is within 2e-8, and what is
    rounded. In float64 by `erf`.
    """
    if x.dtype == np.float64:
        phi[...] = 0.5 * (1 + erf(x * 0.5**0.5))
        return
    for factor, shift, rest in (phi, -56.110737, 2269.0377), (part, 27.774086, 530.23886):
        np.add(square, shift, out=factor)
        np.square(factor, out=factor)
        factor += rest
    phi *= part
    phi *= 7.543333e-8
    phi *= x
    np.tanh(phi, out=phi)
    phi += 1
    np.square(phi, out=part)
    phi -= 3
    phi *= part
    phi *= -0.25
