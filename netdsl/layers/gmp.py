"""`gmp`: global maximum pooling, maps to vectors."""

from __future__ import annotations

import math

import numpy as np

from netdsl.graph.types import Tensor, vector
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import Attrs, LayerDef, StageCall, for_axes, require_map
from netdsl.layers.rules.places import everywhere


def gmp_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(C, *space) -> (C,)."""
    require_map(x, "`gmp`")
    return vector(x.channels)


def gmp_forward(x: Array) -> tuple[Array, Saved]:
    """x (N, C, *space) -> y (N, C), the maximum over all places; the first one wins a tie, NaN wins over all."""
    flat = x.reshape(*x.shape[:2], -1)
    winner = flat.argmax(axis=2)[:, :, None]  # (N, C, 1), the place counted in reading order
    return np.take_along_axis(flat, winner, axis=2)[:, :, 0], (x.shape, winner)


def gmp_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, C) -> dx (N, C, *space): each dy goes to the element that won its map."""
    shape, winner = saved
    is_winner = np.arange(math.prod(shape[2:])) == winner  # (N, C, places)
    return np.where(is_winner, dy[:, :, None], 0).reshape(shape), {}


def gmp_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.global_pool import GlobalMaximum

    return (StageCall(GlobalMaximum, (x.sizes,)),)


LAYER = LayerDef(
    name="gmp",
    summary="global maximum pooling",
    shape=gmp_shape,
    forward=gmp_forward,
    backward=gmp_backward,
    reads=everywhere,
    torch=lambda attrs, x: for_axes("nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())", x),
    # amax would share dy among ties
    torch_call=lambda attrs, x: for_axes("F.adaptive_max_pool2d({x}, 1).flatten(1)", x),
    known_as=("globalmaxpool", "global_max_pool", "global_max_pooling", "adaptivemaxpool", "adaptivemaxpool2d"),
    stages=gmp_stages,
)
