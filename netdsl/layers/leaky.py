"""`leaky`: x, or slope * x where x is negative."""

from __future__ import annotations

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import Attr, Attrs, LayerDef, StageCall, call_text, pointwise_stages
from netdsl.layers.rules.places import same_place


def leaky_forward(x: Array, slope: float = 0.01) -> tuple[Array, Saved]:
    """x of any shape -> y = x where x > 0, else slope * x."""
    return np.where(x > 0, x, slope * x), (x > 0, slope)


def leaky_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy of any shape -> dx = dy where x > 0, else slope * dy."""
    positive, slope = saved
    return np.where(positive, dy, slope * dy), {}


def leaky_torch(attrs: Attrs, x: Tensor) -> str:
    return call_text("nn.LeakyReLU", *([] if attrs["slope"] == 0.01 else [attrs["slope"]]))


def leaky_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.activations import quick_leaky_backward, quick_leaky_forward

    return pointwise_stages(quick_leaky_forward, quick_leaky_backward, "slope")(attrs, x)


LAYER = LayerDef(
    name="leaky",
    summary="x, or slope * x where x is negative",
    attrs=(Attr("slope", "float", 0.01, positional=True, label="the slope"),),
    forward=leaky_forward,
    backward=leaky_backward,
    reads=same_place,
    torch=leaky_torch,
    known_as=("leakyrelu", "leaky_relu"),
    stages=leaky_stages,
)
