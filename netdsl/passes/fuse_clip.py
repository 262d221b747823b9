"""A clip becomes part of the stage before it."""

from __future__ import annotations

from dataclasses import replace

from netdsl.passes.plan import Draft, Plan


def fuse_clip(plan: Plan) -> Plan:
    """A clip (relu6) goes into the stage before it, which keeps its numbers between the bounds while they are in the
    cache. Right where nothing else reads what lies between the two, and that stage does not end already."""
    draft = Draft(plan)
    for clip in plan.stages:
        before = draft.maker(clip.inputs[0]) if clip.can.is_clip else None
        if before is None or clip.call is None or not before.can.end_in_clip or before.epilogue.ends:
            continue
        if draft.only_reader(before.output) is not clip:
            continue
        low, high = clip.call.arguments[-2:]
        fused = before.ending(clip=(low, high))
        draft.change(replace(fused, output=clip.output, names=(*before.names, *clip.names)), gone=clip)
    return draft.done()
