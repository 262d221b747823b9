"""The table of the fast target: what computes each op."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from netdsl.layers import layer_table
from netdsl.targets.text.kernels import Kernels, kernel_rules


@dataclass(frozen=True)
class FastRule:
    """stages: the stages that compute the layer fast (layers/contract.py); None leaves it to its kernels."""

    stages: Callable[..., Any] | None
    kernels: Kernels


def fast_rules() -> Mapping[str, FastRule]:
    """op -> its stages, and the kernels that compute it where there are none."""
    kernels = kernel_rules()
    return {name: FastRule(layer.stages, kernels[name]) for name, layer in layer_table().items()}
