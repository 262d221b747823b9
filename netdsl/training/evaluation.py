"""How good a model is on data, and what it says about single samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from netdsl.analysis.loss import logits_value
from netdsl.diagnostics import UserError, plain
from netdsl.kernels.losses import total_weight
from netdsl.kernels.stable import sigmoid
from netdsl.recipe import resolved_weights
from netdsl.training.datasets import Dataset
from netdsl.training.idx import size_text

if TYPE_CHECKING:
    from netdsl.backends.network import Network
    from netdsl.pipeline import Net

BATCH = 256


@dataclass(frozen=True)
class Scores:
    """The mean loss, and of classifications confusion (K, K): how often class `row` was taken for class `column`."""

    loss: float
    samples: int
    confusion: np.ndarray | None

    @property
    def accuracy(self) -> float | None:
        """The share of samples whose class was found, 0 to 1; None of a regression."""
        return None if self.confusion is None else int(np.trace(self.confusion)) / self.samples


def evaluate(
    model: Network,
    dataset: Dataset,
    x: np.ndarray,
    y: np.ndarray,
    weights: Sequence[float] | None = None,
    before_batch: Callable[[], None] = lambda: None,
) -> Scores:
    """x (N, *input_shape) as stored in the dataset, y (N, ...) -> the scores of the model out of training mode.

    The class is the largest of the logits; a softmax behind them would not change which one it is. weights: those of
    the classes in the model's loss, see class_weights. before_batch is called before each batch; what it raises ends
    the evaluation.
    """
    total, amount, confusion = 0.0, 0.0, None
    for start in range(0, len(x), BATCH):
        before_batch()
        target = y[start : start + BATCH]
        with np.errstate(all="ignore"):
            outputs = model.logits(dataset.normalized(x[start : start + BATCH]))
            share = len(target) if weights is None else total_weight(target, weights, len(weights))
            total, amount = total + float(model.loss(outputs, target)[0]) * share, amount + share
        if np.issubdtype(y.dtype, np.integer):
            classes = max(outputs.shape[1], len(dataset.classes))
            counts = _confusion(found_classes(outputs, classes), target, classes)
            confusion = counts if confusion is None else confusion + counts
    return Scores(total / amount, len(x), confusion)


def class_weights(net: Net) -> Sequence[float] | None:
    """By how much each class counts in the net's loss; None where all count the same."""
    return net.recipe.loss_options.get("weights")


def found_classes(logits: np.ndarray, classes: int) -> np.ndarray:
    """logits (N, K), K = classes or 1 -> the largest one (N,); one logit of two classes says 1 where it is above 0."""
    return (logits[:, 0] > 0).astype(np.int64) if logits.shape[1] == 1 < classes else logits.argmax(axis=1)


def _confusion(found: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """(N,) and (N,) -> (classes, classes) counts."""
    counts = np.bincount(labels * classes + found, minlength=classes * classes)
    return counts.reshape(classes, classes)


def probabilities(net: Net, model: Network, x: np.ndarray) -> np.ndarray:
    """x (N, *input_shape), normalised -> (N, K): the net's softmax, or that of its logits.

    A net without softmax that learned by `mse` estimates the one-hot rows themselves: its outputs, cut to 0..1.
    One that learned by `bce` has one logit, whose sigmoid is the second class's.
    """
    if net.recipe.loss == "bce":
        p = sigmoid(model.logits(x))
        return np.concatenate([1 - p, p], axis=1)
    if logits_value(net.graph, "ce") != net.graph.output:
        return model.forward(x)
    outputs = model.forward(x)
    if net.recipe.loss == "mse":
        return np.clip(outputs, 0, 1)
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def fitted(net: Net, dataset: Dataset) -> Net:
    """The net with what only the data can tell of its recipe. Raises UserError unless net and data fit."""
    check_fits(net, dataset)
    if net.recipe.patience is not None and not net.recipe.val:
        raise UserError("`stop patience` needs validation data, but `val` is 0", help="use `--val 0.1`")
    if "balanced" not in net.recipe.loss_options:
        return net
    rows, _ = dataset.parts(net.recipe.val, net.recipe.seed)
    return net.with_recipe(resolved_weights(net.recipe, dataset.y_train[rows], len(dataset.classes)))


def check_fits(net: Net, dataset: Dataset) -> None:
    """Raises UserError unless the net takes the dataset's samples and gives what its targets need."""
    takes, gives, name = net.graph.input_shape, net.graph.output_shape, dataset.name
    if takes != dataset.input_shape:
        size = size_text(dataset.input_shape)
        text = f"the samples of `{name}` are {size}, but `{net.name}` takes {size_text(takes)}"
        raise UserError(text, help=f"begin the spec with `input {size}` or choose other data")
    if not dataset.classes:
        _check_regression(net, dataset)
        return
    count = len(dataset.classes)
    if net.recipe.loss == "bce" and count != 2:
        text = f"the loss `bce` tells two classes apart, but `{name}` has {count}"
        raise UserError(text, help=f"end the spec with `linear {count}` and use `--loss ce`")
    wants = 1 if net.recipe.loss == "bce" else count
    if gives != (wants,):
        needs = ", for which `bce` needs one output" if wants < count else ""
        text = f"`{name}` has {count} classes{needs}, but `{net.name}` gives an output of {size_text(gives)}"
        raise UserError(text, help=f"end the spec with `linear {wants}`")


def _check_regression(net: Net, dataset: Dataset) -> None:
    gives, wants = net.graph.output_shape, dataset.y_train.shape[1:]
    if net.recipe.loss not in ("mse", "bce"):
        found = f"the targets of `{dataset.name}` are {dataset.y_train.dtype}"
        text = f"the loss `{net.recipe.loss}` needs class labels, but {found}"
        raise UserError(text, help="use `--loss mse`, or store labels as integers")
    if gives != wants:
        text = f"the targets of `{dataset.name}` are {size_text(wants)}, but `{net.name}` gives {size_text(gives)}"
        raise UserError(text, help=f"end the spec with an output of {size_text(wants)}")
    targets = [dataset.y_train, dataset.y_test]
    low, high = min(y.min(initial=0) for y in targets), max(y.max(initial=0) for y in targets)
    if net.recipe.loss == "bce" and not 0 <= low <= high <= 1:
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
    if classes:
        places = np.array([classes.index(name) for name in dataset.classes])
        dataset = replace(dataset, y_train=places[dataset.y_train], y_test=places[dataset.y_test])
    return replace(dataset, classes=classes, mean=mean, std=std)
