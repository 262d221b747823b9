"""Steps of the optimizer at -O2, each beside one of the layer objects from the same place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from copy import deepcopy
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from netdsl.pipeline import Net
from netdsl.targets.contract import Model
from netdsl.targets.live.interpreter import LayerNetwork
from netdsl.verify.batches import Batch, in_dtype, labels_in_dtype
from netdsl.verify.checks import Arrays, Check, steps_compared
from netdsl.verify.gradients import network_to_check, without_zeros
from netdsl.verify.runs import STEPS, driven_numbers, with_rounding

WORKERS = 2  # of the module at -O2, so that a batch is shared


def fast_steps(net: Net, x: Batch, y: np.ndarray, seed: int) -> Iterator[Check]:
    """The losses of five steps of the spec's optimizer at -O2, and every param after them, in float64.

    The layer objects make each step from where the module stands. On a way of their own they would leave it: out of a
    gradient that is zero but for rounding adam makes a full step, at -O2 and not here, and all others follow from that.
    The largest difference of the five is given.
    """
    x, y = in_dtype(x, "float64"), labels_in_dtype(y, "float64")
    network = network_to_check(net, seed, "float64")
    title, worst = f"module at -O2, {STEPS} steps of {net.recipe.optimizer}", dict[str, Check]()
    with closing(net.numpy_model(seed, "float64", level=2, workers=WORKERS)) as model:
        without_zeros(model, seed).rng = np.random.default_rng(seed)
        for steps in range(STEPS):
            place = Place.of(model, net.recipe.state_names, steps)
            computed = {"losses": np.asarray(model.train_step(x, y)), **model.params}
            expected, driven = step_of(place.put(network), x, y)
            other = partial(rounded_step, network, place, x, y)
            for check in steps_compared(title, computed, expected, expected, cache(other), driven):
                known = worst.setdefault(check.name, check)
                if (not check.ok, check.max_rel) > (not known.ok, known.max_rel):
                    worst[check.name] = check
    yield from worst.values()


class Place(NamedTuple):
    """Where training stands: params, what the optimizer keeps, how many steps were made, what dropout draws from."""

    params: Arrays
    state: Arrays
    names: tuple[str, ...]
    steps: int
    rng: np.random.Generator

    @classmethod
    def of(cls, model: Model, names: tuple[str, ...], steps: int) -> Place:
        """Where the model stands; it may go on."""
        return cls(copies(model.params), copies(model.state(names)), names, steps, deepcopy(model.rng))

    def put(self, network: LayerNetwork) -> LayerNetwork:
        """The network, which now stands there."""
        for name, array in self.params.items():
            network.params[name][...] = array
        network.load_state(self.names, self.state, self.steps)
        network.rng = deepcopy(self.rng)
        return network


def step_of(network: LayerNetwork, x: Batch, y: np.ndarray) -> tuple[Arrays, Arrays]:
    """One step: its loss and the params after it, and of each which numbers it drove."""
    loss, grads = network.loss_and_gradients(x, y)
    driven = driven_numbers(grads)
    network.update(grads, network.learning_rate)
    return {"losses": np.asarray(loss), **copies(network.params)}, driven


def rounded_step(network: LayerNetwork, place: Place, x: Batch, y: np.ndarray) -> Arrays:
    """What a step from the place comes to with rounding errors on the weights."""
    return step_of(with_rounding(place.put(network), seed=0), x, y)[0]


def copies(arrays: Mapping[str, np.ndarray]) -> Arrays:
    """The same numbers in arrays of their own."""
    return {name: array.copy() for name, array in arrays.items()}
