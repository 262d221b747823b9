"""`hardswish`: x * min(max(x + 3, 0), 6) / 6."""

from __future__ import annotations

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import Attrs, LayerDef, StageCall, pointwise_stages
from netdsl.layers.rules.places import same_place


def hardswish_forward(x: Array) -> tuple[Array, Saved]:
    """x of any shape -> y = x * min(max(x + 3, 0), 6) / 6 (Howard et al. 2019)."""
    return x * np.minimum(np.maximum(x + 3, 0), 6) / 6, x


def hardswish_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy of any shape -> dx = 0 where x <= -3, dy where x >= 3, else dy * (2*x + 3) / 6."""
    x = saved
    return np.where(x <= -3, 0, np.where(x >= 3, dy, dy * (2 * x + 3) / 6)), {}


def hardswish_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.activations import quick_hardswish_backward, quick_hardswish_forward

    return pointwise_stages(quick_hardswish_forward, quick_hardswish_backward)(attrs, x)


LAYER = LayerDef(
    name="hardswish",
    summary="x * min(max(x + 3, 0), 6) / 6",
    forward=hardswish_forward,
    backward=hardswish_backward,
    reads=same_place,
    torch=lambda attrs, x: "nn.Hardswish()",
    stages=hardswish_stages,
)
