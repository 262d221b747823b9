"""Random batches to compare networks on: x for each input, and targets as the loss takes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from netdsl.analysis.loss import judges_tokens
from netdsl.graph.ir import Input
from netdsl.kernels.normalization import constant
from netdsl.pipeline import Net

Batch = np.ndarray | tuple[np.ndarray, ...]
"""x (N, *input), or one for each input where these have names."""


def each(x: Batch) -> tuple[np.ndarray, ...]:
    """The array of every input."""
    return x if isinstance(x, tuple) else (x,)


def in_dtype(x: Batch, dtype: str) -> Any:
    """The batch with every array in that dtype; whole numbers stay what they are."""
    return tuple(labels_in_dtype(array, dtype) for array in x) if isinstance(x, tuple) else labels_in_dtype(x, dtype)


def labels_in_dtype(y: np.ndarray, dtype: str) -> np.ndarray:
    return y if np.issubdtype(y.dtype, np.integer) else y.astype(dtype)


def random_batch(net: Net, batch: int, seed: int) -> tuple[Any, np.ndarray]:
    """Random x (batch, *input), a tuple where the inputs have names, and targets of the output that the loss reads:
    what the loss takes, with mixup a probability for each class."""
    rng = np.random.default_rng(seed)
    xs = tuple(random_input(given, batch, rng) for given in net.graph.inputs)
    return xs if net.graph.takes_names else xs[0], random_targets(net, batch, rng)


def random_targets(net: Net, batch: int, rng: np.random.Generator) -> np.ndarray:
    """Random targets (batch, ...), as `random_batch` draws them."""
    shape = net.graph.shape_of(net.graph.judged_value)
    if net.recipe.targets == "numbers":
        return rng.standard_normal((batch, *shape)).astype(np.float32)
    if net.recipe.targets == "truth":
        return rng.random((batch, *shape), np.float32)
    if net.recipe.takes_probabilities:
        mixed = rng.dirichlet(np.ones(shape[0]), (batch, *shape[1:]))
        return np.ascontiguousarray(np.moveaxis(mixed, -1, 1)).astype(np.float32)
    classes, *places = shape
    if judges_tokens(net.graph, net.recipe.loss):
        *places, classes = shape
    return rng.integers(0, classes, (batch, *places))


def random_input(given: Input, batch: int, rng: np.random.Generator) -> np.ndarray:
    """(batch, *shape), spread as the data are of which its mean and std are taken; numbers of a vocabulary."""
    if given.type.is_ids:
        return rng.integers(0, given.type.limit, (batch, *given.type.sizes))
    x = rng.standard_normal((batch, *given.type.sizes)).astype(np.float32)
    if not given.mean:
        return x
    axis = given.type.channel_axis
    return x * constant(given.std, x.ndim, axis) + constant(given.mean, x.ndim, axis)
