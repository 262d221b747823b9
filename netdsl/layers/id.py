"""`id`: passes its input on."""

from __future__ import annotations

from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import Attrs, LayerDef, StageCall
from netdsl.layers.rules.places import same_place


def identity_forward(x: Array) -> tuple[Array, Saved]:
    """x of any shape -> y = x."""
    return x, None


def identity_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy of any shape -> dx = dy."""
    return dy, {}


def id_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.identity import Identity

    return (StageCall(Identity),)


LAYER = LayerDef(
    name="id",
    summary="passes its input on",
    forward=identity_forward,
    backward=identity_backward,
    reads=same_place,
    torch=lambda attrs, x: "nn.Identity()",
    torch_call=lambda attrs, x: "{x}",
    known_as=("identity",),
    stages=id_stages,
)
