"""Batches in the order of training, as the network is fed: functions of the seed, the epoch and the step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from netdsl.analysis.batches import check_batch
from netdsl.graph.recipe import Recipe
from netdsl.graph.types import show_sizes
from netdsl.ground.diagnostics import UserError
from netdsl.training.data.augment import Augmentation
from netdsl.training.data.dataset import Dataset
from netdsl.training.data.stored import Samples, Stored

if TYPE_CHECKING:
    from netdsl.pipeline import Net

SHUFFLE = 1  # purpose of a random stream
OFFSET = 1  # and behind the epoch that of where its windows begin
AHEAD = 2  # batches that are read before they are needed, where samples are not in memory

WHOLE = slice(None)


@dataclass(frozen=True)
class Batch:
    """Step `step` of epoch `epoch`, both counted from 1: x (n, *input_shape) as the network is fed, targets y (n, ...),
    and which of the training samples they were made of. part: which of the batch's samples x and y are, where several
    processes share it; rows has all of them.

    number: which batch of the epoch it is; the same as the step, but where a step has the samples of several batches:
    is_first, is_last: of those of its step, which have `whole` samples together.
    """

    epoch: int
    step: int
    rows: np.ndarray
    x: np.ndarray
    y: np.ndarray
    part: slice = field(default_factory=lambda: WHOLE)
    number: int = 1
    is_first: bool = True
    is_last: bool = True
    whole: int = 0


class Feed:
    """The training samples in shuffled batches, augmented where the recipe says so.

    An epoch has `steps`, each of one batch, or of as many as the recipe accumulates; `sizes` is how many samples each
    step has, `most` the largest batch. Its order comes from the stream [seed, 1, epoch], and where the windows of a
    text begin from [seed, 1, epoch, 1]. part(n) -> which of the n samples of a batch are made: the order and all that
    is drawn are those of whole batches.
    """

    def __init__(self, dataset: Dataset, recipe: Recipe, part: Callable[[int], slice] = lambda _: WHOLE) -> None:
        self.data, self.recipe, self.part = dataset, recipe, part
        self.rows, self.val_rows = dataset.parts(recipe.val, recipe.seed)
        sizes = [len(piece) for piece in batches(self.rows, recipe.batch)]
        self.count, self.most = len(sizes), max(sizes, default=0)
        self.sizes = [sum(sizes[i : i + recipe.accumulate]) for i in range(0, len(sizes), recipe.accumulate)]
        self.steps, self.samples = len(self.sizes), len(self.rows)
        self.augmentation = (
            Augmentation(recipe.augment, recipe.seed, dataset.mean, dataset.std) if recipe.augment else None
        )
        self.moves_targets = self.augmentation is not None and _move_together(self.augmentation, dataset)

    def batch(self, epoch: int, step: int) -> Batch:
        """The batch of one step, all of it; of several the first."""
        return self.numbered(epoch, (step - 1) * self.recipe.accumulate + 1)

    def numbered(self, epoch: int, number: int) -> Batch:
        """A batch of an epoch by its number, all of it."""
        return self._whole(epoch, number, self._pieces(epoch)[number - 1])

    def epoch(self, epoch: int, done: int = 0, last: int | None = None) -> Generator[Batch, None, None]:
        """The batches after the first `done`, up to the step `last` (None: all). With augmentation, and of samples that
        are read when they are asked for, the next ones are made, by another thread, while the network learns from the
        one before."""
        several = self.recipe.accumulate
        until = None if last is None else last * several
        pieces = list(enumerate(self._pieces(epoch), start=1))[done * several : until]
        ahead = self._ahead()
        if not ahead or not pieces:
            yield from (self._made(epoch, number, rows) for number, rows in pieces)
            return
        # in one thread: what is drawn does not depend on when, and what reads slowly has threads of its own
        coming: deque[Future[Batch]] = deque()
        pool = ThreadPoolExecutor(1, "netdsl-feed")
        try:
            for piece in pieces:
                coming.append(pool.submit(self._made, epoch, *piece))
                if len(coming) > ahead:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)  # the epoch may be left before its end

    def _ahead(self) -> int:
        """How many batches are made before they are needed; more would only take memory."""
        is_slow = isinstance(self.data.x_train, Stored) and not self.data.x_train.is_ready
        return AHEAD if is_slow else int(self.augmentation is not None)

    def _pieces(self, epoch: int) -> list[np.ndarray]:
        order = np.random.default_rng([self.recipe.seed, SHUFFLE, epoch]).permutation(self.rows)
        return batches(order, self.recipe.batch)

    def _made(self, epoch: int, number: int, rows: np.ndarray) -> Batch:
        part = self.part(len(rows))
        if self.augmentation and self.augmentation.mixes:  # partners may be anywhere in the batch
            batch = self._whole(epoch, number, rows)
            return replace(batch, x=batch.x[part], y=batch.y[part], part=part)
        return replace(self._whole(epoch, number, rows[part]), rows=rows, part=part)

    def _whole(self, epoch: int, number: int, rows: np.ndarray) -> Batch:
        x, y = self._samples(epoch, number, rows)
        several = self.recipe.accumulate
        before, place = divmod(number - 1, several)
        is_last = place == several - 1 or number == self.count
        return Batch(epoch, before + 1, rows, x, y, WHOLE, number, place == 0, is_last, self.sizes[before])

    def _placed(self, epoch: int) -> tuple[Samples, Samples]:
        """x and y of the training samples as that epoch has them: the windows of a text begin anew in each of them."""
        x, y = self.data.x_train, self.data.y_train
        if not isinstance(x, Stored) or not isinstance(y, Stored) or not x.spare:
            return x, y
        offset = int(np.random.default_rng([self.recipe.seed, SHUFFLE, epoch, OFFSET]).integers(x.spare + 1))
        return x.moved(offset), y.moved(offset)

    def _samples(self, epoch: int, number: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x and y of these rows, as a batch of that number has them."""
        x, y = (samples[rows] for samples in self._placed(epoch))
        if self.augmentation is None:
            return self.data.normalized(x), y
        if self.moves_targets:
            y = self.augmentation.maps(y, rows, epoch, self.data.input_type.axes)
        x = self.data.normalized(self.augmentation.images(x, rows, epoch))
        if self.augmentation.mixes:
            x, y = self.augmentation.mixed(x, y, self._outputs(), epoch, number)
        return x, y

    def _outputs(self) -> int:
        """How many outputs a mixture of labels has: one of two classes that are told apart by `bce`."""
        return 1 if self.recipe.targets == "truth" else len(self.data.classes)


def check_batches(net: Net, dataset: Dataset) -> None:
    """Raises UserError where some batch of an epoch is too small for the network."""
    rows, _ = dataset.parts(net.recipe.val, net.recipe.seed)
    check_batch(net.graph, min((len(piece) for piece in batches(rows, net.recipe.batch)), default=0))


def _move_together(augmentation: Augmentation, dataset: Dataset) -> bool:
    """Whether the targets are maps that move with their images. Raises UserError for such of another size."""
    sample, target = dataset.input_type, dataset.target_space
    if not augmentation.moves or not target:
        return False
    if target != sample.space:
        sizes = f"{sample.kind}s of {show_sizes(sample.space)} and their targets of {show_sizes(target)}"
        names = " and ".join(f"`{name}`" for name in augmentation.moving)
        raise UserError(f"`augment` moves {sizes} apart, expected one size", help=f"leave {names} out")
    return True


def batches(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """Pieces of `size`; a last one of a single sample joins the one before, since batch norm needs two."""
    pieces = [rows[i : i + size] for i in range(0, len(rows), size)]
    if len(pieces) > 1 and len(pieces[-1]) == 1 < size:
        pieces[-2:] = [np.concatenate(pieces[-2:])]
    return pieces
