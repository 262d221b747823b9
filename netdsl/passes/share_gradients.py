"""Of which weights all workers have one gradient."""

from __future__ import annotations

from netdsl.passes.plan import Plan
from netdsl.passes.tile_batch import block_size

WORTH = 1 << 19
"""Weights of a layer from which on a gradient of it for each worker takes more memory than its samples do."""


def share_gradients(plan: Plan) -> Plan:
    """The workers of a batch make one gradient of many weights together, instead of one each by its own samples. Right
    because a gradient is a sum over the samples. Layers that use the same param make one each. Workers take turns, for
    which they need as many blocks each: of one sample these may differ."""
    if block_size(plan.graph) == 1:
        return plan
    tied = {name for node in plan.graph.nodes if node.shares is not None for name in (node.name, node.shares)}
    able = [stage for stage in plan.stages if stage.can.share_gradient and stage.node.name not in tied]
    large = [stage for stage in able if max(param.size for param in stage.node.params) >= WORTH]
    return plan.with_stages(*(stage.set(common=True) for stage in large))
