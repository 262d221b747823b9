"""`dropout2d`: sets whole channels of maps to zero at random in training."""

from __future__ import annotations

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Maps, Saved
from netdsl.layers.contract import Attr, Attrs, LayerDef, StageCall, call_text, for_axes, require_map
from netdsl.layers.rules.places import same_place


def dropout2d_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """The type of x, a map."""
    require_map(x, "`dropout2d`", "use `dropout`", for_tokens="use `dropout`")
    return x


def dropout2d_forward(x: Array, p: float, training: bool, rng: np.random.Generator) -> tuple[Array, Saved]:
    """In training y = x * factor, factor (N, C, 1, ...) = 0 with probability p, else 1 / (1 - p) (Tompson 2015)."""
    if not training:
        return x, None
    factor = ((rng.random((*x.shape[:2], *[1] * (x.ndim - 2)), np.float32) >= p) / (1 - p)).astype(x.dtype)
    return x * factor, factor


def dropout2d_backward(dy: Maps, saved: Saved) -> tuple[Maps, Grads]:
    """dx = dy * factor."""
    return dy if saved is None else dy * saved, {}


def dropout2d_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.dropout import Factor

    return (StageCall(Factor),)


LAYER = LayerDef(
    name="dropout2d",
    summary="sets whole channels to zero at random in training",
    attrs=(Attr("p", "float", 0.5, positional=True, minimum=0, below=1, label="the probability"),),
    shape=dropout2d_shape,
    forward=dropout2d_forward,
    backward=dropout2d_backward,
    reads=same_place,
    torch=lambda attrs, x: call_text(for_axes("nn.Dropout2d", x), attrs["p"]),
    known_as=("spatial_dropout", "dropout1d", "dropout3d"),
    idle={"p": 0},
    stages=dropout2d_stages,
)
