"""A relu becomes part of a stage beside it."""

from __future__ import annotations

from dataclasses import replace

from netdsl.passes.plan import Draft, Plan, Planned


def fuse_relu(plan: Plan) -> Plan:
    """A relu goes into the stage behind it that can wait for it (maximum pooling), else into the stage before it.

    max(relu(x)) is relu(max(x)), and the gradient goes to the same place, or a relu that stops it. Right where nothing
    else reads what lies between the two, and the stage before it ends in nothing yet.
    """

    def may_end(stage: Planned | None) -> bool:
        return stage is not None and stage.can.end_in_relu and not stage.epilogue.ends

    draft = Draft(plan)
    for relu in plan.stages:
        if not relu.can.is_relu:
            continue
        after, before = draft.only_reader(relu.output), draft.maker(relu.inputs[0])
        if after is not None and after.can.wait_for_relu:
            fused = replace(after.ending(relu=True), inputs=relu.inputs, names=(*relu.names, *after.names))
        elif before is not None and may_end(before) and draft.only_reader(before.output) is relu:
            fused = replace(before.ending(relu=True), output=relu.output, names=(*before.names, *relu.names))
        else:
            continue
        draft.change(fused, gone=relu)
    return draft.done()
