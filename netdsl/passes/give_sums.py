"""Convolutions add up what the batch norm behind them needs, in training."""

from __future__ import annotations

from dataclasses import replace

from netdsl.passes.plan import Draft, Plan


def give_sums(plan: Plan) -> Plan:
    """A batch norm does not walk over its input for its mean and variance: the convolution that makes it adds up its
    numbers and their squares while they are in the cache. Right where nothing else reads the convolution."""
    draft = Draft(plan)
    for norm in plan.stages:
        conv = draft.maker(norm.inputs[0]) if norm.can.take_sums else None
        if conv is not None and conv.can.give_sums and draft.only_reader(conv.output) is norm:
            draft.change(conv.ending(sums=True), replace(norm, sums=conv.node.name))
    return draft.done()
