"""`pad`: zeros around a map."""

from __future__ import annotations

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.ground.symbols import spatial_text
from netdsl.kernels.arrays import Array, Grads, Saved, Sides
from netdsl.kernels.windows import within
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, call_text, for_axes, require_map
from netdsl.layers.rules.windows import torch_sides


def pad_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(C, *space) -> of an image (C, top + H + bottom, left + W + right)."""
    require_map(x, "`pad`")
    sides = zip(x.space, attrs["padding"], strict=True)
    return x.with_space(tuple(before + size + after for size, (before, after) in sides))


def pad_forward(x: Array, padding: Sides) -> tuple[Array, Saved]:
    """x (N, C, *space) -> y with zeros around each map: padding (before, after) for each axis of space."""
    return np.pad(x, ((0, 0), (0, 0), *padding)), (x.shape, padding)


def pad_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy of the shape of y -> dx (N, C, *space), what belongs to x."""
    (_, _, *space), padding = saved
    return within(dy, padding, space), {}


def pad_torch(attrs: Attrs, x: Tensor) -> str:
    sides = torch_sides(attrs["padding"])
    is_one = all(side == sides[0] for side in sides)
    before = tuple(before for before, _ in attrs["padding"])
    return call_text(for_axes("nn.ZeroPad2d", x), spatial_text(before) if is_one else sides)


def pad_reads(attrs: Attrs, places: Array, axis: int, size: int, out: int) -> Array:
    """Place i reads i - padding."""
    return places - attrs["padding"][axis][0]


def pad_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.pad import Pad

    return (StageCall(Pad, (x.sizes, attrs["padding"])),)


LAYER = LayerDef(
    name="pad",
    summary="P zeros on each side of every axis of space",
    attrs=(Attr("padding", "sides", REQUIRED, flag="p", positional=True, minimum=0, label="the padding"),),
    shape=pad_shape,
    forward=pad_forward,
    backward=pad_backward,
    reads=pad_reads,
    torch=pad_torch,
    known_as=("zeropad", "zero_pad", "zeropad2d", "zeropadding"),
    idle={"padding": 0},
    stages=pad_stages,
)
