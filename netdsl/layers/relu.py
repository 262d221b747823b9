"""`relu`: max(x, 0)."""

from __future__ import annotations

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import Attrs, LayerDef, StageCall
from netdsl.layers.rules.places import same_place


def relu_forward(x: Array) -> tuple[Array, Saved]:
    """y = max(x, 0)."""
    return np.maximum(x, 0), x > 0


def relu_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dx = dy where x > 0."""
    return dy * saved, {}


def relu_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.relu import Relu

    return (StageCall(Relu, (x.sizes,)),)


LAYER = LayerDef(
    name="relu",
    summary="max(x, 0)",
    forward=relu_forward,
    backward=relu_backward,
    reads=same_place,
    torch=lambda attrs, x: "nn.ReLU()",
    torch_call=lambda attrs, x: "torch.relu({x})",
    stages=relu_stages,
    by_token=True,
)
