"""The target `cupy`: the textbook as a module that computes with CuPy, on a GPU.

It has no `model`, so that no command trains with it: nothing that netdsl itself runs may depend on what its tests can
only run on a stand-in for CuPy (tests/fake_cupy.py). `--target all` leaves it out, since what it writes is a variant of
the NumPy module for those who have a GPU.
"""

from __future__ import annotations

from netdsl.targets.contract import Compiled, Rules, Target
from netdsl.targets.dialect import Dialect


def _rules() -> Rules:
    from netdsl.targets.cupy.rules import cupy_rules

    return cupy_rules()


def _dialect() -> Dialect:
    from netdsl.targets.cupy.dialect import DIALECT

    return DIALECT


def _emit(net: Compiled, level: int) -> str:
    from netdsl.targets.cupy.emitter import emit_cupy

    return emit_cupy(net.graph, net.recipe)


TARGET = Target(
    name="cupy",
    describe="the CuPy module",
    rules=_rules,
    emit=_emit,
    dialect=_dialect,
    is_variant=True,
)
