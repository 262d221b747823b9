"""`silu`: x * sigmoid(x), also called swish."""

from __future__ import annotations

from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.kernels.stable import sigmoid
from netdsl.layers.contract import Attrs, LayerDef, StageCall, pointwise_stages
from netdsl.layers.rules.places import same_place


def silu_forward(x: Array) -> tuple[Array, Saved]:
    """x of any shape -> y = x * sigmoid(x)."""
    s = sigmoid(x)
    return x * s, (x, s)


def silu_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy of any shape -> dx = dy * s * (1 + x * (1 - s)), s = sigmoid(x)."""
    x, s = saved
    return dy * s * (1 + x * (1 - s)), {}


def silu_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.activations import quick_silu_forward

    return pointwise_stages(quick_silu_forward, silu_backward)(attrs, x)


LAYER = LayerDef(
    name="silu",
    summary="x * sigmoid(x), also called swish",
    forward=silu_forward,
    backward=silu_backward,
    reads=same_place,
    torch=lambda attrs, x: "nn.SiLU()",
    known_as=("swish",),
    stages=silu_stages,
    by_token=True,
)
