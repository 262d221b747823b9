"""Of a chain of 1x1 and depthwise convolutions only the last has a map of its own, at inference."""

from __future__ import annotations

from dataclasses import replace

from netdsl.passes.plan import Draft, Plan, Planned
from netdsl.stages.convolution import ConvGeometry


def lend_rows(plan: Plan) -> Plan:
    """A convolution asks the one in front of it for some rows at a time, which are made while they are in the cache,
    and are never a whole map. Right where nothing else reads the one in front, and every row of it follows from few of
    what it reads: one of the two is a 1x1 convolution, the other a depthwise one."""
    draft = Draft(plan)
    for conv in plan.stages:
        conv = draft.now(conv)
        front = draft.maker(conv.inputs[0]) if _goes_by_rows(conv) else None
        if front is None or not _goes_by_rows(front) or front.kernel is conv.kernel:
            continue
        if len(front.inputs) == 1 and draft.only_reader(front.output) is conv:
            draft.change(front.set(is_lent=True), replace(conv, front=front.node.name))
    return draft.done()


def _goes_by_rows(stage: Planned) -> bool:
    """Whether it is such a convolution, of as many filters as channels if it is depthwise, and without a stride or
    padding if it is not."""
    if stage.call is None or not stage.can.lend_rows:
        return False
    g = stage.call.arguments[0]
    assert isinstance(g, ConvGeometry), stage.call.text
    return g.filters == g.shape[0] if g.groups > 1 else max(g.stride) == 1 and g.padded_size == g.shape[1:]
