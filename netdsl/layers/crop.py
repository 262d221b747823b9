"""`crop`: the middle of a map, or a map without what lies at its sides (of an image, some rows and columns)."""

from __future__ import annotations

import numpy as np

from netdsl.graph.ir import show_shape
from netdsl.graph.types import Tensor, show_sized
from netdsl.ground.diagnostics import SpecProblem
from netdsl.ground.symbols import plain_value
from netdsl.kernels.arrays import Array, Grads, Saved, Sides
from netdsl.kernels.windows import Index
from netdsl.layers.contract import Attr, Attrs, LayerDef, StageCall, require_map
from netdsl.layers.rules.windows import sides_text


def crop_resolve(attrs: Attrs, x: Tensor) -> Attrs:
    """The sides that go. Around the middle round(n / 2) of n rows go before, as in torchvision's `center_crop`: Python
    rounds a half to the even number, so one row goes behind, of three two go before, of five two."""
    require_map(x, "`crop`")
    size, sides = attrs["output_size"], attrs["sides"]
    if size is None and sides is None:
        help = ("write `crop 56x56`, `crop @skip` for the size of a label, or `crop p1` for what goes on each side",)
        raise SpecProblem("N305", "`crop` needs a size", help=help)
    if size is None:
        return attrs
    if sides is not None:
        message = "`crop` takes a size or sides, not both"
        raise SpecProblem("N313", message, "sides", help=("leave out one of the two",))
    if any(want > have for want, have in zip(size, x.space, strict=True)):
        least = show_shape(tuple(map(min, size, x.space)))
        message = f"a crop to {show_shape(size)} is larger than {show_sized('map', x.space, 'the')}"
        raise SpecProblem("N201", message, "output_size", "the size", help=(f"use {least}, or less",))
    spare = [have - want for have, want in zip(x.space, plain_value(size), strict=True)]
    return {**attrs, "sides": tuple((round(n / 2), n - round(n / 2)) for n in spare)}


def crop_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(C, *space) -> of an image (C, H - top - bottom, W - left - right)."""
    left = tuple(size - sum(side) for size, side in zip(x.space, attrs["sides"], strict=True))
    if min(left) < 1:
        message = f"to take {sides_text(attrs['sides'])} away leaves nothing of {show_sized('map', x.space)}"
        raise SpecProblem("N201", message, "sides", "the sides", help=(f"use p{(min(x.space) - 1) // 2} or less",))
    return x.with_space(left)


def crop_forward(x: Array, sides: Sides) -> tuple[Array, Saved]:
    """x (N, C, *space) -> y without what `sides` says, (before, after) for each axis of space."""
    axes = zip(x.shape[2:], sides, strict=True)
    kept: Index = (..., *(slice(before, size - after) for size, (before, after) in axes))
    return x[kept], sides


def crop_backward(dy: Array, sides: Sides) -> tuple[Array, Grads]:
    """dy of the shape of y -> dx (N, C, *space): dy in its place, zeros around it."""
    return np.pad(dy, ((0, 0), (0, 0), *sides)), {}


def crop_torch_call(attrs: Attrs, x: Tensor) -> str:
    places = [_place(size, *side) for size, side in zip(x.space, attrs["sides"], strict=True)]
    return f"{{x}}[:, :, {', '.join(places)}]" if any(place != ":" for place in places) else "{x}"


def _place(size: int, before: int, after: int) -> str:
    """`8:64`, `8:`, `:64` or `:`."""
    start, stop = repr(before) if before != 0 else "", repr(size - after) if after != 0 else ""
    return f"{start} : {stop}".strip() if " " in start + stop else f"{start}:{stop}"


def crop_reads(attrs: Attrs, places: Array, axis: int, size: int, out: int) -> Array:
    """Place i reads what lies as far behind what goes before."""
    return places + attrs["sides"][axis][0]


def crop_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.crop import Crop

    return (StageCall(Crop, (x.sizes, attrs["sides"])),)


LAYER = LayerDef(
    name="crop",
    summary="the middle of a map, of HxW or the size of a label",
    attrs=(
        Attr("output_size", "spatial", None, positional=True, minimum=1, label="the size", takes_label=True),
        Attr("sides", "sides", None, flag="p", minimum=0, label="the sides", set_by=("output_size",)),
    ),
    resolve=crop_resolve,
    shape=crop_shape,
    forward=crop_forward,
    backward=crop_backward,
    reads=crop_reads,
    torch=None,
    torch_call=crop_torch_call,
    known_as=("center_crop", "centercrop", "cropping2d", "zerocrop"),
    stages=crop_stages,
)
