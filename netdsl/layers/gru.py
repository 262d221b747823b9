"""`gru`: gated recurrent units, a sequence step by step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Param, Saved, Tokens
from netdsl.kernels.recurrent import (
    drawn_between,
    recurrent_backward,
    recurrent_forward,
    recurrent_go_on,
    weight_grads,
    with_biases,
)
from netdsl.kernels.stable import sigmoid
from netdsl.layers.contract import Attrs, LayerDef, StageCall
from netdsl.layers.families.recurrent import (
    ATTRS,
    one_direction,
    recurrent_call,
    recurrent_draws,
    recurrent_macs,
    recurrent_params,
    recurrent_shape,
    recurrent_stages,
    recurrent_text,
)
from netdsl.layers.rules.places import everywhere


def gru_steps(
    x: Array, state: Saved, weight_ih: Array, weight_hh: Array, bias_ih: Param, bias_hh: Param
) -> tuple[Array, Saved, Saved]:
    """x (N, T, D) -> y (N, T, H), weight_ih (3H, D), weight_hh (3H, H), biases (3H,) or None; state: h (N, H)."""
    n, t, _ = x.shape
    size = weight_hh.shape[1]
    inner = with_biases(x, weight_ih, bias_ih).reshape(n, t, 3, size)
    h = np.zeros((n, size), x.dtype) if state is None else state
    gates, begun = np.zeros((n, t, 4, size), x.dtype), np.zeros((n, t, size), x.dtype)
    y = np.zeros((n, t, size), x.dtype)
    for step in range(t):
        begun[:, step] = h
        b = np.matmul(h, weight_hh.T)
        b = (b if bias_hh is None else b + bias_hh).reshape(n, 3, size)
        a = inner[:, step]
        r, z = sigmoid(a[:, 0] + b[:, 0]), sigmoid(a[:, 1] + b[:, 1])
        new = np.tanh(a[:, 2] + r * b[:, 2])
        h = new + z * (h - new)
        y[:, step] = h
        gates[:, step, 0], gates[:, step, 1], gates[:, step, 2], gates[:, step, 3] = r, z, new, b[:, 2]
    return y, (x, gates, begun, weight_ih, weight_hh, bias_ih is not None), h


def gru_steps_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, T, H) -> dx (N, T, D), from the last step to the first; the gradient by b differs from that by a in the
    third part alone, by the factor r."""
    x, gates, begun, weight_ih, weight_hh, has_bias = saved
    n, t, _, size = gates.shape
    da, db = np.zeros((n, t, 3, size), dy.dtype), np.zeros((n, t, 3, size), dy.dtype)
    dh = np.zeros((n, size), dy.dtype)
    for step in reversed(range(t)):
        r, z, new, b = gates[:, step, 0], gates[:, step, 1], gates[:, step, 2], gates[:, step, 3]
        dh = dh + dy[:, step]
        dnew = dh * (1 - z) * (1 - new * new)
        da[:, step, 0] = db[:, step, 0] = dnew * b * r * (1 - r)
        da[:, step, 1] = db[:, step, 1] = dh * (begun[:, step] - new) * z * (1 - z)
        da[:, step, 2], db[:, step, 2] = dnew, dnew * r
        dh = dh * z + np.matmul(db[:, step].reshape(n, 3 * size), weight_hh)
    da, db = da.reshape(n, t, 3 * size), db.reshape(n, t, 3 * size)
    return np.matmul(da, weight_ih), weight_grads(x, begun, da, db, has_bias)


def gru_forward(x: Array, layers: int = 1, bi: bool = False, **params: Array) -> tuple[Array, Saved]:
    """x (N, T, D) -> y (N, T, H), or (N, T, 2H) with `bi`; params by nn.GRU's names. At each step of a layer, with
    a = x weight_ih^T + bias_ih and b = h weight_hh^T + bias_hh in three parts,

    r, z = sigmoid(a + b), n = tanh(a + r * b), and y = h = (1 - z) * n + z * h (Cho et al. 2014; the reset gate stands
    behind the product, as in nn.GRU); h begins at 0.
    """
    return recurrent_forward(x, gru_steps, layers, 2 if bi else 1, None, params)


def gru_dropout_forward(
    x: Array,
    training: bool,
    rng: np.random.Generator,
    layers: int = 1,
    bi: bool = False,
    dropout: float = 0.0,
    **params: Array,
) -> tuple[Array, Saved]:
    """x (N, T, D) -> y (N, T, H), or (N, T, 2H): `gru_forward`, and in training a dropout behind each layer but the
    last."""
    sides = 2 if bi else 1
    factor = drawn_between(x, params["weight_hh_l0"], layers, sides, dropout, training, rng)
    return recurrent_forward(x, gru_steps, layers, sides, factor, params)


def gru_backward(dy: Tokens, saved: Saved) -> tuple[Tokens, Grads]:
    """dy (N, T, H), or (N, T, 2H) -> dx (N, T, D): back through the layers, and in each through the steps."""
    return recurrent_backward(dy, saved, gru_steps_backward)


def gru_go_on(x: Array, state: Saved, layers: int = 1, **params: Array) -> tuple[Array, Saved]:
    """The next tokens x (N, S, D) -> y (N, S, H), and h of every layer behind them."""
    return recurrent_go_on(x, gru_steps, layers, state, params)


def gru_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.gru import Gru

    return recurrent_stages(Gru, attrs, x)


PLAIN = LayerDef(
    name="gru",
    summary="gated recurrent units of H features, step by step",
    attrs=ATTRS,
    shape=recurrent_shape("gru"),
    params=recurrent_params(3),
    macs=recurrent_macs(3),
    forward=gru_forward,
    backward=gru_backward,
    reads=everywhere,
    torch=lambda attrs, x: recurrent_text("nn.GRU", attrs, x),
    torch_call=recurrent_call,
    by_step=True,
    go_on=gru_go_on,
    goes_on=one_direction,
    stages=gru_stages,
    known_as=("grucell", "gatedrecurrentunit", "bigru"),
)
DROPPING = replace(
    PLAIN,
    forward=gru_dropout_forward,
    when=lambda attrs: attrs["dropout"] > 0,
    draws=recurrent_draws,
    factor_of=lambda saved: saved[-1],
)
LAYER = replace(PLAIN, variants=(DROPPING,))
