"""`dropout`: sets numbers to zero at random in training."""

from __future__ import annotations

from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.kernels.dropping import dropout_forward
from netdsl.layers.contract import Attr, Attrs, LayerDef, StageCall, call_text
from netdsl.layers.rules.places import same_place


def dropout_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dx = dy * factor."""
    return dy if saved is None else dy * saved, {}


def dropout_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.dropout import Factor

    return (StageCall(Factor),)


LAYER = LayerDef(
    name="dropout",
    summary="sets numbers to zero at random in training",
    attrs=(Attr("p", "float", 0.5, positional=True, minimum=0, below=1, label="the probability"),),
    forward=dropout_forward,
    backward=dropout_backward,
    reads=same_place,
    torch=lambda attrs, x: call_text("nn.Dropout", attrs["p"]),
    idle={"p": 0},
    stages=dropout_stages,
)
