"""`linear`: a fully connected layer, on vectors or on each token."""

from __future__ import annotations

import numpy as np

from netdsl.graph.ir import ParamSpec
from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, call_text, refuse_map
from netdsl.layers.rules.places import everywhere


def linear_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(D,) -> (F,), (T, D) -> (T, F)."""
    refuse_map(x, "`linear`", "put `flatten` or `gap` before it")
    return x.with_channels(attrs["features"])


def linear_params(attrs: Attrs, x: Tensor) -> tuple[ParamSpec, ...]:
    fans = {"fan_in": x.channels, "fan_out": attrs["features"]}
    weight = ParamSpec("weight", (attrs["features"], x.channels), "weight", **fans)
    return (weight,) if attrs["nobias"] else (weight, ParamSpec("bias", (attrs["features"],), "bias", **fans))


def linear_macs(attrs: Attrs, x: Tensor) -> int:
    """D * F for each vector or token."""
    return x.size * int(attrs["features"])


def linear_forward(x: Array, weight: Array, bias: Array | None) -> tuple[Array, Saved]:
    """x (N, ..., D), weight (F, D), bias (F,) or None -> y (N, ..., F) = x weight^T + bias."""
    y = np.matmul(x, weight.T)
    return y if bias is None else y + bias, (x, weight, bias is not None)


def linear_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dx = dy weight; dweight = dy^T x and dbias = the sum of dy, over the batch and all tokens."""
    x, weight, has_bias = saved
    rows = dy.reshape(-1, dy.shape[-1])
    grads = {"weight": np.matmul(rows.T, x.reshape(-1, x.shape[-1]))}
    if has_bias:
        grads["bias"] = rows.sum(axis=0)
    return np.matmul(dy, weight), grads


def linear_torch(attrs: Attrs, x: Tensor) -> str:
    return call_text("nn.Linear", x.channels, attrs["features"], **({"bias": False} if attrs["nobias"] else {}))


def linear_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.linear import Linear
    from netdsl.stages.token_linear import TokenLinear

    if x.is_vector:
        return (StageCall(Linear, (attrs["features"],)),)
    return (StageCall(TokenLinear, (x.sizes, attrs["features"])),)


LAYER = LayerDef(
    name="linear",
    aliases=("fc",),
    summary="a fully connected layer with F outputs",
    attrs=(
        Attr("features", "int", REQUIRED, positional=True, minimum=1, label="the outputs"),
        Attr("nobias", "word"),
    ),
    shape=linear_shape,
    params=linear_params,
    macs=linear_macs,
    forward=linear_forward,
    backward=linear_backward,
    reads=everywhere,
    torch=linear_torch,
    is_linear=True,
    known_as=("dense", "lin", "fully_connected"),
    stages=linear_stages,
    by_token=True,
)
