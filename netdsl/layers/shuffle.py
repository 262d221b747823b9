"""`shuffle`: the channels of G groups dealt out in turn, so that grouped convolutions exchange what they know."""

from __future__ import annotations

from netdsl.graph.types import Tensor
from netdsl.ground.diagnostics import SpecProblem
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, call_text, require_map
from netdsl.layers.rules.places import same_place


def shuffle_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """The type of x, a map whose channels the groups divide."""
    require_map(x, "`shuffle`")
    if x.channels % attrs["groups"]:
        message = f"{attrs['groups']} groups do not divide {x.channels} channels"
        raise SpecProblem("N203", message, "groups", "the groups", help=(f"use a divisor of {x.channels}",))
    return x


def shuffle_forward(x: Array, groups: int) -> tuple[Array, Saved]:
    """x (N, C, *space): channel g * (C / groups) + i goes to place i * groups + g (Zhang et al. 2018)."""
    n, c, *space = x.shape
    return x.reshape(n, groups, c // groups, *space).swapaxes(1, 2).reshape(x.shape), groups


def shuffle_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, C, *space) -> dx of that shape: each channel back to its place."""
    n, c, *space = dy.shape
    return dy.reshape(n, c // saved, saved, *space).swapaxes(1, 2).reshape(dy.shape), {}


def shuffle_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.moved import Moved

    groups, n = attrs["groups"], x.axes
    order = (*range(n + 1), n + 2, n + 1)
    return (StageCall(Moved, (x.sizes, x.sizes, (*x.space, "n", groups, x.channels // groups), order)),)


LAYER = LayerDef(
    name="shuffle",
    summary="the channels of G groups dealt out in turn",
    attrs=(Attr("groups", "int", REQUIRED, flag="g", positional=True, minimum=1, label="the groups"),),
    shape=shuffle_shape,
    forward=shuffle_forward,
    backward=shuffle_backward,
    reads=same_place,
    torch=lambda attrs, x: call_text("nn.ChannelShuffle", attrs["groups"]),
    stages=shuffle_stages,
)
