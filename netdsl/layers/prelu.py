"""`prelu`: relu with a learned slope for negative x, one in all or one for each channel."""

from __future__ import annotations

import numpy as np

from netdsl.graph.ir import ParamSpec
from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import Attr, Attrs, LayerDef, StageCall, call_text, refuse_tokens
from netdsl.layers.rules.places import same_place


def prelu_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """The type of x; with `channelwise` a map or a vector."""
    if attrs["channelwise"]:
        refuse_tokens(x, "`channelwise`", "leave it out", attr="channelwise")
    return x


def prelu_params(attrs: Attrs, x: Tensor) -> tuple[ParamSpec, ...]:
    return (ParamSpec("weight", (x.channels if attrs["channelwise"] else 1,), 0.25),)


def prelu_forward(x: Array, weight: Array) -> tuple[Array, Saved]:
    """y = x where x > 0, else weight * x (He et al. 2015). weight (1,) or (C,), C the second axis of x."""
    slope = weight.reshape(-1, *[1] * (x.ndim - 2))
    return np.where(x > 0, x, slope * x), (x, weight)


def prelu_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, C, ...) -> dx = dy where x > 0, else weight * dy; dweight (C,) or (1,) sums dy * x where x <= 0."""
    x, weight = saved
    slope = weight.reshape(-1, *[1] * (x.ndim - 2))
    share = np.where(x > 0, 0, dy * x)
    axes = tuple(axis for axis in range(x.ndim) if axis != 1 or len(weight) == 1)
    return np.where(x > 0, dy, slope * dy), {"weight": share.sum(axis=axes).reshape(weight.shape)}


def prelu_torch(attrs: Attrs, x: Tensor) -> str:
    return call_text("nn.PReLU", *([x.channels] if attrs["channelwise"] else []))


def prelu_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.prelu import Prelu

    return (StageCall(Prelu, (x.sizes,)),)


LAYER = LayerDef(
    name="prelu",
    summary="relu with a learned slope for negative x",
    attrs=(Attr("channelwise", "word"),),
    shape=prelu_shape,
    params=prelu_params,
    forward=prelu_forward,
    backward=prelu_backward,
    reads=same_place,
    torch=prelu_torch,
    stages=prelu_stages,
)
