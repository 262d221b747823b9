"""`sigmoid`: 1 / (1 + exp(-x))."""

from __future__ import annotations

from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.kernels.stable import sigmoid
from netdsl.layers.contract import Attrs, LayerDef, StageCall, pointwise_stages
from netdsl.layers.rules.places import same_place


def sigmoid_forward(x: Array) -> tuple[Array, Saved]:
    """x of any shape -> y = 1 / (1 + exp(-x))."""
    y = sigmoid(x)
    return y, y


def sigmoid_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy of any shape -> dx = dy * y * (1 - y)."""
    return dy * saved * (1 - saved), {}


def sigmoid_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.activations import quick_sigmoid_forward

    return pointwise_stages(quick_sigmoid_forward, sigmoid_backward)(attrs, x)


LAYER = LayerDef(
    name="sigmoid",
    summary="1 / (1 + exp(-x))",
    forward=sigmoid_forward,
    backward=sigmoid_backward,
    reads=same_place,
    torch=lambda attrs, x: "nn.Sigmoid()",
    torch_call=lambda attrs, x: "torch.sigmoid({x})",
    stages=sigmoid_stages,
    by_token=True,
)
