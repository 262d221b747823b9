"""Which gradients nobody needs."""

from __future__ import annotations

from netdsl.passes.plan import Plan, needs_gradient


def leave_out_dx(plan: Plan) -> Plan:
    """Nothing needs the gradient by the network's input, nor by what lies between it and the first params."""
    needed = needs_gradient(plan)
    unneeded = [stage for stage in plan.stages if stage.can.leave_out_dx and not needed.intersection(stage.inputs)]
    return plan.with_stages(*(stage.set(dx=False) for stage in unneeded))
