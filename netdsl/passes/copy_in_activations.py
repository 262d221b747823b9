"""Which activations may write over what they read."""

from __future__ import annotations

from netdsl.passes.plan import Plan, Planned


def copy_in_activations(plan: Plan) -> Plan:
    """An activation works in place only behind a stage that nothing else reads, whose output is an array of its own.
    Other stages may give a view of their input, which something else may read. In training neither it nor that stage
    may read on the way back what it wrote over."""
    changed = []
    for stage in plan.stages:
        before = plan.maker(stage.inputs[0])
        follows = before is not None and before.can.has_own_output and plan.only_reader(before.output) is stage
        if stage.can.work_in_place and not follows:
            changed.append(stage.set(copies=True))
        elif stage.can.train_in_place and plan.training and before is not None and _is_spared(before):
            changed.append(stage.set(in_place=True))
    return plan.with_stages(*changed)


def _is_spared(stage: Planned) -> bool:
    """Whether the output of a stage is not read on the way back."""
    return stage.can.spares_output and not stage.epilogue.ends
