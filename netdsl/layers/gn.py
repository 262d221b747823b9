"""`gn`: group normalisation of maps or vectors."""

from __future__ import annotations

from netdsl.graph.ir import ParamSpec
from netdsl.graph.types import Tensor
from netdsl.ground.diagnostics import SpecProblem
from netdsl.kernels.arrays import Array, Grads, Param, Saved
from netdsl.kernels.group_norms import groups_backward, groups_forward
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, call_text, refuse_tokens
from netdsl.layers.rules.places import everywhere


def gn_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """The type of x, a map or a vector whose channels the groups divide into more than single numbers."""
    refuse_tokens(x, "`gn`", "use `ln`")
    groups, c = attrs["groups"], x.channels
    if c % groups:
        message = f"{groups} groups do not divide {c} channels"
        raise SpecProblem("N203", message, "groups", "the groups", help=(f"use a divisor of {c}",))
    if groups == x.size:
        message = f"{groups} groups of {x.show()} hold one number each, which has no variance"
        fewer = [d for d in range(1, c) if c % d == 0]
        help = f"use {fewer[-1]} or less" if fewer else "remove it: its output would always be the same"
        raise SpecProblem("N203", message, "groups", "the groups", help=(help,))
    return x


def gn_params(attrs: Attrs, x: Tensor) -> tuple[ParamSpec, ...]:
    size = (x.channels,)
    return () if attrs["noaffine"] else (ParamSpec("weight", size, "ones"), ParamSpec("bias", size, "zeros"))


def gn_forward(x: Array, weight: Param, bias: Param, groups: int, eps: float = 1e-5) -> tuple[Array, Saved]:
    """x (N, C) or (N, C, *space), each group of C / groups channels to mean 0 and variance 1 (Wu & He 2018)."""
    return groups_forward(x, groups, weight, bias, eps)


def gn_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, C, ...) -> dx of that shape, {weight, bias}; see groups_backward."""
    return groups_backward(dy, saved)


def gn_torch(attrs: Attrs, x: Tensor) -> str:
    options = {} if attrs["eps"] == 1e-5 else {"eps": attrs["eps"]}
    if attrs["noaffine"]:
        options["affine"] = False
    return call_text("nn.GroupNorm", attrs["groups"], x.channels, **options)


def gn_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.group_norm import GroupNorm

    return (StageCall(GroupNorm, (x.sizes, attrs["groups"], attrs["eps"])),)


LAYER = LayerDef(
    name="gn",
    summary="group normalisation with G groups",
    attrs=(
        Attr("groups", "int", REQUIRED, flag="g", positional=True, minimum=1, label="the groups"),
        Attr("eps", "float", 1e-5, above=0),
        Attr("noaffine", "word"),
    ),
    shape=gn_shape,
    params=gn_params,
    forward=gn_forward,
    backward=gn_backward,
    reads=everywhere,
    torch=gn_torch,
    known_as=("groupnorm", "group_norm"),
    stages=gn_stages,
)
