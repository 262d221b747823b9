"""`reshape`: the same numbers as a map, tokens or a vector of another shape."""

from __future__ import annotations

from math import prod

from netdsl.graph.ir import show_shape
from netdsl.graph.types import Sizes, Tensor, from_sizes
from netdsl.ground.diagnostics import SpecProblem
from netdsl.ground.symbols import value_text
from netdsl.kernels.arrays import Array, Grads, Saved, Shape
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, call_text
from netdsl.layers.rules.places import everywhere


def reshape_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """x of any shape -> the shape that is asked for, of as many numbers."""
    have, want = x.size, prod(attrs["shape"])
    if have != want:
        message = f"{x.show()} holds {have:_} numbers, but {show_shape(attrs['shape'])} holds {want:_}"
        raise SpecProblem("N203", message, "shape", "the shape", help=_help(have, attrs["shape"]))
    if attrs["map"] and attrs["shape"] == (want,):
        help = (f"write `reshape 1x{want} map` for one channel", "leave `map` out for a vector")
        raise SpecProblem("N202", "a map has channels and one to three axes of space", "shape", "the shape", help=help)
    return from_sizes(attrs["shape"], attrs["map"])


def _help(have: int, shape: Sizes) -> tuple[str, ...]:
    """Proposes the shape with one size changed, where that is enough."""
    want = prod(shape)
    for i, size in enumerate(shape):
        if have % (want // size) == 0:
            changed = (*shape[:i], have // (want // size), *shape[i + 1 :])
            return (f"use {show_shape(changed)}",)
    return ()


def reshape_forward(x: Array, shape: Shape) -> tuple[Array, Saved]:
    """x (N, ...) -> y (N, *shape), in the same order."""
    return x.reshape(len(x), *shape), x.shape


def reshape_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, *shape) -> dx, the same numbers in the shape of x."""
    return dy.reshape(saved), {}


def reshape_torch(attrs: Attrs, x: Tensor) -> str:
    flat = "" if x.is_vector else "nn.Flatten(), "
    unflatten = call_text("nn.Unflatten", 1, attrs["shape"])
    return f"nn.Sequential({flat}{unflatten})" if flat else unflatten


LAYER = LayerDef(
    name="reshape",
    summary="the same numbers in the shape CxHxW",
    attrs=(
        Attr("shape", "size", REQUIRED, positional=True, minimum=1, label="the shape"),
        Attr("map", "word"),
    ),
    shape=reshape_shape,
    forward=reshape_forward,
    backward=reshape_backward,
    reads=everywhere,
    torch=reshape_torch,
    known_as=("unflatten", "view"),
    torch_call=lambda attrs, x: f"{{x}}.reshape(-1, {', '.join(value_text(size) for size in attrs['shape'])})",
)
