"""`gap`: global average pooling, maps to vectors."""

from __future__ import annotations

import numpy as np

from netdsl.graph.types import Tensor, vector
from netdsl.kernels.arrays import Array, Grads, Maps, Saved, Vectors
from netdsl.layers.contract import Attrs, LayerDef, StageCall, require_image
from netdsl.layers.rules.places import everywhere


def gap_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(C, H, W) -> (C,)."""
    require_image(x, "`gap`", "leave it out: a vector has no height and width")
    return vector(x.channels)


def gap_forward(x: Array) -> tuple[Array, Saved]:
    """x (N, C, H, W) -> y (N, C), the mean over H and W."""
    return x.mean(axis=(2, 3)), x.shape


def gap_backward(dy: Vectors, saved: Saved) -> tuple[Maps, Grads]:
    """Every element of a channel gets dy / (H*W)."""
    _, _, h, w = saved
    return np.broadcast_to(dy[:, :, None, None] / (h * w), saved), {}


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
    torch=lambda attrs, x: "nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())",
    torch_call=lambda attrs, x: "{x}.mean(dim=(2, 3))",
    known_as=("globalavgpool", "global_average_pool", "globalaveragepooling", "globalaveragepool"),
    stages=gap_stages,
)
