"""A convolution walks over the map between it and a batch norm in front of it for both, in training."""

from __future__ import annotations

from dataclasses import replace

from netdsl.passes.plan import Draft, Plan


def walk_for_norm(plan: Plan) -> Plan:
    """A batch norm normalises, and takes the sums of its gradient, band by band as the convolution behind it works,
    while they are in the cache. Right where that convolution reads nothing else, each place of it once, and nothing
    else reads the batch norm."""
    draft = Draft(plan)
    for conv in plan.stages:
        norm = draft.maker(conv.inputs[0]) if conv.can.walk_for_norm else None
        if (
            norm is not None
            and norm.can.take_sums
            and not norm.epilogue.plus
            and draft.only_reader(norm.output) is conv
        ):
            draft.change(replace(conv, front=norm.node.name))
    return draft.done()
