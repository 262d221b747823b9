"""`ln`: layer normalisation over the channels at each position of a map, or over the features of a token or vector."""

from __future__ import annotations

import numpy as np

from netdsl.graph.ir import ParamSpec
from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Param, Saved
from netdsl.layers.contract import Attr, Attrs, LayerDef, StageCall, call_text, features_axis, on_features
from netdsl.layers.rules.places import same_place


def ln_params(attrs: Attrs, x: Tensor) -> tuple[ParamSpec, ...]:
    if attrs["noaffine"]:
        return ()
    weight, bias = ParamSpec("weight", (x.channels,), "ones"), ParamSpec("bias", (x.channels,), "zeros")
    return (weight,) if attrs["nobias"] else (weight, bias)


def ln_forward(x: Array, weight: Param, bias: Param, eps: float = 1e-5, axis: int = 1) -> tuple[Array, Saved]:
    """y = weight * (x - mean) / sqrt(var + eps) + bias (Ba et al. 2016), mean and var over the features.

    The features are axis 1 of maps (N, C, *space), each position by itself, and of (N, D); of (N, T, D) axis 2.
    """
    shape = (-1, *[1] * (x.ndim - axis - 1))
    mean = x.mean(axis=axis, keepdims=True)
    inv_std = 1 / np.sqrt(((x - mean) ** 2).mean(axis=axis, keepdims=True) + eps)
    x_hat = (x - mean) * inv_std
    y = x_hat if weight is None else weight.reshape(shape) * x_hat
    if bias is not None:
        y = y + bias.reshape(shape)
    return y, (x_hat, inv_std, weight, bias is not None, axis, shape)


def ln_of_few(x: Array, weight: Param, bias: Param, eps: float = 1e-5) -> Array:
    """x (N, S, D) -> y as `ln_forward`: of few numbers a sum takes a third of the time of a mean."""
    size = x.shape[2]
    centered = x - x.sum(axis=2, keepdims=True) / size
    x_hat = centered / np.sqrt((centered * centered).sum(axis=2, keepdims=True) / size + eps)
    y = x_hat if weight is None else weight * x_hat
    return y if bias is None else y + bias


def ln_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dx = inv_std * (g - mean(g) - x_hat * mean(g * x_hat)), g = dy * weight."""
    x_hat, inv_std, weight, has_bias, axis, shape = saved
    g = dy if weight is None else dy * weight.reshape(shape)
    means = [part.mean(axis=axis, keepdims=True) for part in (g, g * x_hat)]
    dx = inv_std * (g - means[0] - x_hat * means[1])
    if weight is None:
        return dx, {}
    others = tuple(a for a in range(dy.ndim) if a != axis)
    grads = {"weight": (dy * x_hat).sum(axis=others)}
    if has_bias:
        grads["bias"] = dy.sum(axis=others)
    return dx, grads


def ln_torch(attrs: Attrs, x: Tensor) -> str:
    options = {} if attrs["eps"] == 1e-5 else {"eps": attrs["eps"]}
    if attrs["noaffine"]:
        options["elementwise_affine"] = False
    elif attrs["nobias"]:
        options["bias"] = False
    return call_text("nn.LayerNorm", x.channels, **options)


def ln_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.layer_norm import LayerNorm

    return (StageCall(LayerNorm, (x.sizes, attrs["eps"])),)


LAYER = LayerDef(
    name="ln",
    summary="layer normalisation over the channels or features",
    attrs=(Attr("eps", "float", 1e-5, above=0), Attr("noaffine", "word"), Attr("nobias", "word")),
    resolve=features_axis,
    params=ln_params,
    forward=ln_forward,
    backward=ln_backward,
    reads=same_place,
    torch=ln_torch,
    torch_call=lambda attrs, x: on_features(x),
    torch_transposes=True,
    known_as=("layernorm", "layer_norm", "layernormalization"),
    stages=ln_stages,
    by_token=True,
    of_few=ln_of_few,
)
