"""`id`: passes its input on."""

from netdsl.layers.contract import LayerDef, StageCall
from netdsl.stages.identity import Identity


def identity_forward(x):
    """y = x."""
    return x, None


def identity_backward(dy, saved):
    """dx = dy."""
    return dy, {}


LAYER = LayerDef(
    name="id",
    summary="passes its input on",
    forward=identity_forward,
    backward=identity_backward,
    torch=lambda attrs, x: "nn.Identity()",
    torch_call=lambda attrs, x: "{x}",
    known_as=("identity",),
    stages=lambda attrs, x: (StageCall(Identity),),
)
