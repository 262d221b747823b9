"""What `lstm`, `gru` and `rnn` say alike: the attrs, sizes and params of PyTorch's nn.LSTM, nn.GRU and nn.RNN."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from netdsl.graph.ir import ParamSpec
from netdsl.graph.types import Sizes, Tensor
from netdsl.ground.diagnostics import SpecProblem
from netdsl.kernels.dropping import dropout_forward
from netdsl.layers.contract import REQUIRED, Attr, Attrs, StageCall, call_text, require_tokens

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
                specs += [ParamSpec(f"{name}_l{layer}{end}", s, "uniform", fan_in=h) for name, s in shapes.items()]
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


def recurrent_draws(attrs: Attrs, x: Tensor) -> tuple[Callable[..., Any], Sizes, float]:
    """What drops numbers between the layers, for all of them at once (layers/contract.py)."""
    return dropout_forward, (attrs["layers"] - 1, x.length, attrs["hidden"] * sides_of(attrs)), attrs["dropout"]


def recurrent_stages(stage: type[Stage], attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    """The call of a stage of several layers."""
    drops = attrs["dropout"] > 0
    return (StageCall(stage, (x.sizes, attrs["hidden"], attrs["layers"], attrs["bi"], drops)),)


def one_direction(attrs: Attrs) -> bool:
    """Whether the next token can be made without those behind it."""
    return not attrs["bi"]
