"""`mha`: multi-head self-attention, as in the transformer's encoder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from netdsl.graph.ir import ParamSpec
from netdsl.graph.types import Tensor
from netdsl.ground.diagnostics import SpecProblem
from netdsl.ground.symbols import plain_value, value_text
from netdsl.kernels.arrays import Array, Grads, Param, Saved, Tokens
from netdsl.kernels.attention import (
    attend,
    attention_backward,
    attention_weights,
    dropped_weights,
    mixed_values,
    queries_keys_values,
    rotated,
)
from netdsl.kernels.positions import rotary_table
from netdsl.kernels.stable import softmax
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, call_text, plural, require_tokens
from netdsl.layers.rules.places import everywhere

BASE = 10000.0


def mha_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """The type of x, tokens (T, D) whose D the heads divide; the heads of keys and values divide the heads."""
    require_tokens(x, "`mha`")
    heads, kv = attrs["heads"], attrs["kv"]
    if x.channels % heads:
        message = f"{heads} heads do not divide {x.channels} features"
        raise SpecProblem("N203", message, "heads", "the heads", help=(f"use a divisor of {x.channels}",))
    if heads % kv:
        message = f"{plural(kv, 'head')} of keys and values cannot serve {plural(heads, 'head')} of queries"
        raise SpecProblem("N203", message, "kv", "the heads of keys", help=(f"use a divisor of {heads}",))
    if attrs["rope"] and x.channels // heads % 2:
        message = f"`rope` turns features in pairs, but a head has {x.channels // heads}"
        raise SpecProblem(
            "N203", message, "rope", help=(f"{plural(heads, 'head')} need a multiple of {2 * heads} features",)
        )
    if attrs["base"] != BASE and not attrs["rope"]:
        raise SpecProblem("N313", "`base` is for `rope` alone", "base", help=(f"write `rope base={attrs['base']:g}`",))
    return x


def mha_params(attrs: Attrs, x: Tensor) -> tuple[ParamSpec, ...]:
    """The tensors of nn.MultiheadAttention: queries, keys and values in one matrix, in which keys and values may be
    fewer."""
    d = x.channels
    joint = d + 2 * attrs["kv"] * (d // attrs["heads"])
    inner, outer = {"fan_in": d, "fan_out": joint}, {"fan_in": d, "fan_out": d}
    weights = [ParamSpec("in_proj_weight", (joint, d), "weight", **inner)]
    out = [ParamSpec("out_proj.weight", (d, d), "weight", **outer)]
    if not attrs["nobias"]:
        weights.append(ParamSpec("in_proj_bias", (joint,), "zeros"))
        out.append(ParamSpec("out_proj.bias", (d,), "zeros"))
    return (*weights, *out)


def mha_macs(attrs: Attrs, x: Tensor) -> int:
    """3 * T * D^2 for queries, keys, values (fewer heads of keys and values make less), T * D^2 for the output, 2 * T^2
    * D for scores and mixing; where it is causal T * (T + 1) * D, since what a token does not read is no score."""
    t, d = x.length, x.channels
    joint = d + 2 * int(attrs["kv"]) * (d // int(attrs["heads"]))
    return t * d * (joint + d) + (t * (t + 1) if attrs["causal"] else 2 * t * t) * d


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


def attention_forward(
    x: Tokens,
    in_proj_weight: Array,
    in_proj_bias: Param,
    out_proj_weight: Array,
    out_proj_bias: Param,
    heads: int,
    kv: int,
    causal: bool = False,
    rope: bool = False,
    base: float = 10000.0,
) -> tuple[Tokens, Saved]:
    """x (N, T, D) -> y (N, T, D), self-attention (`attend`). causal: a token reads itself and those before it; kv:
    heads of keys and values, each for heads / kv heads of queries (Ainslie et al. 2023); rope: queries and keys are
    turned by their positions (Su et al. 2021), features i and i + half of a head together, as in Hugging Face's
    Llama."""
    angles = base if rope else None
    return attend(x, in_proj_weight, in_proj_bias, out_proj_weight, out_proj_bias, heads, kv, causal, angles, None)


def attention_dropout_forward(
    x: Tokens,
    in_proj_weight: Array,
    in_proj_bias: Param,
    out_proj_weight: Array,
    out_proj_bias: Param,
    training: bool,
    rng: np.random.Generator,
    heads: int,
    kv: int,
    dropout: float,
    causal: bool = False,
    rope: bool = False,
    base: float = 10000.0,
) -> tuple[Tokens, Saved]:
    """x (N, T, D) -> y (N, T, D), as `attention_forward`, but in training a dropout follows the softmax: the weights
    (N, heads, T, T) are multiplied by its factor."""
    n, t, _ = x.shape
    _, factor = dropped_weights(np.ones((n, heads, t, t), x.dtype), dropout, training, rng)
    angles = base if rope else None
    return attend(x, in_proj_weight, in_proj_bias, out_proj_weight, out_proj_bias, heads, kv, causal, angles, factor)


def attention_go_on(
    x: Tokens,
    in_proj_weight: Array,
    in_proj_bias: Param,
    out_proj_weight: Array,
    out_proj_bias: Param,
    heads: int,
    kv: int,
    state: Saved,
    rope: bool = False,
    base: float = 10000.0,
) -> tuple[Tokens, Saved]:
    """x (N, S, D), the next tokens of causal attention -> y (N, S, D), and the state: the keys and values of all tokens
    so far, which those that come later read, in buffers (N, kv, 1, room, D/heads), and how many they are. The next call
    writes into these buffers."""
    q, k, v = queries_keys_values(x, in_proj_weight, in_proj_bias, heads, kv)
    keys, values, begin = (k[:, :, :, :0], v[:, :, :, :0], 0) if state is None else state
    end = begin + x.shape[1]
    if rope:
        table = rotary_table(begin, end, q.shape[-1], base, x.dtype)
        q, k = rotated(q, table), rotated(k, table)
    keys, values = appended(keys, k, begin), appended(values, v, begin)
    weights = attention_weights(q, keys[:, :, :, :end], x.shape[1] > 1)  # a single token reads all
    _, y = mixed_values(weights, values[:, :, :, :end], out_proj_weight, out_proj_bias)
    return y, (keys, values, end)


def appended(buffer: Array, new: Array, begin: int) -> Array:
    """new (N, kv, 1, S, D) behind the first `begin` tokens of a buffer (N, kv, 1, room, D), or of one that has room for
    twice as many where it has none."""
    end = begin + new.shape[3]
    if end > buffer.shape[3]:
        larger = np.zeros((*new.shape[:3], max(64, 2 * end), new.shape[4]), new.dtype)
        larger[:, :, :, :begin] = buffer[:, :, :, :begin]
        buffer = larger
    buffer[:, :, :, begin:end] = new
    return buffer


SELF_ATTENTION = '''class SelfAttention(nn.Module):
    """nn.MultiheadAttention of tokens (N, T, D) with themselves, by the same params. kv: heads of keys and values, if
    fewer than heads of queries; causal: no token reads what is behind it; rotary: turns queries and keys."""

    def __init__(self, features, heads, kv=None, causal=False, rotary=None, bias=True):
        super().__init__()
        self.heads, self.kv, self.size = heads, kv or heads, features // heads
        self.causal, self.rotary = causal, rotary
        joint = features + 2 * self.kv * self.size
        self.in_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(joint, features)))
        self.in_proj_bias = nn.Parameter(torch.zeros(joint)) if bias else None
        self.out_proj = nn.Linear(features, features, bias)

    def forward(self, x):
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        by_head = qkv.unflatten(2, (-1, self.size)).transpose(1, 2)  # (N, heads + 2 * kv, T, size)
        q, k, v = by_head.split([self.heads, self.kv, self.kv], dim=1)
        if self.rotary is not None:
            q, k = self.rotary(q), self.rotary(k)
        return self.out_proj(self.mix(q, k, v).transpose(1, 2).flatten(2))

    def mix(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=self.causal, enable_gqa=self.kv < self.heads)'''

WITH_DROPOUT = '''class SelfAttentionWithDropout(SelfAttention):
    """SelfAttention that drops weights behind the softmax, as nn.MultiheadAttention does with `dropout`."""

    def __init__(self, *sizes, dropout, **options):
        super().__init__(*sizes, **options)
        self.dropout = nn.Dropout(dropout)

    def mix(self, q, k, v):
        if not self.training:
            return super().mix(q, k, v)
        k, v = (part.repeat_interleave(self.heads // self.kv, dim=1) for part in (k, v))
        scores = q @ k.transpose(2, 3) * self.size**-0.5
        if self.causal:
            behind = torch.ones_like(scores, dtype=torch.bool).triu(1)
            scores = scores.masked_fill(behind, float("-inf"))
        return self.dropout(scores.softmax(dim=3)) @ v'''

ROTARY = '''class Rotary(nn.Module):
    """Turns features i and i + size / 2 of the token at position t, as a point of the plane, by the angle
    t * base^(-2i / size) (Su et al. 2021; these pairs as in Hugging Face's LlamaAttention)."""

    def __init__(self, length, size, base):
        super().__init__()
        positions, i = (torch.arange(n, dtype=torch.float64, device="cpu") for n in (length, size // 2))
        angles = positions[:, None] * base ** (-2 * i / size)
        self.table = torch.stack([angles.cos(), angles.sin()])

    def forward(self, x):
        cos, sin = self.table.to(x)
        a, b = x.chunk(2, dim=-1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)'''


def _is_plain(attrs: Attrs) -> bool:
    """Whether nn.MultiheadAttention does it, and this file's first kernels."""
    is_shared = plain_value(attrs["kv"]) != plain_value(attrs["heads"])
    return not (is_shared or attrs["causal"] or attrs["rope"] or attrs["dropout"])


def mha_torch(attrs: Attrs, x: Tensor) -> str:
    options = {"bias": False} if attrs["nobias"] else {}
    d, heads = x.channels, attrs["heads"]
    if _is_plain(attrs):
        return call_text("nn.MultiheadAttention", d, heads, **options, batch_first=True)
    more = [] if attrs["kv"] == heads else [f"kv={value_text(attrs['kv'])}"]
    more += ["causal=True"] if attrs["causal"] else []
    if attrs["rope"]:
        more.append(f"rotary={call_text('Rotary', x.length, d // heads, attrs['base'])}")
    more += [f"dropout={value_text(attrs['dropout'])}"] if attrs["dropout"] else []
    more += ["bias=False"] if attrs["nobias"] else []
    name = "SelfAttentionWithDropout" if attrs["dropout"] else "SelfAttention"
    return f"{name}({', '.join([value_text(d), value_text(heads), *more])})"


def mha_torch_call(attrs: Attrs, x: Tensor) -> str:
    return "{self}({x}, {x}, {x}, need_weights=False)[0]" if _is_plain(attrs) else "{self}({x})"


def mha_weights(saved: Saved) -> Array:
    """What any forward of this file saved -> the weights (N, heads, T, T); of grouped heads (N, kv, heads/kv, T, T)."""
    x, weights = saved[0], saved[4]
    made: Array = weights.reshape(len(x), -1, *weights.shape[-2:])
    return made


def mha_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.attention import Attention

    if not _is_plain(attrs):
        from netdsl.stages.causal_attention import CausalAttention

        base, drops = attrs["base"] if attrs["rope"] else None, attrs["dropout"] > 0
        return (StageCall(CausalAttention, (x.sizes, attrs["heads"], attrs["kv"], attrs["causal"], base, drops)),)

    return (StageCall(Attention, (x.sizes, attrs["heads"])),)


PLAIN = LayerDef(
    name="mha",
    summary="self-attention with H heads",
    attrs=(
        Attr("heads", "int", REQUIRED, positional=True, minimum=1, label="the heads"),
        Attr("nobias", "word"),
        Attr("causal", "word"),
        Attr("kv", "int", "heads", minimum=1, label="the heads of keys and values"),
        Attr("rope", "word"),
        Attr("base", "float", BASE, above=0, label="the base of the angles"),
        Attr("dropout", "float", 0.0, minimum=0, below=1, label="the probability"),
    ),
    shape=mha_shape,
    params=mha_params,
    macs=mha_macs,
    forward=mha_forward,
    backward=mha_backward,
    reads=everywhere,
    torch=mha_torch,
    torch_call=mha_torch_call,
    torch_helpers=(ROTARY, SELF_ATTENTION, WITH_DROPOUT),
    known_as=("attention", "multiheadattention", "causalselfattention", "flashattention", "gqa"),
    go_on=attention_go_on,
    goes_on=lambda attrs: bool(attrs["causal"]),
    attention_of=mha_weights,
    stages=mha_stages,
)
WITH_WORDS = replace(
    PLAIN,
    forward=attention_forward,
    backward=attention_backward,
    when=lambda attrs: not _is_plain(attrs) and not attrs["dropout"],
)
DROPPING = replace(
    WITH_WORDS,
    forward=attention_dropout_forward,
    when=lambda attrs: attrs["dropout"] > 0,
    draws=lambda attrs, x: (dropped_weights, (attrs["heads"], x.length, x.length), attrs["dropout"]),
    factor_of=lambda saved: saved[-1],
    torch_draws="dropout",
)
LAYER = replace(PLAIN, variants=(WITH_WORDS, DROPPING))
