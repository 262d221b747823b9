"""The training loop. Everything it computes is a function of the seed, the epoch and the step; it prints nothing.

Random streams are keyed by purpose: [seed, 1, epoch] shuffles, [seed, 2, epoch, step] feeds dropout, [seed, 3] splits
off the validation set; those of augmentation stand in augment/draws.py. Epochs and steps count from 1.
"""

from __future__ import annotations

import json
import math
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from netdsl.ground.diagnostics import TrainingFailed
from netdsl.ground.files import write_atomic
from netdsl.ground.ranks import ALONE, Ranks, SaidElsewhere
from netdsl.targets.contract import ModelEnded, Share, SharedModel, Step
from netdsl.targets.live.interpreter import first_nonfinite
from netdsl.training.data.dataset import Dataset
from netdsl.training.data.feed import Batch, Feed, check_batches
from netdsl.training.data.normalization import for_network
from netdsl.training.data.stored import Samples, chosen
from netdsl.training.loop.failures import all_finite, copy_of, sentence, step_failure
from netdsl.training.loop.shares import parts_of
from netdsl.training.loop.watch import Interrupted, Progress, Result, Watch
from netdsl.training.runs.average import WeightAverage
from netdsl.training.runs.checkpoint import checkpoint_path, load_checkpoint, rename_copy, save_checkpoint, weights_of
from netdsl.training.runs.engine import Engine, engine_threads, new_model
from netdsl.training.runs.folder import result_path
from netdsl.training.runs.history import Epoch, History, read_history, with_times, write_history
from netdsl.training.runs.state import Position, load_youngest, save_state
from netdsl.training.scores.evaluation import Scores, evaluate, fitted, measured_together, task_of, weighing

if TYPE_CHECKING:
    from netdsl.pipeline import Net

NOISE = 2  # purpose of a random stream
SAVE_EVERY, SAVE_SHARE = 60.0, 0.05  # seconds in an epoch, or more where saving takes a larger share of the time


def train(
    net: Net,
    dataset: Dataset,
    engine: Engine,
    run: Path,
    watch: Watch | None = None,
    resume: bool = False,
    ranks: Ranks = ALONE,
) -> Result:
    """Trains by the net's recipe and keeps metrics.csv and the checkpoints in the folder `run`.

    resume: go on from the run's last checkpoint, as if it had never stopped. ranks: the processes that share each
    batch; all of them call this, and the first one alone writes. Raises UserError, TrainingFailed, OSError,
    Interrupted, and in other processes than the first SaidElsewhere; KeyboardInterrupt leaves the last checkpoint.
    However it ends, the engine's workers end with it.
    """
    net = fitted(net, dataset)
    check_batches(net, dataset)
    dataset = for_network(dataset, net)
    with engine_threads(engine):
        try:
            trainer = _Trainer(net, dataset, engine, run, watch or Watch(), ranks)
        except ModelEnded as ended:
            raise TrainingFailed(f"training did not begin: {ended.why}") from None
        try:
            return trainer.run(resume)
        except ModelEnded as ended:
            raise TrainingFailed(f"training failed in epoch {trainer.position.epoch}: {ended.why}") from None
        finally:
            trainer.model.close()


class _Trainer:
    """The things that change while a network learns."""

    def __init__(self, net: Net, dataset: Dataset, engine: Engine, run: Path, watch: Watch, ranks: Ranks) -> None:
        self.net, self.data, self.recipe, self.folder, self.watch = net, dataset, net.recipe, run, watch
        self.task, self.measured = task_of(net, dataset), measured_together(net)
        self.ranks, self.wishes = ranks, Wishes()
        self.feed = Feed(dataset, net.recipe, parts_of(ranks, net, engine))
        self.model = new_model(net, engine, ranks)
        self.average = WeightAverage(self.model, self.recipe.ema) if self.recipe.ema else None
        self.position, self.save_seconds = Position(), 0.0
        self.history: list[Epoch] = []

    # ---------------------------------------------------------------------------------------------- the whole run

    def run(self, resume: bool) -> Result:
        start = self.saved_at = self.watch.clock()
        targets = self.feed.batch(1, 1).y[:1]
        self.model.prepare(max(self.measured, *self.feed.sizes), targets)  # before anything else starts threads
        if resume:
            self._resume()
        while not self._is_over():
            self._epoch()
        load_checkpoint(checkpoint_path(self.folder, "best" if self.best else "last"), self.model, self.ranks)
        try:
            test = self._measure(self.data.x_test, self.data.y_test, "test")
        except _Stop:
            raise Interrupted("stopped after the last epoch, before the test") from None
        assert test is not None, f"{self.data.name} has no test samples"
        used, seconds = self.best or self.history[-1], self.watch.clock() - start
        weights = weights_of(self.model)
        result = Result(self.task, used, len(self.history), seconds, self.folder, test, self._known())
        if self.ranks.is_first:
            save_checkpoint(self.folder / "weights.safetensors", weights, {"epoch": used.epoch})
            write_atomic(result_path(self.folder), json.dumps(result.as_dict()) + "\n")
        return result

    @property
    def best(self) -> Epoch | None:
        """The best epoch so far; None without validation data."""
        return self._known().best

    def _known(self) -> History:
        return History(tuple(self.history), self.recipe.monitor)

    def _is_over(self) -> bool:
        """All epochs are done, or the best one is `patience` epochs ago."""
        waited = self.history[-1].epoch - self.best.epoch if self.best else 0
        is_tired = self.recipe.patience is not None and waited >= self.recipe.patience
        return len(self.history) >= self.recipe.epochs or is_tired

    def _resume(self) -> None:
        """Goes on from the youngest checkpoint that can be read; from the beginning where there is none yet."""
        steps, on_note = self.feed.steps, self.watch.on_note
        loaded = load_youngest(self.folder, self.model, self.recipe, self.average, steps, on_note, self.ranks)
        if loaded is None:
            return
        self.position, self.history = loaded.position, loaded.history
        if self.ranks.is_first:
            self._bring_files(loaded.which)

    def _bring_files(self, which: str) -> None:
        """Has the run's files agree with the checkpoint that training goes on from."""
        path = checkpoint_path(self.folder, which)
        if which != "last":  # the next checkpoint makes `prev` of it
            rename_copy(path, checkpoint_path(self.folder, "last"))
        if self.history:
            self.history = with_times(self.history, read_history(self.folder))
            write_history(self.folder, self.history)
            if self.best == self.history[-1] and not self.position.step:
                rename_copy(path, checkpoint_path(self.folder, "best"))

    # ---------------------------------------------------------------------------------------------- an epoch

    def _epoch(self) -> None:
        """The steps of the running epoch that are not made yet, what they came to, and the checkpoint."""
        done, epoch = self._steps(), self.position.epoch
        x, y = (chosen(part, self.feed.val_rows) for part in (self.data.x_train, self.data.y_train))
        try:
            with self.average.in_place_of_weights(self.model) if self.average else nullcontext():
                val = self._measure(x, y, "validation")
        except _Stop:
            raise self._saved_and_stopped() from None
        speed = done.samples_here / max(done.seconds, 1e-9)
        lr = self._learning_rate(self.feed.steps)
        val_loss, val_accuracy = (val.loss, val.accuracy) if val else (None, None)
        row = Epoch(
            epoch, done.loss, done.accuracy, val_loss, val_accuracy, lr, done.seconds, speed, self._tracked(val)
        )
        self.history.append(row)
        self.position = Position(epoch + 1)
        # metrics.csv first: a run that is killed between the two makes steps again and writes the row anew; the other
        # way round the epoch would stay without its times, which no checkpoint has
        if self.ranks.is_first:
            write_history(self.folder, self.history)
        self._save()
        if self.best == row and self.ranks.is_first:
            rename_copy(checkpoint_path(self.folder, "last"), checkpoint_path(self.folder, "best"))
        self.watch.on_progress(row)

    def _tracked(self, val: Scores | None) -> dict[str, float | None]:
        """What a row of the history has beside loss and accuracy."""
        if val is None:
            return {}
        return {f"val_{name}": val.values[name] for name in self.task.tracked if name != "accuracy"}

    def _steps(self) -> Progress:
        start, here = self.watch.clock(), 0
        done = self._progress(start, here)
        for batch in self.feed.epoch(self.position.epoch, self.position.step):
            self._step(batch)
            here += len(batch.rows)
            done = self._progress(start, here)
            self.watch.on_progress(done)
            self._pause()
        self._check_weights()
        return done

    def _progress(self, start: float, here: int) -> Progress:
        at = self.position
        places = math.prod(self.data.y_train.shape[1:])
        accuracy = at.right / max(at.samples * places, 1) if self.task.classes else None
        loss, seconds = at.loss / max(at.samples, 1), self.watch.clock() - start
        return Progress(at.epoch, self.recipe.epochs, at.samples, self.feed.samples, loss, accuracy, seconds, here)

    def _pause(self) -> None:
        """After a step: stop if that is wanted, and save if it is time."""
        wishes = self.wishes if self.ranks.are_many else self._wishes()
        if wishes.stop:
            raise self._saved_and_stopped()
        every = self.watch.save_every
        if wishes.save or (every and self.position.step % every == 0):
            self._check_weights()
            self._save()

    def _wishes(self) -> Wishes:
        """What this process wants: to stop, and to save, which the first one's clock decides."""
        waited = self.watch.clock() - self.saved_at
        is_time = self.ranks.is_first and waited > max(SAVE_EVERY, self.save_seconds / SAVE_SHARE)
        return Wishes(self.watch.is_stopped(), is_time)

    def _check_stop(self) -> None:
        if any(self.ranks.total([self.watch.is_stopped()])):
            raise _Stop

    def _check_weights(self) -> None:
        """No checkpoint has a number that is not finite. Raises TrainingFailed."""
        if any(self.ranks.total([not all_finite(*weights_of(self.model).values())])):
            at = self.position
            batch = self.feed.batch(at.epoch, at.step)
            raise self._failure(batch, "a param or buffer", is_over=at.step == self.feed.steps)

    def _saved_and_stopped(self) -> Interrupted:
        self._check_weights()
        self._save()
        at = self.position
        return Interrupted(f"stopped in epoch {at.epoch} after step {at.step} of {self.feed.steps}")

    def _save(self) -> None:
        """A checkpoint of now, as `last`; what was that is `prev`."""
        last, start = checkpoint_path(self.folder, "last"), self.watch.clock()
        if last.exists() and self.ranks.is_first:
            rename_copy(last, checkpoint_path(self.folder, "prev"))  # to go on from, should `last` be damaged
        is_written = self.ranks.is_first
        save_state(last, self.model, self.recipe, self.average, self.position, self.history, is_written)
        self.saved_at = self.watch.clock()
        self.save_seconds = self.saved_at - start

    def _measure(self, x: Samples, y: Samples, part: str) -> Scores | None:
        """The scores on one part of the data; None where it is empty. Raises TrainingFailed."""
        if not len(x):
            return None
        weights = weighing(self.net)
        scores = evaluate(self.model, self.data, x, y, self.task, weights, self._check_stop, self.measured)
        if not np.isfinite(scores.loss):
            layer = first_nonfinite(copy_of(self.net, self.model), self.data.normalized(x[:256]), False)
            raise self._told_once(
                TrainingFailed(sentence(f"after epoch {len(self.history) or 1}", f"the {part} loss", layer))
            )
        return scores

    # ---------------------------------------------------------------------------------------------- a step

    def _step(self, batch: Batch) -> None:
        """Learns from one batch."""
        at = self.position
        # a stream a step, not one that goes on: a run that is resumed in the middle of an epoch draws the same numbers
        self.model.rng, lr = np.random.default_rng(self._noise(batch.step)), self._learning_rate(batch.step)
        with np.errstate(all="ignore"):  # what overflows is reported below
            step, right = self._learned(batch, lr)
        if not step.is_finite:
            raise self._failure(batch, "a gradient" if np.isfinite(step.loss) else "the loss")
        if self.average:
            self.average.update()
        count = len(batch.rows)
        total = at.loss + float(step.loss) * count
        self.position = replace(at, step=batch.step, samples=at.samples + count, loss=total, right=at.right + right)

    def _learned(self, batch: Batch, lr: float) -> tuple[Step, int]:
        """Learns from one batch -> the step, and how many samples or pixels were classified correctly."""
        if not self.ranks.are_many:
            step = self.model.learn(batch.x, batch.y, lr)
            return step, self._right(step.logits, batch.y)
        share = Share(batch.part, len(batch.rows), lambda logits: self._told(logits, batch))
        step, (right, stop, save) = cast(SharedModel, self.model).learn_share(batch.x, batch.y, lr, share)
        self.wishes = Wishes(bool(stop), bool(save))
        return step, int(right)

    def _told(self, logits: np.ndarray, batch: Batch) -> tuple[float, ...]:
        """What this process adds to the step of all: they stop, save and count together."""
        counts = self.ranks.is_first or batch.part != slice(0, len(batch.rows))  # else all have the same samples
        wishes = self._wishes()
        return self._right(logits, batch.y) if counts else 0, wishes.stop, wishes.save

    def _right(self, logits: np.ndarray, y: np.ndarray) -> int:
        return int(np.count_nonzero(self.task.chosen(logits) == _labels(y))) if self.task.classes else 0

    def _learning_rate(self, step: int) -> float:
        """The learning rate of a step of the running epoch."""
        done = (self.position.epoch - 1) * self.feed.steps + step - 1
        return self.recipe.learning_rate(done, self.feed.steps)

    def _noise(self, step: int) -> list[int]:
        """The key of the stream that feeds this step's dropout."""
        return [self.recipe.seed, NOISE, self.position.epoch, step]

    def _failure(self, batch: Batch, what: str, is_over: bool = False) -> Exception:
        epoch, key, writes = self.position.epoch, self._noise(batch.step), self.ranks.is_first
        if self.ranks.are_many:
            batch = self.feed.batch(epoch, batch.step)
        failure = step_failure(self.net, self.model, self.folder, batch, what, epoch, key, is_over, writes)
        return self._told_once(failure)

    def _told_once(self, failure: TrainingFailed) -> Exception:
        """The failure that all processes come to, which the first one tells."""
        return failure if self.ranks.is_first else SaidElsewhere(3)


@dataclass(frozen=True)
class Wishes:
    """What is wanted after a step: to stop, to save."""

    stop: bool = False
    save: bool = False


class _Stop(Exception):
    """Somebody wants training to stop, while a network is measured."""


def _labels(y: np.ndarray) -> np.ndarray:
    """Labels (n,) or masks (n, ...), or of mixtures (n, K) the class that has most of it, of (n, 1) whether it is
    mostly the second."""
    if np.issubdtype(y.dtype, np.integer):
        return y
    return (y[:, 0] > 0.5).astype(np.int64) if y.shape[1] == 1 else y.argmax(axis=1)
