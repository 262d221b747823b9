"""The target `numpy` at levels 1 and 2: a NumPy module that is fast."""

from __future__ import annotations

from typing import Any

from netdsl.targets.contract import Compiled, Model, Rules, Target, Workers
from netdsl.targets.dialect import Dialect

MEASURED = 2  # the level whose algorithms may be chosen by the clock


def _rules() -> Rules:
    from netdsl.targets.fast.rules import fast_rules

    return fast_rules()


def _dialect() -> Dialect:
    from netdsl.targets.fast.dialect import DIALECT

    return DIALECT


def _emit(net: Compiled, level: int) -> str:
    from netdsl.passes.choose_algorithms import chosen, direct
    from netdsl.targets.fast.emitter import emit_fast

    choose = chosen(net.choices, net.samples) if level == MEASURED else direct(net.samples)
    return emit_fast(net.graph, net.recipe, choose, level, net.workers, net.samples)


def _model(net: Compiled, level: int, seed: int, dtype: Any, workers: Workers) -> Model:
    from netdsl.targets.fast.model import fast_model

    return fast_model(net, TARGET.name, level, seed, dtype, workers)


TARGET = Target(
    name="numpy",
    describe="the NumPy module",
    rules=_rules,
    emit=_emit,
    dialect=_dialect,
    model=_model,
    levels={2: "fast", 1: "fast without mixing numbers of different windows"},
    has_workers=True,
    tuned=(MEASURED,),
)
