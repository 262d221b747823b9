"""The target's table: of every op its kernels, or what CuPy does not have of what they call."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from netdsl.layers import layer_table
from netdsl.layers.contract import LayerDef
from netdsl.targets.contract import Declined
from netdsl.targets.cupy.spelling import cupy_text
from netdsl.targets.cupy.table import refusals
from netdsl.targets.text.kernel_source import Kernel, kernel_texts
from netdsl.targets.text.kernels import Kernels


def cupy_rules() -> Mapping[str, Kernels | Declined]:
    """op -> its kernels, or why they do not run on CuPy."""
    return {name: _rule(layer) for name, layer in layer_table().items()}


def _rule(layer: LayerDef) -> Kernels | Declined:
    """The kernels of a layer, where CuPy has what they and those of its variants call."""
    whys = [_why_not(each.forward, each.backward) for each in (layer, *layer.variants)]
    why = next(filter(None, whys), None)
    return Declined(why) if why is not None else Kernels(layer.forward, layer.backward)


@cache
def _why_not(forward: Kernel, backward: Kernel) -> str | None:
    """The first thing that CuPy refuses of two kernels and what they use."""
    return next(filter(None, map(_refusal, kernel_texts([forward, backward], cupy_text))), None)


@cache
def _refusal(text: str) -> str | None:
    """The first thing that CuPy refuses of a kernel; several layers share some of them."""
    return next(refusals(text), None)
