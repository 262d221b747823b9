"""`cls`: a learned token before all others, which gathers what a classifier needs."""

from __future__ import annotations

import numpy as np

from netdsl.graph.ir import ParamSpec
from netdsl.graph.types import Tensor, tokens
from netdsl.ground.symbols import value_text
from netdsl.kernels.arrays import Array, Grads, Saved, Tokens
from netdsl.layers.contract import Attrs, LayerDef, StageCall, require_tokens
from netdsl.layers.rules.places import everywhere


def cls_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(T, D) -> (T + 1, D)."""
    require_tokens(x, "`cls`")
    return tokens(x.length + 1, x.channels)


def cls_forward(x: Array, weight: Array) -> tuple[Array, Saved]:
    """x (N, T, D), weight (1, 1, D) -> y (N, T + 1, D), the token first (Devlin et al. 2019)."""
    return np.concatenate([np.broadcast_to(weight, (len(x), *weight.shape[1:])), x], axis=1), None


def cls_backward(dy: Tokens, saved: Saved) -> tuple[Tokens, Grads]:
    """dx without the first token, whose gradient is summed over the batch."""
    return dy[:, 1:], {"": dy[:, :1].sum(axis=0, keepdims=True)}


def cls_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.tokens import ClassToken

    return (StageCall(ClassToken, (x.sizes,)),)


LAYER = LayerDef(
    name="cls",
    summary="a learned token before all others",
    shape=cls_shape,
    params=lambda attrs, x: (ParamSpec("", (1, 1, x.channels), "zeros"),),
    forward=cls_forward,
    backward=cls_backward,
    reads=everywhere,
    torch=lambda attrs, x: f"nn.Parameter(torch.zeros(1, 1, {value_text(x.channels)}))",
    torch_call=lambda attrs, x: "torch.cat([{self}.expand(len({x}), -1, -1), {x}], dim=1)",
    stages=cls_stages,
)
