"""The stage behind a convolution adds its bias."""

from __future__ import annotations

from dataclasses import replace

from netdsl.passes.plan import Draft, Plan


def move_bias(plan: Plan) -> Plan:
    """The bias of a convolution is added by the stage behind it, which passes over the numbers anyway.

    Activations add it first; maximum pooling afterwards, as max(x) + b is max(x + b). A batch norm in training takes a
    bias out again, but it stays where it is: the running mean has it. Right where nothing else reads the convolution,
    and it does not end in a relu.
    """
    draft = Draft(plan)
    for conv in plan.stages:
        movable = conv.adds_bias and conv.can.leave_bias and not conv.epilogue.ends
        after = draft.only_reader(conv.output) if movable else None
        if after is not None and after.can.add_bias:
            draft.change(conv.ending(bias=False), replace(after, conv=conv.node.name))
    return draft.done()
