"""`rms`: root-mean-square normalisation over the channels at each position of a map, or over features."""

from __future__ import annotations

import numpy as np

from netdsl.graph.ir import ParamSpec
from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Param, Saved
from netdsl.layers.contract import Attr, Attrs, LayerDef, StageCall, call_text, features_axis, on_features
from netdsl.layers.rules.places import same_place


def rms_params(attrs: Attrs, x: Tensor) -> tuple[ParamSpec, ...]:
    return () if attrs["noaffine"] else (ParamSpec("weight", (x.channels,), "ones"),)


def rms_forward(x: Array, weight: Param, eps: float = 1e-6, axis: int = 1) -> tuple[Array, Saved]:
    """y = weight * x / sqrt(mean(x^2) + eps) (Zhang & Sennrich 2019), the mean over the features.

    The features are axis 1 of maps (N, C, *space), each position by itself, and of (N, D); of (N, T, D) axis 2.
    """
    shape = (-1, *[1] * (x.ndim - axis - 1))
    inv_rms = 1 / np.sqrt((x**2).mean(axis=axis, keepdims=True) + eps)
    x_hat = x * inv_rms
    y = x_hat if weight is None else weight.reshape(shape) * x_hat
    return y, (x_hat, inv_rms, weight, axis, shape)


def rms_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, ..., D) -> dx = inv_rms * (g - x_hat * mean(g * x_hat)), g = dy * weight, {weight}."""
    x_hat, inv_rms, weight, axis, shape = saved
    g = dy if weight is None else dy * weight.reshape(shape)
    dx = inv_rms * (g - x_hat * (g * x_hat).mean(axis=axis, keepdims=True))
    if weight is None:
        return dx, {}
    return dx, {"weight": (dy * x_hat).sum(axis=tuple(a for a in range(dy.ndim) if a != axis))}


def rms_torch(attrs: Attrs, x: Tensor) -> str:
    affine = {"elementwise_affine": False} if attrs["noaffine"] else {}
    return call_text("nn.RMSNorm", x.channels, eps=attrs["eps"], **affine)


def rms_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.layer_norm import LayerNorm

    return (StageCall(LayerNorm, (x.sizes, attrs["eps"], False)),)


LAYER = LayerDef(
    name="rms",
    summary="root-mean-square normalisation over the channels or features",
    attrs=(Attr("eps", "float", 1e-6, above=0), Attr("noaffine", "word")),
    resolve=features_axis,
    params=rms_params,
    forward=rms_forward,
    backward=rms_backward,
    reads=same_place,
    torch=rms_torch,
    torch_call=lambda attrs, x: on_features(x),
    torch_transposes=True,
    known_as=("rmsnorm",),
    stages=rms_stages,
    by_token=True,
)
