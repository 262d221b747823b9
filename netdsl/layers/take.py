"""`take`: one token of a sequence."""

from __future__ import annotations

import numpy as np

from netdsl.graph.types import Tensor, vector
from netdsl.ground.diagnostics import SpecProblem
from netdsl.ground.symbols import value_text
from netdsl.kernels.arrays import Array, Grads, Saved, Tokens, Vectors
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, plural, require_tokens
from netdsl.layers.rules.places import everywhere


def take_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(T, D) -> (D,)."""
    require_tokens(x, "`take`")
    index = attrs["index"]
    if not -x.length <= index < x.length:
        message = f"token {index} is outside the {plural(x.length, 'token')}, which count from 0, or from the end as -1"
        nearest = f"use {x.length - 1} or less" if index > 0 else f"use {-x.length} or more"
        raise SpecProblem("N304", message, "index", help=(nearest,))
    return vector(x.channels)


def take_forward(x: Array, index: int) -> tuple[Array, Saved]:
    """x (N, T, D) -> y (N, D)."""
    return x[:, index], (x.shape, index)


def take_backward(dy: Vectors, saved: Saved) -> tuple[Tokens, Grads]:
    """dy at that token, zeros elsewhere."""
    shape, index = saved
    dx = np.zeros(shape, dy.dtype)
    dx[:, index] = dy
    return dx, {}


def take_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.tokens import Take

    return (StageCall(Take, (x.sizes, attrs["index"])),)


LAYER = LayerDef(
    name="take",
    summary="token I, counted from 0, or from the end as -1",
    attrs=(Attr("index", "int", REQUIRED, positional=True, label="the number of the token"),),
    shape=take_shape,
    forward=take_forward,
    backward=take_backward,
    reads=everywhere,
    torch=None,
    torch_call=lambda attrs, x: f"{{x}}[:, {value_text(attrs['index'])}]",
    stages=take_stages,
)
