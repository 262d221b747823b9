"""The table of a target that computes with the layers' own kernels: of every op its forward and its backward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from netdsl.layers import layer_table


@dataclass(frozen=True)
class Kernels:
    """forward(x, ...) -> (y, saved) and backward(dy, saved) -> (dx, gradients) of a layer (layers/contract.py)."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]


def kernel_rules() -> Mapping[str, Kernels]:
    """op -> its kernels, which every layer has."""
    return {name: Kernels(layer.forward, layer.backward) for name, layer in layer_table().items()}
