"""`gelu`: x times the normal distribution function."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.kernels.stable import erf
from netdsl.layers.contract import Attr, Attrs, LayerDef, StageCall, call_text
from netdsl.layers.rules.places import same_place


def gelu_forward(x: Array) -> tuple[Array, Saved]:
    """y = x * Phi(x), Phi(x) = (1 + erf(x / sqrt(2))) / 2 (Hendrycks & Gimpel 2016)."""
    phi = 0.5 * (1 + erf(x * 0.5**0.5))
    return x * phi, (x, phi)


def gelu_of_few(x: Array) -> Array:
    """x of any shape -> y as `gelu_forward`, in float32 by one tanh: Phi(x) = t*t * (3 - t) / 4
    within 2e-8, t = 1 + tanh(x * p(x*x)), p a product of two squares and what is added to them."""
    if x.dtype == np.float64:
        return gelu_forward(x)[0]
    square = x * x
    p = 7.543333e-8 * ((square - 56.110737) ** 2 + 2269.0377) * ((square + 27.774086) ** 2 + 530.23886)
    t = 1 + np.tanh(x * p)
    return 0.25 * x * t * t * (3 - t)


def gelu_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dx = dy * (Phi(x) + x * exp(-x*x/2) / sqrt(2 pi))."""
    x, phi = saved
    bounded = np.clip(x, -40, 40)  # beyond, the density is 0 and the square may overflow
    density = np.exp(-0.5 * bounded * bounded) * (2 * math.pi) ** -0.5
    return dy * (phi + x * density), {}


def gelu_tanh_forward(x: Array) -> tuple[Array, Saved]:
    """x of any shape -> y = x * (1 + t) / 2, t = tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)) (Hendrycks & Gimpel 2016,
    section 2)."""
    bounded = np.clip(x, -40, 40)  # beyond, t is +-1, and the cube may overflow
    square = bounded * bounded
    t = np.tanh((2 / math.pi) ** 0.5 * bounded * (1 + 0.044715 * square))
    return 0.5 * x * (1 + t), (bounded, square, t)


def gelu_tanh_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy of any shape -> dx = dy * (1 + t + x * (1 - t*t) * sqrt(2 / pi) * (1 + 3 * 0.044715 * x*x)) / 2."""
    x, square, t = saved
    slope = (2 / math.pi) ** 0.5 * (1 + 3 * 0.044715 * square)
    return dy * (0.5 * (1 + t + x * (1 - t * t) * slope)), {}


def gelu_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.gelu import Gelu, TanhGelu

    return (StageCall(TanhGelu if attrs["tanh"] else Gelu, (x.sizes,)),)


EXACT = LayerDef(
    name="gelu",
    summary="x times the normal distribution function",
    attrs=(Attr("tanh", "word"),),
    forward=gelu_forward,
    backward=gelu_backward,
    reads=same_place,
    torch=lambda attrs, x: call_text("nn.GELU", **({"approximate": "tanh"} if attrs["tanh"] else {})),
    stages=gelu_stages,
    by_token=True,
    of_few=gelu_of_few,
)
BY_TANH = replace(
    EXACT,
    forward=gelu_tanh_forward,
    backward=gelu_tanh_backward,
    of_few=None,
    when=lambda attrs: bool(attrs["tanh"]),
)
LAYER = replace(EXACT, variants=(BY_TANH,))
