"""A convolution adds what another branch gave, at inference."""

from __future__ import annotations

from dataclasses import replace

from netdsl.passes.plan import Draft, Plan


def fuse_add(plan: Plan) -> Plan:
    """At inference the convolution that comes last before a sum of two adds what the other branch gave.

    Right where nothing else reads that convolution, and it has no relu of its own.
    """
    draft, order = Draft(plan), {stage.node.name: i for i, stage in enumerate(plan.stages)}

    def place(value: int) -> int:
        maker = draft.maker(value)
        return -1 if maker is None else order[maker.node.name]

    for add in plan.stages:
        if not add.can.is_sum or len(set(add.inputs)) != 2 or len(add.inputs) != 2:
            continue
        first, last = sorted(add.inputs, key=place)
        conv = draft.maker(last)
        if (
            conv is None
            or not conv.can.add_map
            or conv.epilogue.plus
            or conv.epilogue.ends
            or draft.only_reader(last) is not add
        ):
            continue
        fused = conv.ending(plus=True, relu=add.epilogue.relu)
        fused = replace(fused, inputs=(*conv.inputs, first), output=add.output, names=(*conv.names, *add.names))
        draft.change(fused, gone=add)
    return draft.done()
