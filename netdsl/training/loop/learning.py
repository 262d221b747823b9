"""A step of the optimizer from one batch, or from several, one after the other, whose gradients add up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from netdsl.ground.ranks import ALONE, Ranks
from netdsl.targets.contract import Model, Share, SharedModel, Step
from netdsl.training.data.feed import Batch
from netdsl.training.scores.evaluation import weighing

if TYPE_CHECKING:
    from netdsl.pipeline import Net

Tell = Callable[[np.ndarray], Sequence[float]]
"""logits (n, ...) of samples -> numbers, which are added up over all of a step's."""


@dataclass(frozen=True)
class Gathered:
    """What the batches of a step came to so far: by how much they count, and sums over them."""

    amount: float = 0.0
    loss: float = 0.0
    told: tuple[float, ...] = ()


class Learning:
    """How a model learns, alone or with the other processes of `ranks`, which all have the same batches."""

    def __init__(self, net: Net, model: Model, ranks: Ranks = ALONE) -> None:
        self.model, self.ranks = model, ranks
        self._amount_of, self._gathered = weighing(net), Gathered()

    def learn(self, batch: Batch, lr: float, tell: Tell) -> tuple[Step, list[float]]:
        """Learns from a batch -> the step, and what was told of all its samples. Of several batches the last one makes
        the step, whose loss is the mean over all of them; those before are gathered.

        Where a number is not finite params stay as they were.
        """
        if not (batch.is_first and batch.is_last):
            return self._gather(batch, lr, tell)
        if self.ranks.are_many:
            return self._shared.learn_share(batch.x, batch.y, lr, self._share(batch, tell))
        step = self.model.learn(batch.x, batch.y, lr)
        return step, list(tell(step.logits))

    @property
    def _shared(self) -> SharedModel:
        return cast(SharedModel, self.model)

    def _share(self, batch: Batch, tell: Tell) -> Share:
        return Share(batch.part, len(batch.rows), tell)

    def _gather(self, batch: Batch, lr: float, tell: Tell) -> tuple[Step, list[float]]:
        amount, expected = self._amount(batch), self._expected(batch)
        before = Gathered() if batch.is_first else self._gathered
        if self.ranks.are_many:
            share = self._share(batch, tell)
            step, told = self._shared.gather_share(batch.x, batch.y, amount / expected, batch.is_first, share)
        else:
            step = self.model.gather(batch.x, batch.y, amount / expected, batch.is_first)
            told = list(tell(step.logits))
        told = [a + b for a, b in zip(before.told or (0.0,) * len(told), told, strict=True)]
        done = Gathered(before.amount + amount, before.loss + float(step.loss) * amount, tuple(told))
        self._gathered = done
        if not batch.is_last or not step.is_finite:
            return step, told
        is_finite = self.model.apply(lr, expected / (done.amount or expected))
        return Step(done.loss / (done.amount or 1.0), step.logits, is_finite), told

    def _amount(self, batch: Batch) -> float:
        """By how much a batch counts in the mean loss of its step."""
        if self._amount_of is len:
            return len(batch.rows)
        own = self._amount_of(batch.y)
        is_parted = self.ranks.are_many and batch.part != slice(0, len(batch.rows))
        return self.ranks.total([own])[0] if is_parted else own

    def _expected(self, batch: Batch) -> float:
        """By how much all of a step's batches would count together, if all labels counted the same."""
        return batch.whole if self._amount_of is len else batch.whole * batch.y[0].size
