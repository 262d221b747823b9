"""`mha`: multi-head self-attention, as in the transformer's encoder."""

from __future__ import annotations

import numpy as np

from netdsl.graph.ir import ParamSpec
from netdsl.graph.types import Tensor
from netdsl.ground.diagnostics import SpecProblem
from netdsl.kernels.arrays import Array, Grads, Param, Saved, Tokens
from netdsl.kernels.stable import softmax
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, call_text, require_tokens
from netdsl.layers.rules.places import everywhere


def mha_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """The type of x, tokens (T, D) whose D the heads divide."""
    require_tokens(x, "`mha`")
    if x.channels % attrs["heads"]:
        message = f"{attrs['heads']} heads do not divide {x.channels} features"
        raise SpecProblem("N203", message, "heads", "the heads", help=(f"use a divisor of {x.channels}",))
    return x


def mha_params(attrs: Attrs, x: Tensor) -> tuple[ParamSpec, ...]:
    """The tensors of nn.MultiheadAttention: queries, keys and values in one matrix."""
    d = x.channels
    inner, outer = {"fan_in": d, "fan_out": 3 * d}, {"fan_in": d, "fan_out": d}
    weights = [ParamSpec("in_proj_weight", (3 * d, d), "weight", **inner)]
    out = [ParamSpec("out_proj.weight", (d, d), "weight", **outer)]
    if not attrs["nobias"]:
        weights.append(ParamSpec("in_proj_bias", (3 * d,), "zeros"))
        out.append(ParamSpec("out_proj.bias", (d,), "zeros"))
    return (*weights, *out)


def mha_macs(attrs: Attrs, x: Tensor) -> int:
    """3 * T * D^2 for queries, keys, values, T * D^2 for the output, 2 * T^2 * D for scores and mixing."""
    t, d = x.length, x.channels
    return 4 * t * d * d + 2 * t * t * d


def mha_forward(
    x: Array, in_proj_weight: Array, in_proj_bias: Param, out_proj_weight: Array, out_proj_bias: Param, heads: int
) -> tuple[Array, Saved]:
    """x (N, T, D) -> y (N, T, D) = concat over heads of softmax(q k^T / sqrt(D / heads)) v, times out_proj.

    Vaswani et al. 2017, eq. 1; q, k, v are rows 0, 1, 2 times D of in_proj_weight (3D, D) applied to x, as in PyTorch.
    """
    n, t, d = x.shape
    qkv = np.matmul(x, in_proj_weight.T)
    if in_proj_bias is not None:
        qkv = qkv + in_proj_bias
    q, k, v = qkv.reshape(n, t, 3, heads, d // heads).transpose(2, 0, 3, 1, 4)  # each (N, heads, T, D/heads)
    scale = (d // heads) ** -0.5
    weights = softmax(np.matmul(q * scale, k.swapaxes(2, 3)), 3)  # (N, heads, T, T)
    mixed = np.matmul(weights, v).transpose(0, 2, 1, 3).reshape(n, t, d)
    y = np.matmul(mixed, out_proj_weight.T)
    if out_proj_bias is not None:
        y = y + out_proj_bias
    return y, (x, q, k, v, weights, mixed, in_proj_weight, out_proj_weight, in_proj_bias is not None)


def mha_backward(dy: Tokens, saved: Saved) -> tuple[Tokens, Grads]:
    """Back through the output matrix, the mixing, the softmax (ds = w * (dw - sum(dw * w))), and the input matrix."""
    x, q, k, v, weights, mixed, in_proj_weight, out_proj_weight, has_bias = saved
    n, t, d = x.shape
    heads = q.shape[1]
    scale = (d // heads) ** -0.5
    dmixed = np.matmul(dy, out_proj_weight).reshape(n, t, heads, -1).transpose(0, 2, 1, 3)
    dweights = np.matmul(dmixed, v.swapaxes(2, 3))
    dscores = weights * (dweights - (dweights * weights).sum(axis=3, keepdims=True))
    dq, dk = np.matmul(dscores, k) * scale, np.matmul(dscores.swapaxes(2, 3), q) * scale
    dv = np.matmul(weights.swapaxes(2, 3), dmixed)
    dqkv = np.stack([dq, dk, dv]).transpose(1, 3, 0, 2, 4).reshape(n * t, 3 * d)
    rows = dy.reshape(n * t, d)
    grads = {
        "in_proj_weight": np.matmul(dqkv.T, x.reshape(n * t, d)),
        "out_proj.weight": np.matmul(rows.T, mixed.reshape(n * t, d)),
    }
    if has_bias:
        grads |= {"in_proj_bias": dqkv.sum(axis=0), "out_proj.bias": rows.sum(axis=0)}
    return np.matmul(dqkv, in_proj_weight).reshape(x.shape), grads


def mha_torch(attrs: Attrs, x: Tensor) -> str:
    options = {"bias": False} if attrs["nobias"] else {}
    return call_text("nn.MultiheadAttention", x.channels, attrs["heads"], **options, batch_first=True)


def mha_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.attention import Attention

    return (StageCall(Attention, (x.sizes, attrs["heads"])),)


LAYER = LayerDef(
    name="mha",
    summary="self-attention with H heads",
    attrs=(
        Attr("heads", "int", REQUIRED, positional=True, minimum=1, label="the heads"),
        Attr("nobias", "word"),
    ),
    shape=mha_shape,
    params=mha_params,
    macs=mha_macs,
    forward=mha_forward,
    backward=mha_backward,
    reads=everywhere,
    torch=mha_torch,
    torch_call=lambda attrs, x: "{self}({x}, {x}, {x}, need_weights=False)[0]",
    known_as=("attention", "multiheadattention"),
    stages=mha_stages,
)
