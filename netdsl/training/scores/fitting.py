"""Data as a net takes them: inputs as targets, two classes as numbers 0 and 1, masks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from netdsl.graph.ir import show_shape
from netdsl.graph.recipe import Recipe
from netdsl.graph.types import show_sizes
from netdsl.ground.diagnostics import UserError
from netdsl.training.data.dataset import Dataset, statistics
from netdsl.training.data.stored import each
from netdsl.training.scores.task import Task

if TYPE_CHECKING:
    from netdsl.pipeline import Net

FIRST = 64  # samples that are compared to see whether targets are the inputs


def as_targets(x: np.ndarray) -> np.ndarray:
    """x as stored -> float32 of the same shape, as a net gives it back: bytes become 0 to 1."""
    return x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x.astype(np.float32)


def is_copy(dataset: Dataset) -> bool:
    """Whether the targets are the inputs themselves."""
    x, y = dataset.x_train[:FIRST], dataset.y_train[:FIRST]
    return x.shape == y.shape and y.dtype.kind == "f" and np.allclose(y, as_targets(x), rtol=0, atol=1e-6)


def adapted(net: Net, dataset: Dataset) -> Dataset:
    """The dataset with targets that the net can learn, where its own do not fit.

    A net that gives what it takes, under a loss of numbers, learns the inputs where the labels do not fit its output.
    One output under `bce` learns two classes of targets that are nothing but 0.0 and 1.0.
    """
    targets, takes, gives = net.recipe.targets, net.graph.input_shape, net.graph.output_shape
    if dataset.classes and targets != "labels" and takes == gives == dataset.input_shape:
        wants = (1,) if targets == "truth" else (len(dataset.classes),)
        if gives != (*wants, *dataset.y_train.shape[1:]):
            y_train, y_test = (each(x, as_targets) for x in (dataset.x_train, dataset.x_test))
            return _measured(replace(dataset, y_train=y_train, y_test=y_test, classes=()), net.recipe)
    both = dataset.y_train, dataset.y_test
    are_two = targets == "truth" and not dataset.classes and gives[0] == 1 and both[0].shape[1:] == gives
    if are_two and not is_copy(dataset) and all(bool(np.isin(y, (0, 1)).all()) for y in both):
        y_train, y_test = (np.asarray(y)[:, 0].astype(np.int64) for y in both)
        return _measured(replace(dataset, y_train=y_train, y_test=y_test, classes=("0", "1")), net.recipe)
    return dataset


def _measured(dataset: Dataset, recipe: Recipe) -> Dataset:
    """The dataset with mean and std of the samples that are learned from: other targets are split otherwise."""
    if not dataset.is_own:
        return dataset
    rows, _ = dataset.parts(recipe.val, recipe.seed)
    mean, std = statistics(dataset.x_train, rows, dataset.layout)
    return replace(dataset, mean=mean, std=std)


def check_masks(net: Net, dataset: Dataset) -> None:
    """Raises UserError unless the net gives what masks (N, *space) need: a map of that space with a channel a class."""
    loss, gives, places = net.recipe.loss, net.graph.output_shape, dataset.y_train.shape[1:]
    count, name = len(dataset.classes), dataset.name
    if net.recipe.targets == "numbers":
        text = f"`{name}` has a class for each {dataset.input_type.place}, which the loss `{loss}` cannot take"
        raise UserError(text, help="use `--loss ce`")
    is_binary = net.recipe.targets == "truth"
    if is_binary and count > 2:
        text = f"the loss `bce` tells two classes apart, but the masks of `{name}` have {count}"
        raise UserError(text, help=f"end the spec with `conv {count}` and use `--loss ce`")
    wants = (1 if is_binary else count, *places)
    if gives != wants:
        text = f"the masks of `{name}` are {show_sizes(places)} with {count} classes"
        text = f"{text}, for which `{loss}` needs an output"
        text = f"{text} of {show_shape(wants)}, but `{net.name}` gives {show_shape(gives)}"
        hint = (
            f"end the spec with `conv {wants[0]}`" if gives[1:] == places else f"give an output of {show_shape(wants)}"
        )
        raise UserError(text, help=hint)


def check_ids_fit(net: Net, dataset: Dataset) -> None:
    """Raises UserError where only one of the two is of whole numbers of a vocabulary, or the data have more of them."""
    takes, name = net.graph.input_type, dataset.name
    if takes.is_ids and not dataset.has_ids:
        text = f"`{net.name}` takes whole numbers, {takes.show_type()}, but the samples of `{name}` are none"
        raise UserError(text, help=f"choose a text, or begin the spec with `input {dataset.written}`")
    if dataset.has_ids and not takes.is_ids:
        text = f"the samples of `{name}` are {dataset.written}, whole numbers"
        text = f"{text}, but `{net.name}` takes {takes.show_type()}"
        raise UserError(text, help=f"begin the spec with `input {dataset.written}` and `embed`, or choose other data")
    if dataset.has_ids and dataset.limit > takes.limit:
        text = (
            f"the numbers of `{name}` go up to {dataset.limit - 1}, but `{net.name}` takes {takes.limit} different ones"
        )
        raise UserError(text, help=f"begin the spec with `input {takes.length} of {dataset.limit}`")


def check_token_labels(net: Net, dataset: Dataset) -> None:
    """Raises UserError unless the net gives what labels (N, T) need: as many tokens, with a feature for each class; it
    may have more of these where they are numbers of a vocabulary."""
    gives, name, count, loss = net.graph.output_type, dataset.name, len(dataset.classes), net.recipe.loss
    if not dataset.has_token_labels:
        text = f"`{name}` has one class for each sample, but `{net.name}` gives {gives.show()}, tokens"
        raise UserError(text, help=f"end the spec with `take -1 -> linear {count}`, or choose other data")
    if net.recipe.targets != "labels":
        text = f"`{name}` has a class for each token, which the loss `{loss}` cannot take"
        raise UserError(text, help="use `--loss ce`")
    length = dataset.y_train.shape[1]
    if gives.is_tokens and gives.length == length and gives.channels >= count:
        return
    text = f"`{name}` has labels for {length} tokens, of {count} classes, for which `{loss}` needs {length}x{count}"
    hint = f"end the spec with `linear {count}`"
    if not gives.is_tokens:
        hint += " of all tokens: `take`, `mean` and the like leave one for all"
    raise UserError(f"{text}, but `{net.name}` gives {gives.show()}", help=hint)


def check_monitor(recipe: Recipe, task: Task) -> None:
    """Raises UserError where the recipe's best epoch is chosen by what the task does not measure."""
    if recipe.monitor not in task.monitors:
        known = ", ".join(f"`{name}`" for name in task.monitors)
        text = f"`monitor {recipe.monitor}` is not measured here: the network learns {task.what}"
        raise UserError(text, help=f"use one of {known}")
    if recipe.monitor != "val_loss" and not recipe.val:
        text = f"`monitor {recipe.monitor}` needs validation data, but `val` is 0"
        raise UserError(text, help="use `--val 0.1`")
