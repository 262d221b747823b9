"""`lstm`: long short-term memory, a sequence step by step; and what `gru` and `rnn` say alike, the attrs, sizes and
params of PyTorch's nn.LSTM, nn.GRU and nn.RNN."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl.graph.ir import ParamSpec
from netdsl.graph.types import Sizes, Tensor
from netdsl.ground.diagnostics import SpecProblem
from netdsl.kernels.arrays import Array, Grads, Param, Saved, Tokens
from netdsl.kernels.recurrent import recurrent_backward, recurrent_forward, recurrent_go_on, weight_grads, with_biases
from netdsl.kernels.stable import sigmoid
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, call_text, require_tokens
from netdsl.layers.dropout import dropout_forward
from netdsl.layers.rules.places import everywhere

if TYPE_CHECKING:
    from netdsl.stages.stage import Stage

ATTRS = (
    Attr("hidden", "int", REQUIRED, spellings=("hidden_size", "units"), positional=True, minimum=1, label="its size"),
    Attr("layers", "int", 1, spellings=("num_layers",), minimum=1, label="the layers over each other"),
    Attr("bi", "word"),
    Attr("dropout", "float", 0.0, minimum=0, below=1, label="the probability between layers"),
    Attr("nobias", "word"),
)
"""`bi`: a second cell that reads the tokens backwards, whose features stand behind those of the first."""


def sides_of(attrs: Attrs) -> int:
    """How many directions there are."""
    return 2 if attrs["bi"] else 1


def recurrent_shape(name: str) -> Callable[[Attrs, Tensor], Tensor]:
    """The shape rule of the layer of that name."""

    def shape(attrs: Attrs, x: Tensor) -> Tensor:
        """(T, D) -> (T, H), or (T, 2H) of two directions."""
        signal = "`tokens` before it makes a sequence of the signal's steps"
        places = "`tokens` before it makes a sequence of a map's places"
        require_tokens(x, f"`{name}`", signal if x.axes == 1 else places)
        if attrs["dropout"] > 0 and attrs["layers"] == 1:
            message = f"`dropout` drops numbers between the layers of `{name}`, which has one"
            behind = f"write `layers=2`, or put `dropout {attrs['dropout']:g}` behind it"
            raise SpecProblem("N313", message, "dropout", help=(behind,))
        return x.with_channels(attrs["hidden"] * sides_of(attrs))

    return shape


def recurrent_params(gates: int) -> Callable[[Attrs, Tensor], tuple[ParamSpec, ...]]:
    """The params rule of a cell that multiplies by so many matrices (H, D) and (H, H), which lie under each other."""

    def params(attrs: Attrs, x: Tensor) -> tuple[ParamSpec, ...]:
        h, specs = attrs["hidden"], []
        for layer in range(attrs["layers"]):
            given = h * sides_of(attrs) if layer else x.channels
            for end in ("", "_reverse")[: sides_of(attrs)]:
                shapes: dict[str, Sizes] = {"weight_ih": (gates * h, given), "weight_hh": (gates * h, h)}
                shapes |= {} if attrs["nobias"] else {"bias_ih": (gates * h,), "bias_hh": (gates * h,)}
                specs += [ParamSpec(f"{name}_l{layer}{end}", s, "torch", fan_in=h) for name, s in shapes.items()]
        return tuple(specs)

    return params


def recurrent_macs(gates: int) -> Callable[[Attrs, Tensor], int]:
    """The MACs rule of such a cell: T * gates * H * (D + H) for each layer and direction, D what it is given."""

    def macs(attrs: Attrs, x: Tensor) -> int:
        h, sides = attrs["hidden"], sides_of(attrs)
        given = x.channels + (attrs["layers"] - 1) * h * sides
        return int(x.length * gates * h * sides * (given + attrs["layers"] * h))

    return macs


def recurrent_text(name: str, attrs: Attrs, x: Tensor) -> str:
    """The constructor of PyTorch's class of that name."""
    options: dict[str, object] = {"num_layers": attrs["layers"]} if attrs["layers"] > 1 else {}
    options |= {"nonlinearity": "relu"} if attrs.get("relu") else {}
    options |= {"bias": False} if attrs["nobias"] else {}
    options |= {"dropout": attrs["dropout"]} if attrs["dropout"] > 0 else {}
    options |= {"bidirectional": True} if attrs["bi"] else {}
    return call_text(name, x.channels, attrs["hidden"], **options, batch_first=True)


def recurrent_call(attrs: Attrs, x: Tensor) -> str:
    """PyTorch gives the tokens, and the state behind the last of them."""
    return "{self}({x})[0]"


def recurrent_draws(attrs: Attrs, x: Tensor) -> tuple[Callable[..., Any], Sizes, float] | None:
    """What drops numbers between the layers, for all of them at once (layers/contract.py)."""
    if attrs["dropout"] == 0:
        return None
    return dropout_forward, (attrs["layers"] - 1, x.length, attrs["hidden"] * sides_of(attrs)), attrs["dropout"]


def recurrent_stages(stage: type[Stage], attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    """The call of a stage of several layers."""
    drops = attrs["dropout"] > 0
    return (StageCall(stage, (x.sizes, attrs["hidden"], attrs["layers"], attrs["bi"], drops)),)


def drawn_between(
    x: Array, weight: Array, layers: int, sides: int, dropout: float, training: bool, rng: np.random.Generator
) -> Param:
    """x (N, T, D), weight (G*H, H) -> the factor (N, layers - 1, T, sides * H) that drops numbers between layers, as
    `dropout` draws it; None where there is none."""
    if not training or dropout == 0:
        return None
    shape = len(x), layers - 1, x.shape[1], sides * weight.shape[1]
    return dropout_forward(np.ones(shape, x.dtype), dropout, True, rng)[1]


def one_direction(attrs: Attrs) -> bool:
    """Whether the next token can be made without those behind it."""
    return not attrs["bi"]


def lstm_steps(
    x: Array, state: Saved, weight_ih: Array, weight_hh: Array, bias_ih: Param, bias_hh: Param
) -> tuple[Array, Saved, Saved]:
    """x (N, T, D) -> y (N, T, H), weight_ih (4H, D), weight_hh (4H, H), biases (4H,) or None;
    state (h, c), each (N, H).

    i, f, g, o = sigmoid, sigmoid, tanh, sigmoid of x weight_ih^T + h weight_hh^T + biases, c = f * c + i * g,
    h = o * tanh(c) (Hochreiter & Schmidhuber 1997, Gers et al. 2000; the order of the gates is nn.LSTM's).
    """
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


def lstm_forward(
    x: Array,
    training: bool,
    rng: np.random.Generator,
    layers: int = 1,
    bi: bool = False,
    dropout: float = 0.0,
    **params: Array,
) -> tuple[Array, Saved]:
    """x (N, T, D) -> y (N, T, H), or (N, T, 2H) with `bi`; params by nn.LSTM's names."""
    sides = 2 if bi else 1
    factor = drawn_between(x, params["weight_hh_l0"], layers, sides, dropout, training, rng)
    return recurrent_forward(x, lstm_steps, layers, sides, factor, params)


def lstm_backward(dy: Tokens, saved: Saved) -> tuple[Tokens, Grads]:
    """Back through the layers, and in each through the steps."""
    return recurrent_backward(dy, saved, lstm_steps_backward)


def lstm_go_on(x: Array, state: Saved, layers: int = 1, **params: Array) -> tuple[Array, Saved]:
    """The next tokens x (N, S, D) -> y (N, S, H), and h and c of every layer behind them."""
    return recurrent_go_on(x, lstm_steps, layers, state, params)


def lstm_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.lstm import Lstm

    return recurrent_stages(Lstm, attrs, x)


LAYER = LayerDef(
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
    draws=recurrent_draws,
    go_on=lstm_go_on,
    goes_on=one_direction,
    stages=lstm_stages,
    known_as=("lstmcell", "longshorttermmemory", "bilstm"),
)
