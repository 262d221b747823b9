"""`bn`: batch normalisation of maps or vectors."""

from __future__ import annotations

import numpy as np

from netdsl.graph.ir import ParamSpec
from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Param, Saved
from netdsl.layers.contract import Attr, Attrs, LayerDef, StageCall, call_text, for_axes, refuse_tokens
from netdsl.layers.rules.places import same_place
from netdsl.layers.rules.straight import straight


def bn_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """The type of x, a map or a vector."""
    refuse_tokens(x, "`bn`", "use `ln`")
    return x


def bn_params(attrs: Attrs, x: Tensor) -> tuple[ParamSpec, ...]:
    size = (x.channels,)
    return () if attrs["noaffine"] else (ParamSpec("weight", size, "ones"), ParamSpec("bias", size, "zeros"))


def bn_buffers(attrs: Attrs, x: Tensor) -> tuple[ParamSpec, ...]:
    return ParamSpec("running_mean", (x.channels,), "zeros"), ParamSpec("running_var", (x.channels,), "ones")


def bn_forward(
    x: Array,
    weight: Param,
    bias: Param,
    running_mean: Array,
    running_var: Array,
    eps: float = 1e-5,
    momentum: float = 0.1,
    training: bool = False,
) -> tuple[Array, Saved]:
    """y = weight * (x - mean) / sqrt(var + eps) + bias for each channel of x (N, C) or (N, C, *space) (Ioffe 2015).

    In training mean and var are those of the batch, and the running ones move towards them by `momentum`, in place
    (var unbiased there, as in PyTorch); else mean and var are the running ones.
    """
    axes, shape = (0, *range(2, x.ndim)), (-1, *[1] * (x.ndim - 2))
    count = x.size // x.shape[1]
    if training:
        if count == 1:
            raise ValueError("batch norm needs more than one value for each channel in training: use a larger batch")
        mean = x.mean(axis=axes)
        var = ((x - mean.reshape(shape)) ** 2).mean(axis=axes)
        running_mean += momentum * (mean - running_mean)
        running_var += momentum * (var * (count / (count - 1)) - running_var)
    else:
        mean, var = running_mean.copy(), running_var
    inv_std = 1 / np.sqrt(var + eps)
    x_hat = (x - mean.reshape(shape)) * inv_std.reshape(shape)
    y = x_hat if weight is None else weight.reshape(shape) * x_hat + bias.reshape(shape)
    return y, (x_hat, inv_std, weight, training)


def bn_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dx = inv_std * (g - mean(g) - x_hat * mean(g * x_hat)), g = dy * weight; in evaluation without the means."""
    x_hat, inv_std, weight, training = saved
    axes, shape = (0, *range(2, dy.ndim)), (-1, *[1] * (dy.ndim - 2))
    dbias, dweight = dy.sum(axis=axes), (dy * x_hat).sum(axis=axes)
    scale = inv_std if weight is None else weight * inv_std
    dx = dy
    if training:
        count = dy.size // dy.shape[1]
        dx = dy - (dbias / count).reshape(shape) - x_hat * (dweight / count).reshape(shape)
    return dx * scale.reshape(shape), {} if weight is None else {"weight": dweight, "bias": dbias}


def bn_torch(attrs: Attrs, x: Tensor) -> str:
    options = {key: attrs[key] for key, usual in (("eps", 1e-5), ("momentum", 0.1)) if attrs[key] != usual}
    if attrs["noaffine"]:
        options["affine"] = False
    return call_text(for_axes("nn.BatchNorm2d", x) if x.is_map else "nn.BatchNorm1d", x.channels, **options)


def bn_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.batch_norm import BatchNorm

    options = {key: attrs[key] for key, usual in (("eps", 1e-5), ("momentum", 0.1)) if attrs[key] != usual}
    return (StageCall(BatchNorm, (x.sizes,), options),)


LAYER = LayerDef(
    name="bn",
    summary="batch normalisation",
    attrs=(
        Attr("eps", "float", 1e-5, above=0),
        Attr("momentum", "float", 0.1, minimum=0),
        Attr("noaffine", "word"),
    ),
    shape=bn_shape,
    params=bn_params,
    buffers=bn_buffers,
    forward=bn_forward,
    backward=bn_backward,
    reads=same_place,
    torch=bn_torch,
    torch_straight=straight("BatchNorm2d"),
    cancels_bias=True,
    norms_batch=True,
    known_as=("batchnorm", "batchnorm2d", "batch_norm", "batchnormalization", "batchnorm1d", "batchnorm3d"),
    stages=bn_stages,
)
