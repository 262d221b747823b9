"""`map`: tokens as the map whose positions they are, what `tokens` made of one."""

from __future__ import annotations

from math import isqrt, prod

from netdsl.graph.ir import show_shape
from netdsl.graph.types import MOST_AXES, Sizes, Tensor, map_of
from netdsl.ground.diagnostics import SpecProblem
from netdsl.ground.symbols import value_text
from netdsl.kernels.arrays import Array, Grads, Maps, Saved, Shape, Tokens
from netdsl.layers.contract import Attr, Attrs, LayerDef, StageCall, require_tokens
from netdsl.layers.rules.places import everywhere


def map_resolve(attrs: Attrs, x: Tensor) -> Attrs:
    """Without sizes the tokens follow each other along one axis."""
    require_tokens(x, "`map`", "leave it out: this is a map")
    return attrs if attrs["space"] is not None else {**attrs, "space": (x.length,)}


def map_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(T, D) -> (D, *space), of T places."""
    space = attrs["space"]
    if space[MOST_AXES:]:
        message = f"`map` takes one to three sizes, not {len(space)}"
        raise SpecProblem("N303", message, "space", "the sizes", help=("the features become the channels",))
    if prod(space) != x.length:
        message = f"a map of {show_shape(space)} has {prod(space):_} places, but {x.length:_} tokens arrive"
        raise SpecProblem("N203", message, "space", "the sizes", help=(_fitting(x.length, space),))
    return map_of(x.channels, *space)


def _fitting(length: int, space: Sizes) -> str:
    """Proposes sizes of so many places: a square, those given with one changed, or one axis."""
    side, places = isqrt(length), prod(space)
    if side * side == length > 1:
        return f"use {side}x{side}"
    for i, size in enumerate(space):
        if length % (places // size) == 0:
            return f"use {show_shape((*space[:i], length // (places // size), *space[i + 1 :]))}"
    return f"use {length}, a map of one axis"


def map_forward(x: Array, space: Shape) -> tuple[Array, Saved]:
    """x (N, T, D) -> y (N, D, *space), of (H, W) row by row."""
    return x.transpose(0, 2, 1).reshape(len(x), -1, *space), None


def map_backward(dy: Maps, saved: Saved) -> tuple[Tokens, Grads]:
    """The map as tokens again."""
    return dy.reshape(*dy.shape[:2], -1).transpose(0, 2, 1), {}


def map_torch_call(attrs: Attrs, x: Tensor) -> str:
    """`unflatten` only where there is more than one axis."""
    space = ", ".join(value_text(size) for size in attrs["space"])
    return "{x}.transpose(1, 2)" + (f".unflatten(2, ({space}))" if "," in space else "")


def map_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.moved import Moved

    space = (*attrs["space"], 1) if map_shape(attrs, x).axes < 2 else attrs["space"]  # a signal lies as an image
    first, *order = range(len(space) + 1)
    return (
        StageCall(Moved, (x.sizes, (x.channels, *space), ("n", *space, x.channels), (*order, first, len(space) + 1))),
    )


LAYER = LayerDef(
    name="map",
    summary="tokens as a map of HxW positions, alone as a signal",
    attrs=(Attr("space", "size", None, positional=True, minimum=1, label="the sizes", takes_label=True),),
    resolve=map_resolve,
    shape=map_shape,
    forward=map_forward,
    backward=map_backward,
    reads=everywhere,
    torch=None,
    torch_call=map_torch_call,
    known_as=("unpatchify", "to_map", "tomap", "untokens"),
    stages=map_stages,
)
