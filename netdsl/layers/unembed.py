"""`unembed`: how much each token is like each vector of an `embed`, whose matrix it uses: tied weights."""

from __future__ import annotations

import numpy as np

from netdsl.graph.ir import ParamSpec
from netdsl.graph.types import Tensor
from netdsl.ground.diagnostics import SpecProblem
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import Attrs, LayerDef, StageCall, refuse_map
from netdsl.layers.rules.places import everywhere


def unembed_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(T, D) -> (T, V), (D,) -> (V,)."""
    refuse_map(x, "`unembed`", "put `flatten` or `gap` before it")
    if x.channels != attrs["features"]:
        message = f"`unembed` compares with vectors of {attrs['features']} features, but {x.show()} arrives ({x.noun})"
        raise SpecProblem("N203", message, help=(f"put `linear {attrs['features']}` before it",))
    return x.with_channels(attrs["classes"])


def unembed_params(attrs: Attrs, x: Tensor) -> tuple[ParamSpec, ...]:
    return (ParamSpec("weight", (attrs["classes"], attrs["features"]), "embedding"),)


def unembed_forward(x: Array, weight: Array) -> tuple[Array, Saved]:
    """x (N, ..., D), weight (V, D) -> y (N, ..., V) = x weight^T, the weight of an `embed` (Press & Wolf 2017)."""
    return np.matmul(x, weight.T), (x, weight)


def unembed_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, ..., V) -> dx (N, ..., D) = dy weight; dweight = dy^T x over all tokens, added to what `embed` gives."""
    x, weight = saved
    rows = dy.reshape(-1, dy.shape[-1])
    return np.matmul(dy, weight), {"weight": np.matmul(rows.T, x.reshape(-1, x.shape[-1]))}


def unembed_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.linear import Linear
    from netdsl.stages.token_linear import TokenLinear

    if x.is_vector:
        return (StageCall(Linear, (attrs["classes"],)),)
    return (StageCall(TokenLinear, (x.sizes, attrs["classes"])),)


LAYER = LayerDef(
    name="unembed",
    summary="how much a token is like each vector of the `embed` labelled so, by its own weights",
    shape=unembed_shape,
    params=unembed_params,
    macs=lambda attrs, x: x.size * int(attrs["classes"]),
    forward=unembed_forward,
    backward=unembed_backward,
    reads=everywhere,
    torch=None,
    torch_call=lambda attrs, x: "F.linear({x}, {self}.weight)",
    known_as=("lmhead", "lm_head", "tied", "tiedlinear"),
    ties="embed",
    is_linear=True,
    by_token=True,
    stages=unembed_stages,
)
