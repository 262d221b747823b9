"""Attention with what a decoder asks of it: no token reads what is behind it, groups of heads share keys and values,
and queries and keys are turned by their positions. The layer `mha` has kernels that are made of these."""

from __future__ import annotations

import numpy as np

from netdsl.kernels.arrays import Array, Grads, Param, Saved, Tokens
from netdsl.kernels.positions import rotary_table
from netdsl.kernels.stable import softmax


def rotated(x: Array, table: Array) -> Array:
    """x (..., T, D), table (2, T, D/2) -> features i and i + D/2 of token t, as a point of the plane, turned by the
    angle of t and i (Su et al. 2021, eq. 34; the pairs as in Hugging Face's LlamaAttention and in GPT-NeoX)."""
    cos, sin = table
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def rotated_back(dy: Array, table: Array) -> Array:
    """dy (..., T, D), table (2, T, D/2) -> dx of `rotated`: it turns by the negative angles."""
    return rotated(dy, table * np.array([1, -1], table.dtype)[:, None, None])


def queries_keys_values(x: Tokens, weight: Array, bias: Param, heads: int, kv: int) -> tuple[Array, Array, Array]:
    """x (N, T, D), weight (D + 2 * kv * D/heads, D) -> q (N, kv, heads/kv, T, D/heads), k and v (N, kv, 1, T, D/heads):
    each head of k and v is there for so many heads of q that follow each other."""
    n, t, d = x.shape
    size = d // heads
    qkv = np.matmul(x, weight.T)
    if bias is not None:
        qkv = qkv + bias
    q, k, v = qkv[..., :d], qkv[..., d : d + kv * size], qkv[..., d + kv * size :]
    q, k, v = (part.reshape(n, t, kv, -1, size).transpose(0, 2, 3, 1, 4) for part in (q, k, v))
    return q, k, v


def attention_weights(q: Array, k: Array, causal: bool) -> Array:
    """q (..., S, D), k (..., T, D) -> softmax(q k^T / sqrt(D)), (..., S, T). causal: query s, the last of which belongs
    to the last key, has a weight of 0 for every key behind its own."""
    scores = np.matmul(q * q.shape[-1] ** -0.5, k.swapaxes(-1, -2))
    if causal:
        s, t = scores.shape[-2:]
        scores = np.where(np.tri(s, t, t - s, dtype=bool), scores, -np.inf)
    return softmax(scores, -1)


def mixed_values(weights: Array, v: Array, weight: Array, bias: Param) -> tuple[Array, Array]:
    """weights (N, kv, heads/kv, T, S), v (N, kv, 1, S, D/heads) -> weights v, its heads beside each other, (N, T, D),
    and that times weight (D, D), plus bias (D,)."""
    n, kv, group, t, _ = weights.shape
    mixed = np.matmul(weights, v).transpose(0, 3, 1, 2, 4).reshape(n, t, -1)
    y = np.matmul(mixed, weight.T)
    return mixed, y if bias is None else y + bias


def dropped_weights(weights: Array, p: float, training: bool, rng: np.random.Generator) -> tuple[Array, Param]:
    """weights (N, heads, T, T) -> in training weights * factor, factor = 0 with probability p, else 1 / (1 - p); and
    the factor."""
    if not training:
        return weights, None
    factor = ((rng.random(weights.shape, np.float32) >= p) / (1 - p)).astype(weights.dtype)
    return weights * factor, factor


def attend(
    x: Tokens,
    weight: Array,
    bias: Param,
    out_weight: Array,
    out_bias: Param,
    heads: int,
    kv: int,
    causal: bool,
    base: float | None,
    factor: Param,
) -> tuple[Tokens, Saved]:
    """x (N, T, D) -> y (N, T, D), softmax(q k^T / sqrt(D / heads)) v of each head, times the output matrix (Vaswani et
    al. 2017, eq. 1; Ainslie et al. 2023 where kv is below heads).

    base: of the angles by which q and k are turned; None: not at all. factor: (N, heads, T, T), by which the weights
    are multiplied behind the softmax, or None.
    """
    n, t, d = x.shape
    q, k, v = queries_keys_values(x, weight, bias, heads, kv)
    table = None if base is None else rotary_table(0, t, d // heads, base, x.dtype)
    if table is not None:
        q, k = rotated(q, table), rotated(k, table)
    weights = attention_weights(q, k, causal)  # (N, kv, heads/kv, T, T)
    used = weights if factor is None else weights * factor.reshape(weights.shape)
    mixed, y = mixed_values(used, v, out_weight, out_bias)
    return y, (x, q, k, v, weights, mixed, weight, out_weight, bias is not None, table, factor)


def attention_backward(dy: Tokens, saved: Saved) -> tuple[Tokens, Grads]:
    """dy (N, T, D) -> dx (N, T, D): back through the output matrix, the mixing, the softmax (ds = w * (dw - sum(dw *
    w)), which is 0 where w is), the turning, and the input matrix; what several heads read of k and v adds up."""
    x, q, k, v, weights, mixed, in_proj_weight, out_proj_weight, has_bias, table, factor = saved
    n, t, d = x.shape
    kv, size = q.shape[1], q.shape[-1]
    dmixed = np.matmul(dy, out_proj_weight).reshape(n, t, kv, -1, size).transpose(0, 2, 3, 1, 4)
    dweights = np.matmul(dmixed, v.swapaxes(3, 4))
    used = weights
    if factor is not None:
        by_group = factor.reshape(weights.shape)
        used, dweights = weights * by_group, dweights * by_group
    dscores = weights * (dweights - (dweights * weights).sum(axis=4, keepdims=True))
    dq = np.matmul(dscores, k) * size**-0.5
    dk = np.matmul(dscores.swapaxes(3, 4), q).sum(axis=2, keepdims=True) * size**-0.5
    dv = np.matmul(used.swapaxes(3, 4), dmixed).sum(axis=2, keepdims=True)
    if table is not None:
        dq, dk = rotated_back(dq, table), rotated_back(dk, table)
    parts = [part.transpose(0, 3, 1, 2, 4).reshape(n * t, -1) for part in (dq, dk, dv)]
    dqkv, rows = np.concatenate(parts, axis=1), dy.reshape(n * t, d)
    grads = {
        "in_proj_weight": np.matmul(dqkv.T, x.reshape(n * t, d)),
        "out_proj.weight": np.matmul(rows.T, mixed.reshape(n * t, d)),
    }
    if has_bias:
        grads |= {"in_proj_bias": dqkv.sum(axis=0), "out_proj.bias": rows.sum(axis=0)}
    return np.matmul(dqkv, in_proj_weight).reshape(x.shape), grads
