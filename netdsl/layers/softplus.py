"""`softplus`: log(1 + exp(x))."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.kernels.stable import sigmoid, softplus
from netdsl.layers.contract import LayerDef, pointwise_stages
from netdsl.layers.rules.places import same_place


def softplus_forward(x: Array) -> tuple[Array, Saved]:
    """x of any shape -> y = log(1 + exp(x)); x itself where x > 20, as in PyTorch."""
    return np.where(x > 20, x, softplus(x)), x


def softplus_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy of any shape -> dx = dy * sigmoid(x); dy where x > 20."""
    return np.where(saved > 20, dy, dy * sigmoid(saved)), {}


LAYER = LayerDef(
    name="softplus",
    summary="log(1 + exp(x))",
    forward=softplus_forward,
    backward=softplus_backward,
    reads=same_place,
    torch=lambda attrs, x: "nn.Softplus()",
    stages=pointwise_stages(softplus_forward, softplus_backward),
)
