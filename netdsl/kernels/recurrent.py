"""Layers of recurrent cells over each other, in one direction or in two: what `lstm`, `gru` and `rnn` have in common.

A cell is two kernels. steps(x, state, **weights) -> (y, saved, state) takes x (N, T, D) through all T steps, from the
state that an earlier call gave or, where that is None, from zeros; steps_backward(dy, saved) -> (dx, grads).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Grads, Param, Saved, Tokens
from netdsl.kernels.dropping import dropout_forward

Steps = Callable[..., tuple[Array, Saved, Saved]]


def cell_weights(params: Mapping[str, Array], layer: int, side: int) -> dict[str, Param]:
    """The weights of one layer in one direction, forwards or backwards, by their names without `_l0_reverse`."""
    end = f"_l{layer}_reverse" if side else f"_l{layer}"
    return {name: params.get(name + end) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}


def drawn_between(
    x: Array, weight: Array, layers: int, sides: int, dropout: float, training: bool, rng: np.random.Generator
) -> Param:
    """x (N, T, D), weight (G*H, H) -> the factor (N, layers - 1, T, sides * H) that drops numbers between layers, as
    `dropout` draws it; None out of training."""
    if not training:
        return None
    shape = len(x), layers - 1, x.shape[1], sides * weight.shape[1]
    return dropout_forward(np.ones(shape, x.dtype), dropout, True, rng)[1]


def recurrent_forward(
    x: Array, steps: Steps, layers: int, sides: int, factor: Param, params: Mapping[str, Array]
) -> tuple[Array, Saved]:
    """x (N, T, D) -> y (N, T, sides * H): what the last of the layers gives, of two directions side by side. factor
    (N, layers - 1, T, sides * H): what each but the last is multiplied by, or None."""
    saved = []
    for layer in range(layers):
        ys = []
        for side in range(sides):
            y, kept, _ = steps(x[:, ::-1] if side else x, None, **cell_weights(params, layer, side))
            ys.append(y[:, ::-1] if side else y)
            saved.append(kept)
        x = np.concatenate(ys, axis=2) if sides == 2 else ys[0]
        if factor is not None and layer < layers - 1:
            x = x * factor[:, layer]
    return x, (saved, sides, factor)


def recurrent_backward(
    dy: Tokens, saved: Saved, steps_backward: Callable[[Array, Saved], tuple[Array, Grads]]
) -> tuple[Tokens, Grads]:
    """dy (N, T, sides * H) -> dx (N, T, D), back through the layers, the last one first; what two directions read gets
    the sum of their gradients."""
    kept, sides, factor = saved
    grads: Grads = {}
    for layer in reversed(range(len(kept) // sides)):
        if factor is not None and layer < len(kept) // sides - 1:
            dy = dy * factor[:, layer]
        dxs = []
        for side in range(sides):
            size = dy.shape[2] // sides
            own = dy[:, :, side * size : (side + 1) * size]
            dx, made = steps_backward(own[:, ::-1] if side else own, kept[layer * sides + side])
            dxs.append(dx[:, ::-1] if side else dx)
            end = f"_l{layer}_reverse" if side else f"_l{layer}"
            grads |= {name + end: grad for name, grad in made.items()}
        dy = dxs[0] + dxs[1] if sides == 2 else dxs[0]
    return dy, grads


def recurrent_go_on(
    x: Array, steps: Steps, layers: int, state: Saved, params: Mapping[str, Array]
) -> tuple[Array, Saved]:
    """The next tokens x (N, S, D) -> y (N, S, H), and the states of all layers behind them."""
    states: list[Any] = []
    for layer in range(layers):
        x, _, last = steps(x, None if state is None else state[layer], **cell_weights(params, layer, 0))
        states.append(last)
    return x, states


def with_biases(x: Array, weight: Array, bias: Param) -> Array:
    """x (N, T, D) -> x weight^T + bias, of all steps by one product."""
    y = np.matmul(x.reshape(-1, x.shape[2]), weight.T).reshape(*x.shape[:2], -1)
    return y if bias is None else y + bias


def weight_grads(x: Array, h: Array, dinner: Array, drecurrent: Array, has_bias: bool) -> Grads:
    """The gradients of a cell's weights, each by one product over all steps: x (N, T, D), h (N, T, H) what each step
    began from, dinner and drecurrent (N, T, G*H) the gradients by what x and h were multiplied to."""
    di, dr = dinner.reshape(-1, dinner.shape[2]), drecurrent.reshape(-1, drecurrent.shape[2])
    grads = {
        "weight_ih": np.matmul(di.T, x.reshape(-1, x.shape[2])),
        "weight_hh": np.matmul(dr.T, h.reshape(-1, h.shape[2])),
    }
    if has_bias:
        grads |= {"bias_ih": di.sum(axis=0), "bias_hh": dr.sum(axis=0)}
    return grads
