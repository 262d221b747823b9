"""Which batches a network can be trained on."""

from netdsl.graph.ir import Graph
from netdsl.ground.diagnostics import UserError
from netdsl.layers import layer_of


def check_batch(graph: Graph, samples: int) -> None:
    """Raises UserError where a norm over the batch would see one value of each channel, as PyTorch refuses to train."""
    mistake = batch_mistake(graph, samples)
    if mistake is not None:
        raise mistake


def batch_mistake(graph: Graph, samples: int) -> UserError | None:
    """Why the network cannot be trained on batches of that size; None where it can."""
    for node in graph.nodes if samples < 2 else ():
        if layer_of(node.op).norms_batch and node.type.size == node.type.channels:
            text = f"`{node.name}` needs 2 values or more of each channel in training, but a batch of 1 sample has 1"
            help = "train on batches of 2 samples or more, or take a norm of each sample by itself: `ln`, `gn`"
            return UserError(text, help)
    return None
