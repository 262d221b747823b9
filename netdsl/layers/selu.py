"""`selu`: the self-normalising elu."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import LayerDef, pointwise_stages
from netdsl.layers.rules.places import same_place


def selu_forward(x: Array) -> tuple[Array, Saved]:
    """x of any shape -> y = scale * x where x > 0, else scale * alpha * (exp(x) - 1) (Klambauer et al. 2017)."""
    alpha, scale = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
    y = np.where(x > 0, scale * x, scale * alpha * np.expm1(np.minimum(x, 0)))
    return y, (x > 0, y, alpha, scale)


def selu_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy of any shape -> dx = dy * scale where x > 0, else dy * scale * alpha * exp(x) = dy * (y + scale * alpha)."""
    positive, y, alpha, scale = saved
    return dy * np.where(positive, scale, y + scale * alpha), {}


LAYER = LayerDef(
    name="selu",
    summary="the self-normalising elu",
    forward=selu_forward,
    backward=selu_backward,
    reads=same_place,
    torch=lambda attrs, x: "nn.SELU()",
    stages=pointwise_stages(selu_forward, selu_backward),
)
