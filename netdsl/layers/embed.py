"""`embed`: a learned vector for each number of a vocabulary."""

from __future__ import annotations

import numpy as np

from netdsl.graph.ir import ParamSpec
from netdsl.graph.types import Tensor, tokens
from netdsl.ground.diagnostics import SpecProblem
from netdsl.kernels.arrays import Array, Grads, Saved, Tokens
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, call_text
from netdsl.layers.rules.places import everywhere


def embed_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(T,) -> (T, D)."""
    if not x.is_ids:
        message = f"`embed` needs whole numbers of a vocabulary, but {x.show()} arrives ({x.noun})"
        help_text = "an input of 64 numbers from 0 to 64 is `input 64 of 65`; for features use `linear`"
        raise SpecProblem("N202", message, help=(help_text,), wanted="ids")
    return tokens(x.length, attrs["features"])


def embed_params(attrs: Attrs, x: Tensor) -> tuple[ParamSpec, ...]:
    return (ParamSpec("weight", (x.limit, attrs["features"]), "embedding"),)


def embed_forward(x: Array, weight: Array) -> tuple[Array, Saved]:
    """x (N, T), weight (V, D) -> y (N, T, D), of each number the row (Bengio et al. 2003)."""
    return weight[x], (x, weight.shape)


def embed_backward(dy: Tokens, saved: Saved, rows: int = 4096) -> tuple[None, Grads]:
    """dy (N, T, D) -> dweight (V, D) = onehot(x)^T dy, so many rows at a time; numbers themselves have no gradient."""
    x, shape = saved
    x, dy, dweight = x.reshape(-1), dy.reshape(-1, shape[1]), np.zeros(shape, dy.dtype)
    for begin in range(0, shape[0], rows):
        onehot = np.arange(begin, min(begin + rows, shape[0]))[:, None] == x
        dweight[begin : begin + rows] = np.matmul(onehot.astype(dy.dtype), dy)
    return None, {"weight": dweight}


def embed_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.embed import Embed

    return (StageCall(Embed, (x.length, x.limit, attrs["features"])),)


LAYER = LayerDef(
    name="embed",
    summary="a learned vector of D features for each number of a vocabulary",
    attrs=(Attr("features", "int", REQUIRED, positional=True, minimum=1, label="the features"),),
    shape=embed_shape,
    params=embed_params,
    forward=embed_forward,
    backward=embed_backward,
    reads=everywhere,
    torch=lambda attrs, x: call_text("nn.Embedding", x.limit, attrs["features"]),
    known_as=("embedding", "wte", "lookup", "tokenembedding"),
    takes_ids=True,
    stages=embed_stages,
)
