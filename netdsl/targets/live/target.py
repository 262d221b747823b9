"""The target `interp`: layer objects, which run and write nothing."""

from __future__ import annotations

from typing import Any

from netdsl.targets.contract import Compiled, Model, Rules, Target, Workers


def _rules() -> Rules:
    from netdsl.targets.text.kernels import kernel_rules

    return kernel_rules()


def _model(net: Compiled, level: int, seed: int, dtype: Any, workers: Workers) -> Model:
    from netdsl.targets.live.interpreter import layer_network

    return layer_network(net.graph, net.recipe, seed, dtype)


TARGET = Target(name="interp", describe="layer objects", rules=_rules, model=_model)
