"""A batch norm is a factor and a summand at inference."""

from __future__ import annotations

from dataclasses import replace

from netdsl.layers.contract import StageCall
from netdsl.passes.plan import Plan


def freeze_norm(plan: Plan) -> Plan:
    """The batch norms that are left at inference: a factor and a summand for each channel."""
    frozen = []
    for norm in plan.stages:
        if norm.call is not None and norm.can.frozen is not None:
            options = {key: value for key, value in norm.options.items() if key == "eps"}
            frozen.append(replace(norm, call=StageCall(norm.can.frozen, norm.call.arguments, options)))
    return plan.with_stages(*frozen)
