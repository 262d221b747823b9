"""The running mean of a network's weights, which often does better than the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from netdsl.targets.contract import KeepsMeans, Means, Model
from netdsl.training.runs.checkpoint import weights_of


class WeightAverage:
    """After each step mean += (1 - d) * (weights - mean), with d = min(decay, (1 + n) / (10 + n)) after n updates.

    Polyak & Juditsky 1992. d grows as in TensorFlow's ExponentialMovingAverage, so that a short run soon forgets the
    first weights. Buffers are averaged as well: they belong to the params they were measured with.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self._means: Means = model.means() if isinstance(model, KeepsMeans) else _Copies(model)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The means by the names of the weights, to be read and written into until the next update."""
        return self._means.arrays

    def update(self) -> None:
        """Takes in the weights of one more step."""
        self._means.take_in(1 - min(self.decay, (1 + self.updates) / (10 + self.updates)))
        self.updates += 1

    @contextmanager
    def in_place_of_weights(self, model: Model) -> Iterator[None]:
        """While it is open the model has the mean for its weights."""
        weights = weights_of(model)
        learned = {name: array.copy(order="K") for name, array in weights.items()}
        try:
            _copy(self.arrays, weights)
            yield
        finally:
            _copy(learned, weights)


class _Copies:
    """The means of a model whose params and buffers lie here."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.arrays = {name: array.copy(order="K") for name, array in weights_of(model).items()}

    def take_in(self, share: float) -> None:
        for name, array in weights_of(self._model).items():
            mean = self.arrays[name]
            mean += mean.dtype.type(share) * (array - mean)


def _copy(source: dict[str, np.ndarray], target: dict[str, np.ndarray]) -> None:
    for name, array in target.items():
        array[...] = source[name]
