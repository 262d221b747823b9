"""What gives its input as it is goes."""

from __future__ import annotations

from dataclasses import replace

from netdsl.passes.plan import Plan


def leave_out_identity(plan: Plan) -> Plan:
    """What gives its input as it is: `id`, and at inference the dropouts. Whoever reads it reads what it read."""
    idle = ("always",) if plan.training else ("always", "at inference")
    given: dict[int, int] = {}
    stages = []
    for stage in plan.stages:
        inputs = tuple(given.get(value, value) for value in stage.inputs)
        if stage.can.idles in idle:
            given[stage.output] = inputs[0]
        else:
            stages.append(replace(stage, inputs=inputs))
    return replace(plan, stages=tuple(stages), outputs=tuple(given.get(value, value) for value in plan.outputs))
