"""The target `torch`: a PyTorch module, which is written, and the same module as a model that PyTorch runs."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from netdsl.ground.diagnostics import UserError
from netdsl.targets.contract import Compiled, Device, Model, Rules, Target, Workers
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


def _check(device: Device) -> str:
    if find_spec("torch") is None:
        raise UserError("PyTorch is not installed", help="`pip install 'netdsl[torch]'` brings it")
    from netdsl.targets.torch.devices import check_compiler, chosen_device, shown

    chosen = chosen_device(device.name)
    if device.is_compiled:
        check_compiler(chosen)
    return shown(chosen)


def _model(net: Compiled, level: int, seed: int, dtype: Any, workers: Workers) -> Model:
    _check(workers.device)
    if workers.ranks.are_many:
        return _shared_model(net, seed, dtype, workers)
    from netdsl.targets.torch.model import torch_network

    return torch_network(net, seed, dtype, workers)


def _shared_model(net: Compiled, seed: int, dtype: Any, workers: Workers) -> Model:
    if not net.graph.is_plain:
        raise UserError("several processes train networks of one input and one output", help="start one process")
    if workers.device.is_sharded:  # which takes a second to load
        from netdsl.targets.torch.sharded import ShardedNetwork

        return ShardedNetwork(net, seed, dtype, workers)
    from netdsl.targets.torch.ranked import RankedNetwork

    return RankedNetwork(net, seed, dtype, workers)


TARGET = Target(
    name="torch",
    describe="the PyTorch module",
    rules=_rules,
    emit=_emit,
    dialect=_dialect,
    model=_model,
    has_devices=True,
    check=_check,
    needs=("torch",),
    reserved_names=RESERVED,
)
