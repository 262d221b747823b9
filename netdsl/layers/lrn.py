"""`lrn`: local response normalisation across channels, as in AlexNet's paper."""

from __future__ import annotations

from typing import Any

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, call_text, require_map
from netdsl.layers.rules.places import same_place


def lrn_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """The type of x, a map."""
    require_map(x, "`lrn`", "leave it out: a vector has no axes of space")
    return x


def lrn_forward(x: Array, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> tuple[Array, Saved]:
    """x (N, C, *space) -> y = x / s^beta of that shape (Krizhevsky et al. 2012).

    s = k + alpha / size * (the sum of x^2 over `size` channels around).
    """
    s = k + alpha / size * channel_sums(x * x, size // 2, (size - 1) // 2)
    return x * s**-beta, (x, s, size, alpha, beta)


def lrn_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, C, *space) -> dx of that shape.

    dx = dy / s^beta - 2 * alpha * beta / size * x * (dy * x / s^(beta + 1), summed over the channels that saw x).
    """
    x, s, size, alpha, beta = saved
    seen = channel_sums(dy * x * s ** (-beta - 1), (size - 1) // 2, size // 2)
    return dy * s**-beta - (2 * alpha * beta / size) * x * seen, {}


def channel_sums(x: Array, before: int, after: int) -> Array:
    """x (N, C, *space) -> the sum over each channel, `before` channels before it and `after` after it."""
    padded = np.pad(x, ((0, 0), (before, after), *[(0, 0)] * (x.ndim - 2)))
    total: Any = 0
    for i in range(before + after + 1):
        total = total + padded[:, i : i + x.shape[1]]
    return total


def lrn_torch(attrs: Attrs, x: Tensor) -> str:
    usual = {"alpha": 1e-4, "beta": 0.75, "k": 1.0}
    options = {name: attrs[name] for name, value in usual.items() if attrs[name] != value}
    return call_text("nn.LocalResponseNorm", attrs["size"], **options)


LAYER = LayerDef(
    name="lrn",
    summary="local response normalisation over N channels",
    attrs=(
        Attr("size", "int", REQUIRED, positional=True, minimum=1, label="the channels"),
        Attr("alpha", "float", 1e-4, minimum=0),
        Attr("beta", "float", 0.75, minimum=0),
        Attr("k", "float", 1.0, above=0),
    ),
    shape=lrn_shape,
    forward=lrn_forward,
    backward=lrn_backward,
    reads=same_place,
    torch=lrn_torch,
)
