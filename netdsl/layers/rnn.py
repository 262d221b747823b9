"""`rnn`: the plain recurrent layer, whose next state is an activation of the token and of the state before."""

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
from netdsl.layers.contract import Attr, Attrs, LayerDef, StageCall
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


def rnn_steps(
    x: Array, state: Saved, weight_ih: Array, weight_hh: Array, bias_ih: Param, bias_hh: Param, relu: bool = False
) -> tuple[Array, Saved, Saved]:
    """x (N, T, D) -> y (N, T, H), weight_ih (H, D), weight_hh (H, H), biases (H,) or None; state: h (N, H)."""
    n, t, _ = x.shape
    size = weight_hh.shape[1]
    inner = with_biases(x, weight_ih, None if bias_ih is None else bias_ih + bias_hh)
    h = np.zeros((n, size), x.dtype) if state is None else state
    y, begun = np.zeros((n, t, size), x.dtype), np.zeros((n, t, size), x.dtype)
    for step in range(t):
        begun[:, step] = h
        z = inner[:, step] + np.matmul(h, weight_hh.T)
        h = np.maximum(z, 0) if relu else np.tanh(z)
        y[:, step] = h
    return y, (x, y, begun, weight_ih, weight_hh, bias_ih is not None, relu), h


def relu_steps(
    x: Array, state: Saved, weight_ih: Array, weight_hh: Array, bias_ih: Param, bias_hh: Param
) -> tuple[Array, Saved, Saved]:
    """x (N, T, D) -> y (N, T, H): `rnn_steps` with max(0, ...)."""
    return rnn_steps(x, state, weight_ih, weight_hh, bias_ih, bias_hh, True)


def rnn_steps_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, T, H) -> dx (N, T, D), from the last step to the first; the derivative of tanh is 1 - h*h."""
    x, y, begun, weight_ih, weight_hh, has_bias, relu = saved
    dz = np.zeros(y.shape, dy.dtype)
    dh = np.zeros((len(y), y.shape[2]), dy.dtype)
    for step in reversed(range(y.shape[1])):
        dh = dh + dy[:, step]
        dz[:, step] = dh * (y[:, step] > 0) if relu else dh * (1 - y[:, step] ** 2)
        dh = np.matmul(dz[:, step], weight_hh)
    return np.matmul(dz, weight_ih), weight_grads(x, begun, dz, dz, has_bias)


def rnn_forward(
    x: Array, layers: int = 1, bi: bool = False, relu: bool = False, **params: Array
) -> tuple[Array, Saved]:
    """x (N, T, D) -> y (N, T, H), or (N, T, 2H) with `bi`; params by nn.RNN's names. At each step of a layer

    y = h = tanh(x weight_ih^T + bias_ih + h weight_hh^T + bias_hh), or max(0, ...) with `relu` (Elman 1990); h begins
    at 0.
    """
    return recurrent_forward(x, relu_steps if relu else rnn_steps, layers, 2 if bi else 1, None, params)


def rnn_dropout_forward(
    x: Array,
    training: bool,
    rng: np.random.Generator,
    layers: int = 1,
    bi: bool = False,
    relu: bool = False,
    dropout: float = 0.0,
    **params: Array,
) -> tuple[Array, Saved]:
    """x (N, T, D) -> y (N, T, H), or (N, T, 2H): `rnn_forward`, and in training a dropout behind each layer but the
    last."""
    sides = 2 if bi else 1
    factor = drawn_between(x, params["weight_hh_l0"], layers, sides, dropout, training, rng)
    return recurrent_forward(x, relu_steps if relu else rnn_steps, layers, sides, factor, params)


def rnn_backward(dy: Tokens, saved: Saved) -> tuple[Tokens, Grads]:
    """dy (N, T, H), or (N, T, 2H) -> dx (N, T, D): back through the layers, and in each through the steps."""
    return recurrent_backward(dy, saved, rnn_steps_backward)


def rnn_go_on(x: Array, state: Saved, layers: int = 1, relu: bool = False, **params: Array) -> tuple[Array, Saved]:
    """The next tokens x (N, S, D) -> y (N, S, H), and h of every layer behind them."""
    return recurrent_go_on(x, relu_steps if relu else rnn_steps, layers, state, params)


def rnn_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.rnn import ReluRnn, Rnn

    return recurrent_stages(ReluRnn if attrs["relu"] else Rnn, attrs, x)


PLAIN = LayerDef(
    name="rnn",
    summary="a plain recurrent layer of H features, step by step",
    attrs=(*ATTRS, Attr("relu", "word")),
    shape=recurrent_shape("rnn"),
    params=recurrent_params(1),
    macs=recurrent_macs(1),
    forward=rnn_forward,
    backward=rnn_backward,
    reads=everywhere,
    torch=lambda attrs, x: recurrent_text("nn.RNN", attrs, x),
    torch_call=recurrent_call,
    by_step=True,
    go_on=rnn_go_on,
    goes_on=one_direction,
    stages=rnn_stages,
    known_as=("rnncell", "simplernn", "recurrent", "elman"),
)
DROPPING = replace(
    PLAIN,
    forward=rnn_dropout_forward,
    when=lambda attrs: attrs["dropout"] > 0,
    draws=recurrent_draws,
    factor_of=lambda saved: saved[-1],
)
LAYER = replace(PLAIN, variants=(DROPPING,))
