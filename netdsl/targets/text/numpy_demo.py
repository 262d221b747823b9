"""What `python <name>_numpy.py` does: it answers for samples in files, or without arguments trains on made-up data, for
about a minute at most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netdsl.analysis.loss import judges_tokens, logits_value
from netdsl.graph.ir import Graph
from netdsl.graph.recipe import LOSSES
from netdsl.graph.types import Tensor
from netdsl.ground.symbols import value_text
from netdsl.kernels.stable import sigmoid, softmax
from netdsl.targets.text.ends import tuple_text

Shares = Callable[[Graph, str], str]
"""Writes what `answer` makes probabilities of the classes with (`shares_text`), of a graph and the name of its loss."""

_BUDGET = 3e11  # multiply-adds, half a minute on two cores of 2024
_PER_ELEMENT = 50  # multiply-adds that take as long as all the passes over one element of a layer's output
_STEP = 3  # forward and backward, in units of forward


def shares_text(graph: Graph, loss: str, softmax: str, sigmoid: str, hstack: str) -> str:
    """What `answer` makes probabilities of the classes with, as `netdsl predict` does; "" where there are no classes.

    softmax, sigmoid, hstack: how a framework writes those of {}.
    """
    if not graph.is_plain:
        return ""
    is_contained = logits_value(graph, loss) != graph.output
    targets = LOSSES[loss].targets
    is_binary = targets == "truth"
    if not graph.output_type.is_vector or targets == "numbers" or is_binary != (graph.output_shape == (1,)):
        return ""
    if not is_binary:
        return f"lambda y: {'y' if is_contained else softmax.format('y')}"
    both = hstack.format("[1 - y, y]" if is_contained else "[-y, y]")
    return f"lambda y: {both if is_contained else sigmoid.format(both)}"


def numpy_shares(graph: Graph, loss: str) -> str:
    """The same, by kernels and numpy."""
    return shares_text(graph, loss, "softmax({}, axis=1)", "sigmoid({})", "np.hstack({})")


def share_kernels(graph: Graph, loss: str) -> list[Callable[..., Any]]:
    """The kernels that it calls."""
    text = numpy_shares(graph, loss)
    return [kernel for kernel in (softmax, sigmoid) if f"{kernel.__name__}(" in text]


def demo_lines(graph: Graph, loss: str, shares_of: Shares) -> list[str]:
    """The lines under `if __name__ == "__main__"`; large networks get few samples, small steps and no score."""
    shares = shares_of(graph, loss)
    samples, epochs = _size(graph)
    is_small = samples >= 64
    what = "to show that the network learns" if is_small else "of few samples, since a step of this network takes long"
    fit = f"epochs=1, batch={min(32, max(2, samples // 2))}{'' if is_small else ', lr=1e-5'}, seed=epoch"
    score = ", accuracy {model.score(x, y):.3f}" if LOSSES[loss].targets == "labels" and is_small else ""
    answers = f"answer(Model, {shares})" if shares else "answer(Model)" if graph.is_plain else "answer_by_name(Model)"
    return [
        answers,
        f"# A training run on made-up data, {what}.",
        "rng = np.random.default_rng(0)",
        *_data_lines(graph, loss, samples),
        "model = Model(seed=0)",
        f"for epoch in range(1, {epochs + 1}):",
        f"    (loss,) = model.fit(x, y, {fit})",
        f'    print(f"epoch {{epoch}}: loss {{loss:.4f}}{score}")',
    ]


def _size(graph: Graph) -> tuple[int, int]:
    """How many samples, 2 or more, and how many epochs, 2 to 5."""
    work = _STEP * (graph.num_macs + _PER_ELEMENT * sum(node.type.size for node in graph.nodes))
    samples = next((n for n in (256, 64, 16, 8, 4) if 5 * n * work <= _BUDGET), 2)
    return samples, min(5, max(2, int(_BUDGET / (samples * work))))


def _data_lines(graph: Graph, loss: str, samples: int) -> list[str]:
    """x and y: numbers for an output of numbers, truths, else labels, in patterns where an array gives one of them, and
    of a text what follows."""
    classes, *rest = shape = graph.shape_of(graph.judged_value)
    targets = LOSSES[loss].targets
    if judges_tokens(graph, loss):
        *rest, classes = shape
        if graph.is_plain and graph.input_type.is_ids and graph.input_type.sizes == tuple(rest):
            limit, length = min(classes, graph.input_type.limit), graph.input_type.length
            counting = f"(rng.integers(0, {limit}, ({samples}, 1)) + np.arange({length})) % {limit}"
            return [f"x = {counting}  # texts that count", f"y = (x + 1) % {limit}"]
    given = f"x = {_drawn_inputs(graph, samples)}"
    if targets != "labels":
        drawn = "standard_normal(({}))" if targets == "numbers" else "integers(0, 2, ({}))"
        return [f"y = rng.{drawn.format(', '.join(map(str, (samples, *shape))))}.astype(np.float32)", given]
    if rest:
        return [f"y = rng.integers(0, {classes}, ({samples}, {', '.join(map(str, rest))}))", given]
    if not graph.is_plain or graph.input_type.is_ids:
        return [f"y = rng.integers(0, {classes}, {samples})", given]
    patterns = min(classes, samples, max(2, 2**24 // graph.input_type.size))
    return [
        f"y = rng.integers(0, {patterns}, {samples})",
        f"patterns = rng.standard_normal(({patterns}, *INPUT_SHAPE))  # one for each class",
        f"x = (patterns[y] + rng.standard_normal(({samples}, *INPUT_SHAPE))).astype(np.float32)",
    ]


def _drawn_inputs(graph: Graph, samples: int) -> str:
    """Random numbers for every input."""
    if graph.is_plain:
        return _drawn(graph.input_type, samples, "INPUT_SHAPE")
    named = [(given.type, value_text(given.name or "x")) for given in graph.inputs]
    return tuple_text([_drawn(x, samples, f"INPUT_SHAPES[{name}]") for x, name in named])


def _drawn(x: Tensor, samples: int, shape: str) -> str:
    """Random numbers for an input."""
    if x.is_ids:
        return f"rng.integers(0, {x.limit}, ({samples}, *{shape}))"
    return f"rng.standard_normal(({samples}, *{shape})).astype(np.float32)"
