"""Which part of a batch is whose, where several processes share it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from netdsl.analysis.batches import check_batch
from netdsl.ground.diagnostics import UserError
from netdsl.ground.ranks import Ranks
from netdsl.layers import layer_of

if TYPE_CHECKING:
    from netdsl.pipeline import Net
    from netdsl.training.runs.engine import Engine


def parts_of(ranks: Ranks, net: Net, engine: Engine) -> Callable[[int], slice]:
    """part(n) -> which samples of a batch of n this process computes.

    All of them where there are too few for everybody, as for a batch norm, which needs two: the mean of the gradients
    is the same then.
    """

    def part(n: int) -> slice:
        least = n // ranks.count
        return ranks.part(n) if least and (engine.device.is_synced or _is_enough(net, least)) else slice(0, n)

    return part if ranks.are_many else lambda _: slice(None)


def _is_enough(net: Net, samples: int) -> bool:
    try:
        check_batch(net.graph, samples)
    except UserError:
        return False
    return True


def notes_on_ranks(net: Net, engine: Engine, ranks: Ranks) -> list[str]:
    """What a user should know of how the processes share a batch, if anything."""
    device = engine.device
    if not ranks.are_many and (device.is_synced or device.is_sharded):
        flag = "--fsdp" if device.is_sharded else "--sync-bn"
        return [f"`{flag}` is for several processes, which torchrun starts; this one is alone, and does without"]
    has_norms = any(layer_of(node.op).norms_batch for node in net.graph.nodes)
    if not (ranks.are_many and has_norms) or device.is_synced:
        return []
    return [
        f"batch norm: each of the {ranks.count} processes normalises by its own part of a batch, and the running "
        "statistics are those of rank 0; `--sync-bn` makes them of the whole batch"
    ]
