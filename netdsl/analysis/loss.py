"""Which value the loss reads."""

from netdsl.graph.ir import Graph
from netdsl.graph.recipe import LOSSES


def logits_value(graph: Graph, loss: str) -> int:
    """The network's output, or the input of its last layer where the loss contains that layer (`softmax` before `ce`).

    The loss then works on logits: numerically stable, and the softmax is applied once.
    """
    if graph.output == 0:
        return 0
    last = graph.nodes[graph.output - 1]
    return last.inputs[0] if last.op == LOSSES[loss].contains else graph.output


def logits_layers(graph: Graph, loss: str) -> int:
    """How many layers, from the first one, run to make the logits: all, or those before the one the loss contains.

    Layers whose output nothing reads are among them: they draw random numbers and move their buffers, as in PyTorch.
    """
    return len(graph.nodes) if logits_value(graph, loss) == graph.output else graph.output - 1


def gives_probabilities(graph: Graph) -> bool:
    """True if the network's last layer gives a probability for each class, as a loss of labels contains it."""
    return any(logits_value(graph, name) != graph.output for name, loss in LOSSES.items() if loss.targets == "labels")
