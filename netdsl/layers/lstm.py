"""`lstm`: long short-term memory, a sequence step by step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Param, Saved, Tokens
from netdsl.kernels.recurrent import (
    cell_weights,
    drawn_between,
    recurrent_backward,
    recurrent_forward,
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


def lstm_steps(
    x: Array, state: Saved, weight_ih: Array, weight_hh: Array, bias_ih: Param, bias_hh: Param
) -> tuple[Array, Saved, Saved]:
    """x (N, T, D) -> y (N, T, H), weight_ih (4H, D), weight_hh (4H, H), biases (4H,) or None; state: h, c (N, H)."""
    n, t, _ = x.shape
    size = weight_hh.shape[1]
    inner = with_biases(x, weight_ih, None if bias_ih is None else bias_ih + bias_hh)
    h, c = (np.zeros((n, size), x.dtype), np.zeros((n, size), x.dtype)) if state is None else state
    gates, begun = np.zeros((n, t, 4, size), x.dtype), np.zeros((2, n, t, size), x.dtype)
    y, tanh_c = np.zeros((n, t, size), x.dtype), np.zeros((n, t, size), x.dtype)
    for step in range(t):
        begun[0, :, step], begun[1, :, step] = h, c
        z = (inner[:, step] + np.matmul(h, weight_hh.T)).reshape(n, 4, size)
        i, f, g, o = sigmoid(z[:, 0]), sigmoid(z[:, 1]), np.tanh(z[:, 2]), sigmoid(z[:, 3])
        c = f * c + i * g
        tanh_c[:, step] = np.tanh(c)
        h = o * tanh_c[:, step]
        y[:, step] = h
        gates[:, step, 0], gates[:, step, 1], gates[:, step, 2], gates[:, step, 3] = i, f, g, o
    return y, (x, gates, begun, tanh_c, weight_ih, weight_hh, bias_ih is not None), (h, c)


def lstm_steps_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, T, H) -> dx (N, T, D), from the last step to the first: dc += dh * o * (1 - tanh(c)^2), and f * dc goes on
    to the step before, as do the gates' gradients times weight_hh."""
    x, gates, begun, tanh_c, weight_ih, weight_hh, has_bias = saved
    n, t, _, size = gates.shape
    dz = np.zeros((n, t, 4, size), dy.dtype)
    dh, dc = np.zeros((n, size), dy.dtype), np.zeros((n, size), dy.dtype)
    for step in reversed(range(t)):
        i, f, g, o = gates[:, step, 0], gates[:, step, 1], gates[:, step, 2], gates[:, step, 3]
        dh = dh + dy[:, step]
        dc = dc + dh * o * (1 - tanh_c[:, step] ** 2)
        dz[:, step, 0] = dc * g * i * (1 - i)
        dz[:, step, 1] = dc * begun[1, :, step] * f * (1 - f)
        dz[:, step, 2] = dc * i * (1 - g * g)
        dz[:, step, 3] = dh * tanh_c[:, step] * o * (1 - o)
        dc = dc * f
        dh = np.matmul(dz[:, step].reshape(n, 4 * size), weight_hh)
    dz = dz.reshape(n, t, 4 * size)
    return np.matmul(dz, weight_ih), weight_grads(x, begun[0], dz, dz, has_bias)


def lstm_forward(x: Array, layers: int = 1, bi: bool = False, **params: Array) -> tuple[Array, Saved]:
    """x (N, T, D) -> y (N, T, H), or (N, T, 2H) with `bi`; params by nn.LSTM's names. At each step of a layer

    i, f, g, o = sigmoid, sigmoid, tanh, sigmoid of x weight_ih^T + bias_ih + h weight_hh^T + bias_hh,
    c = f * c + i * g, and y = h = o * tanh(c) (Hochreiter & Schmidhuber 1997, Gers et al. 2000); h and c begin at 0.
    """
    return recurrent_forward(x, lstm_steps, layers, 2 if bi else 1, None, params)


def lstm_dropout_forward(
    x: Array,
    training: bool,
    rng: np.random.Generator,
    layers: int = 1,
    bi: bool = False,
    dropout: float = 0.0,
    **params: Array,
) -> tuple[Array, Saved]:
    """x (N, T, D) -> y (N, T, H), or (N, T, 2H): `lstm_forward`, and in training a dropout behind each layer but the
    last."""
    sides = 2 if bi else 1
    factor = drawn_between(x, params["weight_hh_l0"], layers, sides, dropout, training, rng)
    return recurrent_forward(x, lstm_steps, layers, sides, factor, params)


def lstm_backward(dy: Tokens, saved: Saved) -> tuple[Tokens, Grads]:
    """dy (N, T, H), or (N, T, 2H) -> dx (N, T, D): back through the layers, and in each through the steps."""
    return recurrent_backward(dy, saved, lstm_steps_backward)


def lstm_go_on(x: Array, state: Saved, layers: int = 1, **params: Array) -> tuple[Array, Saved]:
    """The next tokens x (N, S, D) -> y (N, S, H), and h and c of every layer behind them, with its `lstm_joint`."""
    cells = list(state or [])
    for layer in range(len(cells), layers):
        joint = lstm_joint(**cell_weights(params, layer, 0))
        nothing = np.zeros((len(x), joint[0].shape[1] // 4), x.dtype)
        cells.append((nothing, nothing, joint))
    ys = []
    for step in range(x.shape[1]):
        h = x[:, step]
        for layer, (before, c, joint) in enumerate(cells):
            h, c = lstm_token(h, before, c, *joint)
            cells[layer] = h, c, joint
        ys.append(h)
    return np.stack(ys, axis=1), cells


def lstm_joint(weight_ih: Array, weight_hh: Array, bias_ih: Param, bias_hh: Param) -> tuple[Array, Array, Array, Array]:
    """-> weight (D + H, 4H), bias (4H,), factor and summand (4H,) with which `lstm_token` makes all gates by one tanh:
    sigmoid(z) = tanh(z / 2) / 2 + 1/2 for i, f and o."""
    size = weight_hh.shape[1]
    factor = np.full(4 * size, 0.5, weight_hh.dtype)
    factor[2 * size : 3 * size] = 1
    weight = np.ascontiguousarray(np.concatenate([weight_ih.T, weight_hh.T]))
    weight *= factor
    bias = np.zeros_like(factor) if bias_ih is None else (bias_ih + bias_hh) * factor
    return weight, bias, factor, 1 - factor


def lstm_token(
    x: Array, h: Array, c: Array, weight: Array, bias: Array, factor: Array, summand: Array
) -> tuple[Array, Array]:
    """x (N, D), h and c (N, H) -> h and c behind one step of `lstm_forward`."""
    z = np.tanh(np.matmul(np.concatenate([x, h], axis=1), weight) + bias) * factor + summand
    i, f, g, o = z.reshape(len(x), 4, -1).swapaxes(0, 1)
    c = f * c + i * g
    return o * np.tanh(c), c


def lstm_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.lstm import Lstm

    return recurrent_stages(Lstm, attrs, x)


PLAIN = LayerDef(
    name="lstm",
    summary="long short-term memory of H features, step by step",
    attrs=ATTRS,
    shape=recurrent_shape("lstm"),
    params=recurrent_params(4),
    macs=recurrent_macs(4),
    forward=lstm_forward,
    backward=lstm_backward,
    reads=everywhere,
    torch=lambda attrs, x: recurrent_text("nn.LSTM", attrs, x),
    torch_call=recurrent_call,
    by_step=True,
    go_on=lstm_go_on,
    goes_on=one_direction,
    stages=lstm_stages,
    known_as=("lstmcell", "longshorttermmemory", "bilstm"),
)
DROPPING = replace(
    PLAIN,
    forward=lstm_dropout_forward,
    when=lambda attrs: attrs["dropout"] > 0,
    draws=recurrent_draws,
    factor_of=lambda saved: saved[-1],
)
LAYER = replace(PLAIN, variants=(DROPPING,))
