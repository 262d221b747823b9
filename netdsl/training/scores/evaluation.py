"""How good a model is on data, and what it says about single samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from netdsl.analysis.loss import gives_probabilities
from netdsl.graph.recipe import label_weight, resolved_weights, weighs_labels
from netdsl.graph.types import show_sizes
from netdsl.ground.diagnostics import UserError, plain
from netdsl.kernels.stable import sigmoid
from netdsl.training.data.dataset import Dataset
from netdsl.training.data.stored import Samples, bounds, in_batches
from netdsl.training.scores.fitting import (
    check_ids_fit,
    check_masks,
    check_monitor,
    check_token_labels,
    is_copy,
)
from netdsl.training.scores.measures import Roc, of_loss
from netdsl.training.scores.task import Task, decided_task

if TYPE_CHECKING:
    from netdsl.pipeline import Net
    from netdsl.training.scores.mirrors import Answering

BATCH = 256  # samples that are measured together, unless their values take more than VALUES
VALUES = 2**26


@dataclass(frozen=True)
class Scores:
    """The mean loss, the measures of the task by name (None where one is not defined), and of classes confusion (K, K):
    how often class `row` was taken for class `column`, counted in samples or pixels, of tokens not; of two classes the
    ROC curve."""

    loss: float
    samples: int
    confusion: np.ndarray | None = None
    values: Mapping[str, float | None] = field(default_factory=dict)
    roc: Roc | None = None

    @property
    def accuracy(self) -> float | None:
        """The share of samples, pixels or tokens that were classified correctly, 0 to 1; None of numbers."""
        if self.confusion is None:
            return self.values.get("accuracy")
        return int(np.trace(self.confusion)) / int(self.confusion.sum())


def task_of(net: Net, dataset: Dataset) -> Task:
    """What the net learns from the dataset, which fits it."""
    copies = not dataset.classes and is_copy(dataset)
    task = decided_task(net.recipe.loss, net.graph.input_type, net.graph.output_type, dataset.classes, copies)
    return replace(task, ignored=net.recipe.loss_options.get("ignore"))


def measured_together(net: Net) -> int:
    """How many samples go through the net at once where nothing is learned: BATCH, or fewer where layers are large."""
    largest = max([1, *(prod(node.shape) for node in net.graph.nodes)])
    return max(1, min(BATCH, VALUES // largest))


def evaluate(
    model: Answering,
    dataset: Dataset,
    x: Samples,
    y: Samples,
    task: Task,
    weigh: Callable[[np.ndarray], float] = len,
    before_batch: Callable[[], None] = lambda: None,
    batch: int = BATCH,
) -> Scores:
    """x (N, *input_shape) as stored in the dataset, y (N, ...) -> the scores of the model out of training mode.

    The class is the largest of the logits; a softmax behind them would not change which one it is. weigh: by how
    much targets count in the mean loss, see weighing. before_batch is called before each batch of `batch` samples;
    what it raises ends the evaluation.
    """
    total, amount, tally = 0.0, 0.0, task.tally()
    with closing(in_batches(x, batch)) as parts, closing(in_batches(y, batch)) as targets:
        for part, target in zip(parts, targets, strict=True):
            before_batch()
            with np.errstate(all="ignore"):
                outputs = model.logits(dataset.normalized(part))
                share = weigh(target)
                total, amount = total + float(model.loss(outputs, target)[0]) * share, amount + share
                tally.add(outputs, target)
    roc = tally.roc()
    with np.errstate(all="ignore"):
        values = tally.values(roc) | of_loss(total / (amount or 1.0))
    confusion = getattr(tally, "confusion", None)
    return Scores(total / (amount or 1.0), len(x), confusion, {m.name: values[m.name] for m in task.measures}, roc)


def weighing(net: Net) -> Callable[[np.ndarray], float]:
    """What tells by how much targets (N, ...) count together in the mean of the net's loss."""
    if not weighs_labels(net.recipe):
        return len
    classes = net.graph.type_of(net.graph.judged_value).channels
    return lambda target: label_weight(net.recipe, target, classes)


def predictions(net: Net, model: Answering, x: np.ndarray) -> np.ndarray:
    """x (N, *input_shape), normalised -> the numbers that a net of no classes gives, (N, *output_shape): what its loss
    compares with the targets."""
    outputs = model.logits(x)
    return sigmoid(outputs) if net.recipe.targets == "truth" else outputs


def probabilities(net: Net, model: Answering, x: np.ndarray) -> np.ndarray:
    """x (N, *input_shape), normalised -> (N, K, ...): the net's softmax, or that of its logits.

    A net without softmax that learned by `mse` estimates the one-hot rows themselves: its outputs, cut to 0..1.
    One that learned by `bce` has one logit, whose sigmoid is the second class's.
    """
    p: np.ndarray
    if net.recipe.targets == "truth":
        second = sigmoid(model.logits(x))
        p = np.concatenate([1 - second, second], axis=1)
    elif gives_probabilities(net.graph):
        p = model.forward(x)
    elif net.recipe.targets == "numbers":
        p = np.clip(model.forward(x), 0, 1)
    else:
        outputs = model.forward(x)
        powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))  # the largest is 1: none overflows
        p = powers / powers.sum(axis=1, keepdims=True)
    return p


def answers_of(net: Net, model: Answering, task: Task, x: np.ndarray) -> Iterator[np.ndarray]:
    """x (N, *input_shape) as the net is fed -> for each sample the probabilities (K,), the mask (H, W), the class
    of each token (T,), or the numbers that the net gives."""
    size = measured_together(net)
    for start in range(0, len(x), size):
        part = x[start : start + size]
        with np.errstate(all="ignore"):
            if task.kind in ("masks", "tokens"):
                yield from task.chosen(model.logits(part))
            else:
                yield from (probabilities if task.classes else predictions)(net, model, part)


def fitted(net: Net, dataset: Dataset) -> Net:
    """The net with what only the data can tell of its recipe. Raises UserError unless net and data fit."""
    check_fits(net, dataset)
    check_monitor(net.recipe, task_of(net, dataset))
    if net.recipe.patience is not None and not net.recipe.val:
        raise UserError("`stop patience` needs validation data, but `val` is 0", help="use `--val 0.1`")
    if "balanced" not in net.recipe.loss_options:
        return net
    rows, _ = dataset.parts(net.recipe.val, net.recipe.seed)
    count = net.graph.output_type.channels if dataset.has_token_labels else len(dataset.classes)
    return net.with_recipe(resolved_weights(net.recipe, dataset.y_train[rows], count))


def check_fits(net: Net, dataset: Dataset) -> None:
    """Raises UserError unless the net takes the dataset's samples and gives what its targets need."""
    takes, gives, name = net.graph.input_shape, net.graph.output_shape, dataset.name
    check_ids_fit(net, dataset)
    if takes != dataset.input_shape:
        size = show_sizes(dataset.input_shape)
        text = f"the samples of `{name}` are {size}, but `{net.name}` takes {show_sizes(takes)}"
        raise UserError(text, help=f"begin the spec with `input {dataset.written}` or choose other data")
    if not dataset.classes:
        _check_regression(net, dataset)
        return
    if dataset.has_masks:
        check_masks(net, dataset)
        return
    if dataset.has_token_labels or net.graph.output_type.is_tokens:
        check_token_labels(net, dataset)
        return
    count = len(dataset.classes)
    if net.recipe.targets == "truth" and count != 2:
        text = f"the loss `bce` tells two classes apart, but `{name}` has {count}"
        raise UserError(text, help=f"end the spec with `linear {count}` and use `--loss ce`")
    wants = 1 if net.recipe.targets == "truth" else count
    if gives != (wants,):
        needs = ", for which `bce` needs one output" if wants < count else ""
        text = f"`{name}` has {count} classes{needs}, but `{net.name}` gives an output of {show_sizes(gives)}"
        raise UserError(text, help=f"end the spec with `linear {wants}`")


def _check_regression(net: Net, dataset: Dataset) -> None:
    gives, wants = net.graph.output_shape, dataset.y_train.shape[1:]
    if net.recipe.targets == "labels":
        they_are = f"the targets of `{dataset.name}` are {dataset.y_train.dtype}"
        text = f"the loss `{net.recipe.loss}` needs class labels, but {they_are}"
        raise UserError(text, help="use `--loss mse`, or store labels as integers")
    if gives != wants:
        text = f"the targets of `{dataset.name}` are {show_sizes(wants)}, but `{net.name}` gives {show_sizes(gives)}"
        raise UserError(text, help=f"end the spec with an output of {show_sizes(wants)}")
    if net.recipe.targets != "truth":
        return
    each = [bounds(y) for y in (dataset.y_train, dataset.y_test)]
    low, high = min(low for low, _ in each), max(high for _, high in each)
    if not 0 <= low <= high <= 1:
        text = f"the loss `bce` needs targets from 0 to 1, but those of `{dataset.name}` go from {low:g} to {high:g}"
        raise UserError(text, help="use `--loss mse`")


def as_trained(dataset: Dataset, classes: tuple[str, ...], mean: tuple[float, ...], std: tuple[float, ...]) -> Dataset:
    """The dataset with the classes (matched by name) and the normalisation that a network was trained with."""
    if bool(classes) != bool(dataset.classes):
        kinds = ("classes", "numbers") if classes else ("numbers", "classes")
        raise UserError(f"the network was trained to give {kinds[0]}, but `{dataset.name}` has {kinds[1]} as targets")
    unknown = [name for name in dataset.classes if name not in classes]
    if unknown:
        known = ", ".join(plain(name) for name in classes[:10])
        text = f"`{dataset.name}` has the class `{plain(unknown[0])}`, which the network does not know"
        raise UserError(text, help=f"it knows {known}")
    if classes and classes != dataset.classes:
        places = np.array([classes.index(name) for name in dataset.classes])
        dataset = replace(dataset, y_train=places[dataset.y_train], y_test=places[dataset.y_test])
    return replace(dataset, classes=classes, mean=mean, std=std)
