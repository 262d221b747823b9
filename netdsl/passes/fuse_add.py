"""What comes last before a sum adds what another branch gave."""

from __future__ import annotations

from dataclasses import replace

from netdsl.passes.plan import Draft, Plan


def fuse_add(plan: Plan) -> Plan:
    """The stage that comes last before a sum of two adds what the other branch gave: at inference a convolution, in
    training a batch norm, and what makes tokens.

    Right where nothing else reads that stage, and it has no relu of its own but can have that of the sum.
    """
    draft, order = Draft(plan), {stage.node.name: i for i, stage in enumerate(plan.stages)}

    def place(value: int) -> int:
        maker = draft.maker(value)
        return -1 if maker is None else order[maker.node.name]

    for add in plan.stages:
        if not add.can.is_sum or len(set(add.inputs)) != 2 or len(add.inputs) != 2:
            continue
        first, last = sorted(add.inputs, key=place)
        stage = draft.maker(last)
        if stage is None or not (stage.can.add_both_ways if plan.training else stage.can.add_map):
            continue
        if stage.epilogue.plus or stage.epilogue.ends or draft.only_reader(last) is not add:
            continue
        if add.epilogue.relu and not stage.can.end_in_relu:
            continue
        fused = stage.ending(plus=True, relu=add.epilogue.relu)
        fused = replace(fused, inputs=(*stage.inputs, first), output=add.output, names=(*stage.names, *add.names))
        draft.change(fused, gone=add)
    return draft.done()
