"""Which value the loss reads."""

from netdsl.graph.ir import Graph
from netdsl.graph.recipe import LOSSES


def logits_value(graph: Graph, loss: str) -> int:
    """The output that the loss reads, or the input of its last layer where the loss contains that layer (`softmax`
    before `ce`).

    The loss then works on logits: numerically stable, and the softmax is applied once.
    """
    last = graph.maker_of(graph.judged_value)
    return last.inputs[0] if last is not None and last.op == LOSSES[loss].contains else graph.judged_value


def logits_layers(graph: Graph, loss: str) -> int:
    """How many layers, from the first one, run to make the logits: all, or those before the one the loss contains.

    Layers whose output nothing reads are among them: they draw random numbers and move their buffers, as in PyTorch.
    A network whose outputs have names makes all of them at once.
    """
    last = graph.maker(graph.judged_value)
    if last is None or graph.gives_names or logits_value(graph, loss) == graph.judged_value:
        return len(graph.nodes)
    return last


def gives_probabilities(graph: Graph) -> bool:
    """True if the network's last layer gives a probability for each class, as a loss of labels contains it."""
    labelled = (name for name, loss in LOSSES.items() if loss.targets == "labels")
    return any(logits_value(graph, name) != graph.judged_value for name in labelled)
