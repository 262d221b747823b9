"""`elu`: x, or alpha * (exp(x) - 1) where x is negative."""

from __future__ import annotations

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import Attr, Attrs, LayerDef, call_text, pointwise_stages
from netdsl.layers.rules.places import same_place


def elu_forward(x: Array, alpha: float = 1.0) -> tuple[Array, Saved]:
    """x of any shape -> y = x where x > 0, else alpha * (exp(x) - 1) (Clevert et al. 2016)."""
    y = np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))
    return y, (x > 0, y, alpha)


def elu_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy of any shape -> dx = dy where x > 0, else dy * alpha * exp(x) = dy * (y + alpha)."""
    positive, y, alpha = saved
    return np.where(positive, dy, dy * (y + alpha)), {}


def elu_torch(attrs: Attrs, x: Tensor) -> str:
    return call_text("nn.ELU", *([] if attrs["alpha"] == 1.0 else [attrs["alpha"]]))


LAYER = LayerDef(
    name="elu",
    summary="x, or alpha * (exp(x) - 1) where x is negative",
    attrs=(Attr("alpha", "float", 1.0, positional=True, label="alpha"),),
    forward=elu_forward,
    backward=elu_backward,
    reads=same_place,
    torch=elu_torch,
    stages=pointwise_stages(elu_forward, elu_backward, "alpha"),
)
