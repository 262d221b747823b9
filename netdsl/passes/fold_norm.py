"""A batch norm behind a convolution becomes part of it, at inference."""

from __future__ import annotations

from dataclasses import replace

from netdsl.passes.plan import Draft, Plan


def fold_norm(plan: Plan) -> Plan:
    """A batch norm right behind a convolution becomes part of its weights and its bias.

    At inference it is a factor and a summand for each channel. Right where nothing else reads the convolution, and for
    one batch norm each: a second one behind it stays.
    """
    draft = Draft(plan)
    for norm in plan.stages:
        conv = draft.maker(norm.inputs[0]) if norm.can.frozen is not None else None
        if conv is None or not conv.can.take_norm or conv.epilogue.norm is not None:
            continue
        if draft.only_reader(conv.output) is not norm:
            continue
        folded = conv.ending(norm=(norm.node.name, norm.options.get("eps", 1e-5)))
        folded = replace(folded, output=norm.output, names=(*conv.names, *norm.names))
        draft.change(folded, gone=norm)
    return draft.done()
