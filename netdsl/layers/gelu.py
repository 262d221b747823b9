"""`gelu`: x times the normal distribution function."""

from __future__ import annotations

import math

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.kernels.stable import erf
from netdsl.layers.contract import Attrs, LayerDef, StageCall
from netdsl.layers.rules.places import same_place


def gelu_forward(x: Array) -> tuple[Array, Saved]:
    """y = x * Phi(x), Phi(x) = (1 + erf(x / sqrt(2))) / 2 (Hendrycks & Gimpel 2016)."""
    phi = 0.5 * (1 + erf(x * 0.5**0.5))
    return x * phi, (x, phi)


def gelu_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dx = dy * (Phi(x) + x * exp(-x*x/2) / sqrt(2 pi))."""
    x, phi = saved
    bounded = np.clip(x, -40, 40)  # beyond, the density is 0 and the square may overflow
    density = np.exp(-0.5 * bounded * bounded) * (2 * math.pi) ** -0.5
    return dy * (phi + x * density), {}


def gelu_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.gelu import Gelu

    return (StageCall(Gelu, (x.sizes,)),)


LAYER = LayerDef(
    name="gelu",
    summary="x times the normal distribution function",
    forward=gelu_forward,
    backward=gelu_backward,
    reads=same_place,
    torch=lambda attrs, x: "nn.GELU()",
    stages=gelu_stages,
    by_token=True,
)
