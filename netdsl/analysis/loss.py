"""Which value the loss reads."""

from collections.abc import Callable
from functools import partial
from typing import Any

from netdsl.graph.ir import Graph
from netdsl.graph.recipe import LOSSES, Recipe, loss_kernel
from netdsl.kernels.losses import of_tokens


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


def judges_tokens(graph: Graph, loss: str) -> bool:
    """Whether the loss takes a label for each of several tokens, whose classes are last, (N, T, K)."""
    return LOSSES[loss].targets == "labels" and graph.type_of(logits_value(graph, loss)).is_tokens


def loss_of(graph: Graph, recipe: Recipe) -> Callable[..., Any]:
    """What the loss reads and targets -> the mean loss, the gradient by what it reads."""
    kernel, options = loss_kernel(recipe)
    kernel = partial(kernel, **options) if options else kernel
    return partial(of_tokens, kernel) if judges_tokens(graph, recipe.loss) else kernel
