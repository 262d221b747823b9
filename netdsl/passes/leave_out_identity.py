"""What gives its input as it is goes."""

from __future__ import annotations

from dataclasses import replace

from netdsl.layers import layer_at
from netdsl.passes.plan import Plan, Planned


def leave_out_identity(plan: Plan) -> Plan:
    """What gives its input as it is: `id`, at inference the dropouts, in training those of 0. Whoever reads it reads
    what it read.

    A dropout of 0 draws numbers all the same, on which those that the next one draws depend: in training they go only
    where all are 0.
    """
    idle = ("always",) if plan.training else ("always", "at inference")
    drawn = [stage for stage in plan.stages if layer_at(stage.node).is_random]
    names = {stage.node.name for stage in drawn} if all(_is_idle(stage) for stage in drawn) else set()
    given: dict[int, int] = {}
    stages = []
    for stage in plan.stages:
        inputs = tuple(given.get(value, value) for value in stage.inputs)
        if stage.can.idles in idle or stage.node.name in names:
            given[stage.output] = inputs[0]
        else:
            stages.append(replace(stage, inputs=inputs))
    return replace(plan, stages=tuple(stages), outputs=tuple(given.get(value, value) for value in plan.outputs))


def _is_idle(stage: Planned) -> bool:
    return layer_at(stage.node).is_idle(stage.node.attrs)
