"""The table of the target `torch`: what PyTorch calls each op, as the layer's file says it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from netdsl.layers import layer_of, layer_table
from netdsl.layers.contract import Attrs, LayerDef
from netdsl.targets.contract import Declined, Rules

NOT_THERE = Declined("PyTorch has no such layer, and the layer's file says none that stands for it")


@dataclass(frozen=True)
class TorchRule:
    """What the emitter needs to know of an op; layers/contract.py says what each is, under the name `torch...`.

    constructor(attrs, *inputs) -> `nn.Conv2d(1, 32, 5)`; call(attrs, *inputs) -> an expression of {x};
    helpers: texts of classes that the constructor may name; straight: of those that stand for PyTorch's;
    idle(attrs) -> whether the layer gives its input as it is.
    """

    constructor: Callable[..., str] | None
    call: Callable[..., str] | None
    helpers: tuple[str, ...]
    straight: tuple[str, ...]
    idle: Callable[[Attrs], bool]
    is_random: bool


def _rule(layer: LayerDef) -> TorchRule:
    made = layer.torch, layer.torch_call, layer.torch_helpers, layer.torch_straight
    return TorchRule(*made, layer.is_idle, layer.is_random)


def torch_rule(op: str) -> TorchRule:
    """The rule of an op that the target takes."""
    return _rule(layer_of(op))


def torch_rules() -> Rules:
    """op -> its rule, or Declined where PyTorch has nothing for it."""
    layers: Mapping[str, LayerDef] = layer_table()
    is_there = {name: layer.torch is not None or layer.torch_call is not None for name, layer in layers.items()}
    return {name: _rule(layer) if is_there[name] else NOT_THERE for name, layer in layers.items()}
