"""The target `numpy` at level 0: a NumPy module to be read."""

from __future__ import annotations

from typing import Any

from netdsl.targets.contract import Compiled, Model, Rules, Target, Workers
from netdsl.targets.dialect import Dialect


def _rules() -> Rules:
    from netdsl.targets.text.kernels import kernel_rules

    return kernel_rules()


def _dialect() -> Dialect:
    from netdsl.targets.numpy.dialect import DIALECT

    return DIALECT


def _emit(net: Compiled, level: int) -> str:
    from netdsl.targets.numpy.emitter import emit_numpy

    return emit_numpy(net.graph, net.recipe)


def _model(net: Compiled, level: int, seed: int, dtype: Any, workers: Workers) -> Model:
    from netdsl.targets.numpy.model import textbook_model

    return textbook_model(net, TARGET.name, level, seed, dtype)


TARGET = Target(
    name="numpy",
    describe="the NumPy module",
    rules=_rules,
    emit=_emit,
    dialect=_dialect,
    model=_model,
    levels={0: "the textbook"},
)
