"""`tanh`: the hyperbolic tangent."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import LayerDef, pointwise_stages
from netdsl.layers.rules.places import same_place


def tanh_forward(x: Array) -> tuple[Array, Saved]:
    """x of any shape -> y = tanh(x)."""
    y = np.tanh(x)
    return y, y


def tanh_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy of any shape -> dx = dy * (1 - y*y)."""
    return dy * (1 - saved * saved), {}


LAYER = LayerDef(
    name="tanh",
    summary="the hyperbolic tangent",
    forward=tanh_forward,
    backward=tanh_backward,
    reads=same_place,
    torch=lambda attrs, x: "nn.Tanh()",
    torch_call=lambda attrs, x: "torch.tanh({x})",
    stages=pointwise_stages(tanh_forward, tanh_backward),
    by_token=True,
)
