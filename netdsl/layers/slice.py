"""`slice`: some of the channels of a map, or of the features of tokens or a vector."""

from __future__ import annotations

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.ground.diagnostics import SpecProblem
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, features_axis
from netdsl.layers.rules.places import same_place


def slice_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(C, *space) -> (stop - start, *space); of tokens (T, D) and vectors (D,), the features."""
    start, stop, size = attrs["start"], attrs["stop"], x.channels
    what = "channels" if x.is_map else "features"
    if start >= size:
        message = f"a slice from {start} is outside the {size} {what}, which count from 0"
        raise SpecProblem("N304", message, "start", help=(f"use {size - 1} or less",))
    if stop <= start:
        message = f"a slice from {start} to {stop} is empty: the end is not included"
        raise SpecProblem("N304", message, "stop", help=(f"use {start + 1} or more",))
    if stop > size:
        message = f"a slice up to {stop} is outside the {size} {what}"
        raise SpecProblem("N304", message, "stop", help=(f"use {size} or less",))
    return x.with_channels(stop - start)


def slice_forward(x: Array, start: int, stop: int, axis: int = 1) -> tuple[Array, Saved]:
    """x (N, C, *space) -> channels start to stop - 1; of (N, D) the features, and of (N, T, D), whose axis is 2."""
    part = (*[slice(None)] * axis, slice(start, stop))
    return x[part], (x.shape, part)


def slice_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, stop - start, ...) or (N, T, stop - start) -> dx of the shape of x, zeros where nothing was taken."""
    shape, part = saved
    dx = np.zeros(shape, dy.dtype)
    dx[part] = dy
    return dx, {}


def slice_torch_call(attrs: Attrs, x: Tensor) -> str:
    axes, start, stop = "..." if x.is_tokens else ":", repr(attrs["start"]), repr(attrs["stop"])
    between = " : " if " " in start + stop else ":"
    return f"{{x}}[{axes}, {start}{between}{stop}]" if start != "0" else f"{{x}}[{axes}, :{stop}]"


def slice_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.slice import Slice

    return (StageCall(Slice, (x.sizes, attrs["start"], attrs["stop"])),)


LAYER = LayerDef(
    name="slice",
    summary="channels A to B - 1",
    attrs=(
        Attr("start", "int", REQUIRED, positional=True, minimum=0, label="the first channel"),
        Attr("stop", "int", REQUIRED, positional=True, minimum=1, label="the end"),
    ),
    resolve=features_axis,
    shape=slice_shape,
    forward=slice_forward,
    backward=slice_backward,
    reads=same_place,
    torch=None,
    torch_call=slice_torch_call,
    stages=slice_stages,
)
