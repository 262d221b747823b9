"""What NumPy networks compute on one batch, by name, and the same with rounding errors on the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np

from netdsl.pipeline import Net
from netdsl.targets.contract import Model
from netdsl.targets.live.interpreter import LayerNetwork
from netdsl.verify.batches import Batch, each, in_dtype, labels_in_dtype
from netdsl.verify.checks import Arrays
from netdsl.verify.gradients import network_to_check

STEPS = 5
DRIVEN = 1e-8  # of the largest gradient: what is smaller is too near to rounding for an optimizer's steps to agree
ROUNDING = 1e-15  # see rounded_network


def numpy_run(model: Model, x: Batch, y: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Everything a NumPy network computes on one batch; buffers as training left them. -O2 has no dx of the input."""
    arrays = dict(outputs_of(model.forward(*each(x))))
    model.rng = np.random.default_rng(seed)
    logits = model.logits(*each(x), training=True)
    loss, dlogits = model.loss(logits, y)
    dx, grads = model.backward(dlogits)
    arrays |= {"output, training": logits, "loss": np.asarray(loss)}
    arrays |= {} if dx is None else input_gradients(dx, model.input_names)
    arrays |= {f"gradient of {name}": grads[name] for name in model.params}
    return arrays | {f"buffer {name}": array for name, array in model.buffers.items()}


def outputs_of(made: Any) -> Iterator[tuple[str, Any]]:
    """`output, evaluation`, and what `forward` gave; with its name, if it has one."""
    for name, array in made.items() if isinstance(made, dict) else [("", made)]:
        yield f"output {name}".rstrip() + ", evaluation", array


def input_gradients(dx: Any, names: Iterable[str]) -> dict[str, Any]:
    """`gradient of the input` -> the gradient; with names where there is one for each input. Ids have none."""
    if not isinstance(dx, tuple):
        return {} if dx is None else {"gradient of the input": dx}
    named = zip(names, dx, strict=True)
    return {f"gradient of the input {name}": one for name, one in named if one is not None}


def after_steps(network: Model, x: Batch, y: np.ndarray, seed: int) -> Arrays:
    """The losses of five steps, and the params after them."""
    network.rng = np.random.default_rng(seed)
    losses = [network.train_step(x, y) for _ in range(STEPS)]
    return {"losses": np.array(losses), **network.params}


def other_steps(net: Net, x: Batch, y: np.ndarray, seed: int) -> Callable[[], Arrays]:
    """The same with rounding errors on the weights; computed only where it is asked for."""
    return cache(lambda: after_steps(rounded_network(net, seed), x, y, seed))


def other_result(net: Net, network: LayerNetwork, x: Batch, y: np.ndarray, seed: int) -> Callable[[], Arrays]:
    """What `compared` looks at beside: of float32 the result in float64, of float64 that with rounding errors."""

    @cache
    def other() -> Arrays:
        judge = before_training(net, network, "float64") if network.dtype == np.float32 else rounded_network(net, seed)
        return numpy_run(judge, in_dtype(x, "float64"), labels_in_dtype(y, "float64"), seed)

    return other


def rounded_network(net: Net, seed: int) -> LayerNetwork:
    """The network of that seed in float64, with a rounding error on each weight, as another order of summation makes.

    Some deep networks amplify those a million times: there two right programs differ by that much.
    """
    return with_rounding(network_to_check(net, seed, "float64"), seed)


def with_rounding(network: LayerNetwork, seed: int) -> LayerNetwork:
    """The network, with a rounding error on each weight."""
    rng = np.random.default_rng(seed)
    for array in network.params.values():
        scale = float(np.abs(array).max(initial=0.0)) or 1.0  # zeros too: a relu of exactly zero has two gradients
        array += scale * ROUNDING * rng.standard_normal(array.shape)
    return network


def before_training(net: Net, network: LayerNetwork, dtype: str) -> LayerNetwork:
    """A network with the same weights, and the buffers as they were before training moved them."""
    fresh = net.build(0, dtype)
    for name, array in network.params.items():
        fresh.params[name][...] = array
    return fresh


def driven_numbers(grads: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of every param which numbers have a gradient. That of a bias before a batch norm is zero but for rounding, out of
    which adam makes full steps: no two programs agree on those, and they change nothing."""
    largest = max((float(np.abs(grad).max(initial=0.0)) for grad in grads.values()), default=0.0)
    return {name: np.abs(grad) > DRIVEN * largest for name, grad in grads.items()}
