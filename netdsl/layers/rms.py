"""`rms`: root-mean-square normalisation over the channels at each position of a map, or over features."""

from __future__ import annotations

import numpy as np

from netdsl.graph.ir import ParamSpec
from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Param, Saved
from netdsl.layers.contract import Attr, Attrs, LayerDef, StageCall, call_text
from netdsl.layers.rules.places import same_place


def rms_params(attrs: Attrs, x: Tensor) -> tuple[ParamSpec, ...]:
    return (ParamSpec("weight", (x.channels,), "ones"),)


def rms_forward(x: Array, weight: Param, eps: float = 1e-6) -> tuple[Array, Saved]:
    """y = weight * x / sqrt(mean(x^2) + eps) (Zhang & Sennrich 2019), the mean over the features.

    The features are the channels of x (N, C, H, W), each position by itself, and the last axis of (N, T, D) and (N, D).
    """
    axis, shape = (1, (-1, 1, 1)) if x.ndim == 4 else (x.ndim - 1, (-1,))
    inv_rms = 1 / np.sqrt((x**2).mean(axis=axis, keepdims=True) + eps)
    x_hat = x * inv_rms
    return weight.reshape(shape) * x_hat, (x_hat, inv_rms, weight.reshape(shape), axis)


def rms_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, ..., D) -> dx = inv_rms * (g - x_hat * mean(g * x_hat)), g = dy * weight, {weight}."""
    x_hat, inv_rms, weight, axis = saved
    g = dy * weight
    dx = inv_rms * (g - x_hat * (g * x_hat).mean(axis=axis, keepdims=True))
    return dx, {"weight": (dy * x_hat).sum(axis=tuple(a for a in range(dy.ndim) if a != axis))}


def rms_torch_call(attrs: Attrs, x: Tensor) -> str:
    return "{self}({x}.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)" if x.is_map else "{self}({x})"


def rms_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.layer_norm import LayerNorm

    return (StageCall(LayerNorm, (x.sizes, attrs["eps"], False)),)


LAYER = LayerDef(
    name="rms",
    summary="root-mean-square normalisation over the channels or features",
    attrs=(Attr("eps", "float", 1e-6, above=0),),
    params=rms_params,
    forward=rms_forward,
    backward=rms_backward,
    reads=same_place,
    torch=lambda attrs, x: call_text("nn.RMSNorm", x.channels, eps=attrs["eps"]),
    torch_call=rms_torch_call,
    torch_transposes=True,
    known_as=("rmsnorm",),
    stages=rms_stages,
)
