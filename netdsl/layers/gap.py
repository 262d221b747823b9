"""`gap`: global average pooling, maps to vectors."""

from __future__ import annotations

import math

import numpy as np

from netdsl.graph.types import Tensor, vector
from netdsl.kernels.arrays import Array, Grads, Maps, Saved, Vectors
from netdsl.layers.contract import Attrs, LayerDef, StageCall, for_axes, require_map
from netdsl.layers.rules.places import everywhere


def gap_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(C, *space) -> (C,)."""
    require_map(x, "`gap`", "leave it out: a vector has no axes of space")
    return vector(x.channels)


def gap_forward(x: Array) -> tuple[Array, Saved]:
    """x (N, C, *space) -> y (N, C), the mean over all places, of an image H and W."""
    return x.mean(axis=tuple(range(2, x.ndim))), x.shape


def gap_backward(dy: Vectors, saved: Saved) -> tuple[Maps, Grads]:
    """Every element of a channel gets dy / (the number of places)."""
    n, c, *space = saved
    share = dy / math.prod(space)
    return np.broadcast_to(share.reshape(n, c, *[1] * len(space)), saved), {}


def gap_torch_call(attrs: Attrs, x: Tensor) -> str:
    axes = tuple(range(2, 2 + x.axes))
    return f"{{x}}.mean(dim={axes if x.axes > 1 else 2})"


def gap_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.global_pool import GlobalAverage

    return (StageCall(GlobalAverage, (x.sizes,)),)


LAYER = LayerDef(
    name="gap",
    summary="global average pooling",
    shape=gap_shape,
    forward=gap_forward,
    backward=gap_backward,
    reads=everywhere,
    torch=lambda attrs, x: for_axes("nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())", x),
    torch_call=gap_torch_call,
    known_as=("globalavgpool", "global_average_pool", "globalaveragepooling", "globalaveragepool"),
    stages=gap_stages,
)
