"""`hardsigmoid`: min(max(x + 3, 0), 6) / 6."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import LayerDef, pointwise_stages
from netdsl.layers.rules.places import same_place


def hardsigmoid_forward(x: Array) -> tuple[Array, Saved]:
    """x of any shape -> y = min(max(x + 3, 0), 6) / 6."""
    return np.minimum(np.maximum(x + 3, 0), 6) / 6, (x > -3) & (x < 3)


def hardsigmoid_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy of any shape -> dx = dy / 6 where -3 < x < 3."""
    return dy * saved / 6, {}


LAYER = LayerDef(
    name="hardsigmoid",
    summary="min(max(x + 3, 0), 6) / 6",
    forward=hardsigmoid_forward,
    backward=hardsigmoid_backward,
    reads=same_place,
    torch=lambda attrs, x: "nn.Hardsigmoid()",
    stages=pointwise_stages(hardsigmoid_forward, hardsigmoid_backward),
)
