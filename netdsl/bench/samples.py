"""The batches that contestants work on: another one in every step, and for all contestants the same ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from netdsl.pipeline import Net
from netdsl.verify.batches import random_batch, random_targets

POOL_BYTES, MOST, FEWEST = 16 * 2**20, 64, 2


class Samples:
    """The x of a few batches, drawn before the clock runs and used in turn, and targets drawn anew for every step.

    A batch that came again with its targets would be learned by heart: its loss falls to zero, and with it the
    gradients, down to subnormal numbers (`subnormals`), of which a processor makes slow work.
    """

    def __init__(self, net: Net, batch: int, seed: int = 0) -> None:
        """As many batches as POOL_BYTES hold, FEWEST to MOST."""
        self._net, self._batch, self._seed = net, batch, seed
        first, self._first_y = random_batch(net, batch, seed)
        count = max(FEWEST, min(MOST, POOL_BYTES // first.nbytes))
        self._xs: list[Any] = [first, *(random_batch(net, batch, seed + i)[0] for i in range(1, count))]

    def __len__(self) -> int:
        """How many different x there are."""
        return len(self._xs)

    def place(self, placed: Callable[[np.ndarray], Any]) -> None:
        """Have every x as a contestant takes it; one after another, so that no two copies of all are held."""
        for index, x in enumerate(self._xs):
            self._xs[index] = placed(x)

    def x(self, step: int) -> Any:
        """The input of a step, counted from 0."""
        return self._xs[step % len(self._xs)]

    def batch(self, step: int) -> tuple[Any, np.ndarray]:
        """The input of a step and its targets, (N, ...)."""
        if step == 0:
            return self._xs[0], self._first_y
        return self.x(step), random_targets(self._net, self._batch, np.random.default_rng((self._seed, step)))
