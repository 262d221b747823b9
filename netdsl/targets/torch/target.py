"""The target `torch`: a PyTorch module, which is written; what runs it is PyTorch."""

from __future__ import annotations

from netdsl.targets.contract import Compiled, Rules, Target
from netdsl.targets.dialect import Dialect
from netdsl.targets.torch.names import RESERVED


def _rules() -> Rules:
    from netdsl.targets.torch.rules import torch_rules

    return torch_rules()


def _dialect() -> Dialect:
    from netdsl.targets.torch.dialect import DIALECT

    return DIALECT


def _emit(net: Compiled, level: int) -> str:
    from netdsl.targets.torch.emitter import emit_torch

    return emit_torch(net.graph, net.recipe)


TARGET = Target(
    name="torch", describe="the PyTorch module", rules=_rules, emit=_emit, dialect=_dialect, reserved_names=RESERVED
)
