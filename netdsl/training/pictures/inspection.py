"""What a trained network does, as numbers: what the pictures of netdsl.training.pictures show is computed here
and, where it comes from gradients by the input, in sensitivity.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from netdsl.ground.diagnostics import UserError, did_you_mean, plain
from netdsl.training.data.dataset import Dataset
from netdsl.training.drawing.sketches import Sketch, no_sketch, sketched
from netdsl.training.loop.failures import copy_of
from netdsl.training.scores.evaluation import measured_together, predictions, probabilities
from netdsl.training.scores.measures import chosen_classes, counted, intersection_over_union

if TYPE_CHECKING:
    from netdsl.graph.ir import Graph
    from netdsl.graph.types import Tensor
    from netdsl.targets.live.interpreter import Layer, LayerNetwork
    from netdsl.training.runs.views import RunView

BUDGET = 500_000_000  # MACs that a forward pass over several samples may take
SAMPLES, STATISTICS = 7, 8  # purposes of random streams, beside those of netdsl.training.loop.epochs


def fixed_samples(count: int, wanted: int, seed: int) -> np.ndarray:
    """`wanted` of the indices 0 to count - 1, or all; the same for a seed."""
    return np.random.default_rng([seed, SAMPLES]).permutation(count)[:wanted]


def affordable(graph: Graph, most: int) -> int:
    """How many samples a forward pass takes within BUDGET, 1 to `most`."""
    return int(np.clip(BUDGET // max(1, graph.num_macs), 1, most))


@dataclass(frozen=True)
class Answers:
    """What the network says about samples: p (N, K), the probabilities of the classes, and labels (N,), the truth."""

    p: np.ndarray
    labels: np.ndarray

    @property
    def said(self) -> np.ndarray:
        """(N,), the class of the highest probability."""
        said: np.ndarray = self.p.argmax(axis=1)
        return said


def answers(view: RunView, rows: np.ndarray | None = None) -> Answers:
    """What the network of a run with classes says about the test samples with these indices, or all."""
    data = view.dataset
    rows = np.arange(len(data.x_test)) if rows is None else rows
    with np.errstate(all="ignore"):
        p = [probabilities(view.net, view.model, x) for x, _ in pieces(view, rows)]
    return Answers(np.concatenate(p), data.y_test[rows])


def pieces(view: RunView, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The test samples with these indices in batches: as the network is fed, and their targets."""
    data, size = view.dataset, measured_together(view.net)
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        yield data.normalized(data.x_test[part]), data.y_test[part]


def masks_of(view: RunView, rows: np.ndarray) -> np.ndarray:
    """The class (N, *space) that the network gives each place of the test samples with these indices."""
    count = len(view.task.classes)
    with np.errstate(all="ignore"):
        return np.concatenate([chosen_classes(view.model.logits(x), count) for x, _ in pieces(view, rows)])


def mask_ious(view: RunView) -> np.ndarray:
    """The mean IoU (N,) of each test sample by itself, over the classes that are in it or were seen in it."""
    count, ious = len(view.task.classes), []
    for x, masks in pieces(view, np.arange(len(view.dataset.x_test))):
        with np.errstate(all="ignore"):
            said = chosen_classes(view.model.logits(x), count)
        each = np.stack([counted(a, b, count) for a, b in zip(said, masks, strict=True)])
        ious.append(np.nanmean(intersection_over_union(each), axis=1))
    return np.concatenate(ious)


@dataclass(frozen=True)
class Numbers:
    """What a network predicts and what is true, (N, ...) both, for test samples or a random part of them."""

    predicted: np.ndarray
    true: np.ndarray


def numbers(view: RunView, rows: np.ndarray) -> Numbers:
    """What the network of a run without classes predicts for the test samples with these indices."""
    with np.errstate(all="ignore"):
        predicted = [predictions(view.net, view.model, x) for x, _ in pieces(view, rows)]
    return Numbers(np.concatenate(predicted), view.dataset.y_test[rows])


@dataclass(frozen=True)
class Confusion:
    """counts (K, K): how often class `row` was taken for class `column`."""

    counts: np.ndarray
    classes: tuple[str, ...]

    @property
    def shares(self) -> np.ndarray:
        """(K, K), each row of counts divided by its sum; NaN for a class without samples."""
        return _divided(self.counts, self.counts.sum(axis=1, keepdims=True))

    @property
    def class_accuracy(self) -> np.ndarray:
        """(K,), the share of each class that was classified correctly, its recall; NaN for a class without samples."""
        return self.shares.diagonal()

    @property
    def accuracy(self) -> float:
        return float(np.trace(self.counts) / self.counts.sum())


def confusion(given: Answers, classes: tuple[str, ...]) -> Confusion:
    """The confusion matrix of all the answers."""
    return Confusion(counted(given.said, given.labels, len(classes)), classes)


def _divided(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        quotient: np.ndarray = a / b
    return quotient


@dataclass(frozen=True)
class Mistake:
    """A test sample, by its index, whose class `label` was taken for `said`; the probability of `said`, 0 to 1."""

    sample: int
    label: int
    said: int
    probability: float


def mistakes(given: Answers, most: int) -> tuple[Mistake, ...]:
    """The `most` mistakes that the network was surest of, the surest first; `given` is about all test samples."""
    said, p = given.said, given.p.max(axis=1)
    wrong = np.flatnonzero(said != given.labels)
    order = wrong[np.argsort(-p[wrong], kind="stable")][:most]
    return tuple(Mistake(int(i), int(given.labels[i]), int(said[i]), float(p[i])) for i in order)


@dataclass(frozen=True)
class Filters:
    """The weights (F, C, *space) of layer `name`: what each filter or feature reads of a map of type `kind`."""

    name: str
    op: str
    weights: np.ndarray
    kind: Tensor


def first_filters(view: RunView) -> Filters | None:
    """The filters of the first layer with weights, where it is a convolution with a window or a `linear` that reads the
    whole input."""
    graph = view.net.graph
    node = next((n for n in graph.nodes if any((p.name, p.init) == ("weight", "weight") for p in n.params)), None)
    if node is None or node.op not in ("conv", "linear") or no_sketch(graph.input_type):
        return None
    weight, kind = view.model.params[f"{node.name}.weight"], graph.input_type
    if node.op == "linear":
        whole = weight.shape[1] == kind.size
        return Filters(node.name, node.op, weight.reshape(-1, *kind.sizes), kind) if whole else None
    is_window = max(weight.shape[2:]) > 1
    return Filters(node.name, node.op, weight, graph.input_types(node)[0]) if is_window else None


@dataclass(frozen=True)
class FeatureMaps:
    """What layer `name` makes of a sample: a map (C, *space) of type `kind`."""

    name: str
    op: str
    maps: np.ndarray
    kind: Tensor


def map_layers(graph: Graph) -> tuple[str, ...]:
    """The names of the layers that give maps of more than one place."""
    return tuple(n.name for n in graph.nodes if n.type.is_map and max(n.type.space) > 1)


def layer_index(graph: Graph, name: str, known: Sequence[str], what: str) -> int:
    """The index of the layer of that full name, one of `known`. Raises UserError."""
    if name not in known:
        guess = did_you_mean(name, known)
        some = ", ".join(f"`{n}`" for n in known[:8]) + (", ..." if len(known) > 8 else "")
        known_text = f"those are {some}" if known else ""
        raise UserError(f"`{plain(name)}` is no {what}", help=f"did you mean `{guess}`?" if guess else known_text)
    return next(i for i, node in enumerate(graph.nodes) if node.name == name)


def first_block(graph: Graph) -> int | None:
    """The index of the last layer of the first convolution's block: it and the pointwise layers that follow alone."""
    index = next((i for i, n in enumerate(graph.nodes) if n.op == "conv"), None)
    if index is None:
        return next((i for i, n in enumerate(graph.nodes) if n.name in map_layers(graph)), None)
    readers = [n.inputs for n in graph.nodes]
    while index + 1 < len(graph.nodes):
        follower, node = graph.nodes[index + 1], graph.nodes[index]
        value = graph.value(index)
        is_alone = sum(value in inputs for inputs in readers) == 1 and follower.inputs == (value,)
        if not is_alone or follower.shape != node.shape or "kernel_size" in follower.attrs:
            break
        index += 1
    return index


def feature_maps(view: RunView, x: np.ndarray, layer: str | None = None) -> FeatureMaps:
    """x (1, C, *space), normalised -> the output of that layer, by default of the first block. Raises UserError."""
    graph = view.net.graph
    index = layer_index(graph, layer, map_layers(graph), "layer that gives maps") if layer else first_block(graph)
    assert index is not None, f"{view.net.name} has no maps"
    network = copy_of(view.net, view.model)
    forward_to(network, index, x)
    output = network.layers[index].output
    assert output is not None, f"{graph.nodes[index].name} has not run"
    node = graph.nodes[index]
    return FeatureMaps(node.name, node.op, output[0], node.type)


def forward_to(network: LayerNetwork, index: int, x: np.ndarray) -> None:
    """Runs the layers up to `index`, out of training; their outputs stay with them."""
    values = [network.first_value(x)]
    for layer in network.layers[: index + 1]:
        values.append(layer.forward(*(values[i] for i in layer.node.inputs)))


@dataclass(frozen=True)
class LayerStatistics:
    """One layer while a training batch goes through.

    mean, std, zeros (the share that is 0): of all numbers it gives. dead: the share of its channels or features that
    are 0 for every sample and place. ratio: the norm of the loss's gradient by its params over the norm of the params,
    None where there are none or all are 0.
    """

    name: str
    op: str
    mean: float
    std: float
    zeros: float
    dead: float
    ratio: float | None


def layer_statistics(view: RunView) -> tuple[LayerStatistics, ...]:
    """The statistics of every layer that ran, in order, for one batch of training samples, the same for a seed."""
    recipe, data = view.net.recipe, view.dataset
    count = max(2, affordable(view.net.graph, recipe.batch))
    rows = np.random.default_rng([recipe.seed, STATISTICS]).permutation(len(data.x_train))[:count]
    network = copy_of(view.net, view.model)
    network.rng = np.random.default_rng([recipe.seed, STATISTICS, 1])
    with np.errstate(all="ignore"):
        network.loss_and_gradients(data.normalized(data.x_train[rows]), data.y_train[rows])
        return tuple(statistics_of(layer) for layer in network.layers if layer.output is not None)


def statistics_of(layer: Layer) -> LayerStatistics:
    """The statistics of a layer object after a forward and a backward pass."""
    y = layer.output
    assert y is not None, f"{layer.name} has not run"
    is_zero = y == 0
    dead = is_zero.all(axis=tuple(a for a in range(y.ndim) if a != layer.node.type.channel_axis)).mean()
    grads, params = (_norm(list(arrays.values())) for arrays in (layer.grads, layer.params))
    ratio = grads / params if params and grads else None
    return LayerStatistics(
        layer.name, layer.op, float(y.mean()), float(y.std()), float(is_zero.mean()), float(dead), ratio
    )


def _norm(arrays: Sequence[np.ndarray]) -> float:
    return float(np.sqrt(sum(float((a.astype(np.float64) ** 2).sum()) for a in arrays)))


def sample_of(view: RunView, sample: int, image: np.ndarray | None) -> np.ndarray:
    """x (1, ...) as the network is fed: `image`, or a test sample. Raises UserError where there is no such sample."""
    return view.dataset.normalized(_stored_sample(view, sample, image))


def _stored_sample(view: RunView, sample: int, image: np.ndarray | None) -> np.ndarray:
    data: Dataset = view.dataset
    if image is None and not 0 <= sample < len(data.x_test):
        last = len(data.x_test) - 1
        raise UserError(f"there is no test sample {sample}", help=f"`{plain(data.name)}` has those from 0 to {last}")
    x: np.ndarray = data.x_test[sample : sample + 1] if image is None else image[None]
    return x


def subject(view: RunView, sample: int, image: np.ndarray | None) -> tuple[np.ndarray, Sketch]:
    """-> x (1, C, *space) as the network is fed, and what it looks like: `image` (C, *space), or a test sample.

    Raises UserError where there is no such sample.
    """
    x = _stored_sample(view, sample, image)
    return view.dataset.normalized(x), sketched(x, view.net.graph.input_type)[0]
