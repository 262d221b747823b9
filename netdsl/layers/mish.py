"""`mish`: x * tanh(softplus(x))."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.kernels.stable import sigmoid, softplus
from netdsl.layers.contract import LayerDef, pointwise_stages
from netdsl.layers.rules.places import same_place


def mish_forward(x: Array) -> tuple[Array, Saved]:
    """x of any shape -> y = x * tanh(log(1 + exp(x))) (Misra 2019)."""
    t = np.tanh(softplus(x))
    return x * t, (x, t)


def mish_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy of any shape -> dx = dy * (t + x * (1 - t*t) * sigmoid(x)), t = tanh(softplus(x))."""
    x, t = saved
    return dy * (t + x * (1 - t * t) * sigmoid(x)), {}


LAYER = LayerDef(
    name="mish",
    summary="x * tanh(softplus(x))",
    forward=mish_forward,
    backward=mish_backward,
    reads=same_place,
    torch=lambda attrs, x: "nn.Mish()",
    stages=pointwise_stages(mish_forward, mish_backward),
)
