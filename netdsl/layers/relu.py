"""`relu`: max(x, 0)."""

import numpy as np

from netdsl.layers.contract import LayerDef, StageCall
from netdsl.stages.relu import Relu


def relu_forward(x):
    """y = max(x, 0)."""
    return np.maximum(x, 0), x > 0


def relu_backward(dy, saved):
    """dx = dy where x > 0."""
    return dy * saved, {}


LAYER = LayerDef(
    name="relu",
    summary="max(x, 0)",
    forward=relu_forward,
    backward=relu_backward,
    torch=lambda attrs, x: "nn.ReLU()",
    torch_call=lambda attrs, x: "torch.relu({x})",
    stages=lambda attrs, x: (StageCall(Relu, (x.sizes,)),),
)
