"""Which activations may write over what they read, at inference."""

from __future__ import annotations

from netdsl.passes.plan import Plan


def copy_in_activations(plan: Plan) -> Plan:
    """An activation works in place only behind a stage that nothing else reads, whose output is an array of its own.
    Other stages may give a view of their input, which something else may read."""
    copying = []
    for stage in plan.stages:
        if not stage.can.work_in_place:
            continue
        before = plan.maker(stage.inputs[0])
        if before is None or not before.can.has_own_output or plan.only_reader(before.output) is not stage:
            copying.append(stage.set(copies=True))
    return plan.with_stages(*copying)
