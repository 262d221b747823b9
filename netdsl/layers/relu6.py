"""`relu6`: min(max(x, 0), 6)."""

from __future__ import annotations

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import Attrs, LayerDef, StageCall
from netdsl.layers.rules.places import same_place


def relu6_forward(x: Array) -> tuple[Array, Saved]:
    """y = min(max(x, 0), 6)."""
    return np.minimum(np.maximum(x, 0), 6), (x > 0) & (x < 6)


def relu6_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dx = dy where 0 < x < 6."""
    return dy * saved, {}


def relu6_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.clip import Clip

    return (StageCall(Clip, (x.sizes, 0, 6)),)


LAYER = LayerDef(
    name="relu6",
    summary="min(max(x, 0), 6)",
    forward=relu6_forward,
    backward=relu6_backward,
    reads=same_place,
    torch=lambda attrs, x: "nn.ReLU6()",
    stages=relu6_stages,
)
