"""Which value the loss reads."""

from netdsl.ir import Graph
from netdsl.layers import layer_of


def logits_value(graph: Graph, loss: str) -> int:
    """The network's output, or the input of its last layer where the loss contains that layer (`softmax` before `ce`).

    The loss then works on logits: numerically stable, and the softmax is applied once.
    """
    if graph.output == 0:
        return 0
    last = graph.nodes[graph.output - 1]
    return last.inputs[0] if loss in layer_of(last.op).implied_by else graph.output
