"""The training loop. Everything it computes is a function of the seed, the epoch and the step; it prints nothing.

Random streams are keyed by purpose: [seed, 1, epoch] shuffles, [seed, 2, epoch, step] feeds dropout, [seed, 3] splits
off the validation set; those of augmentation stand in augment/draws.py. Epochs and steps count from 1.
"""

from __future__ import annotations

import json
import math
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netdsl.ground.diagnostics import TrainingFailed
from netdsl.ground.files import write_atomic
from netdsl.ground.ranks import ALONE, Ranks, SaidElsewhere
from netdsl.targets.contract import ModelEnded, Step
from netdsl.targets.live.interpreter import first_nonfinite
from netdsl.training.data.dataset import Dataset
from netdsl.training.data.feed import Batch, Feed, check_batches
from netdsl.training.data.normalization import for_network
from netdsl.training.data.stored import Samples, chosen
from netdsl.training.loop.failures import all_finite, bad_layer, copy_of, sentence, step_failure
from netdsl.training.loop.learning import Learning
from netdsl.training.loop.shares import parts_of
from netdsl.training.loop.watch import Interrupted, Progress, Result, Watch
from netdsl.training.runs.average import WeightAverage
from netdsl.training.runs.checkpoint import checkpoint_path, load_checkpoint, rename_copy, save_checkpoint, weights_of
from netdsl.training.runs.course import course_of
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
            raise TrainingFailed(f"training failed {trainer.when()}: {ended.why}") from None
        finally:
            trainer.model.close()


class _Trainer:
    """The things that change while a network learns."""

    def __init__(self, net: Net, dataset: Dataset, engine: Engine, run: Path, watch: Watch, ranks: Ranks) -> None:
        self.net, self.data, self.recipe, self.folder, self.watch = net, dataset, net.recipe, run, watch
        self.task, self.measured = task_of(net, dataset), measured_together(net)
        self.ranks, self.wishes = ranks, Wishes()
        self.feed = Feed(dataset, net.recipe, parts_of(ranks, net, engine))
        self.course = course_of(net.recipe, self.feed.steps)
        self.model = new_model(net, engine, ranks)
        self.learning = Learning(net, self.model, ranks)
        self.average = WeightAverage(self.model, self.recipe.ema) if self.recipe.ema else None
        self.position, self.save_seconds = Position(), 0.0
        self.history: list[Epoch] = []

    # ---------------------------------------------------------------------------------------------- the whole run

    def run(self, resume: bool) -> Result:
        start = self.saved_at = self.watch.clock()
        targets = self.feed.batch(1, 1).y[:1]
        self.model.prepare(max(self.measured, self.feed.most), targets)  # before anything else starts threads
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
        """All steps are made, or the best epoch is `patience` epochs ago."""
        waited = self.history[-1].epoch - self.best.epoch if self.best else 0
        is_tired = self.recipe.patience is not None and waited >= self.recipe.patience
        return self.done >= self.course.steps or is_tired

    @property
    def done(self) -> int:
        """How many steps are made up to the last row of the history."""
        return self.course.done(self.history)

    def _resume(self) -> None:
        """Goes on from the youngest checkpoint that can be read; from the beginning where there is none yet."""
        course, on_note = self.course, self.watch.on_note
        loaded = load_youngest(self.folder, self.model, self.recipe, self.average, course, on_note, self.ranks)
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
        until = max(self.course.next_row(self.done), self.done + self.position.step)
        done, epoch = self._steps(until), self.position.epoch
        x, y = (chosen(part, self.feed.val_rows) for part in (self.data.x_train, self.data.y_train))
        try:
            with self.average.in_place_of_weights(self.model) if self.average else nullcontext():
                val = self._measure(x, y, "validation")
        except _Stop:
            raise self._saved_and_stopped() from None
        speed = done.samples_here / max(done.seconds, 1e-9)
        lr, step = self._learning_rate(until - 1), until if self.course.in_steps else None
        val_loss, val_accuracy = (val.loss, val.accuracy) if val else (None, None)
        row = Epoch(
            epoch, done.loss, done.accuracy, val_loss, val_accuracy, lr, done.seconds, speed, self._tracked(val), step
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

    def _steps(self, until: int) -> Progress:
        """Makes the steps up to `until`, counted over the whole run."""
        start, here, count = self.watch.clock(), 0, self._samples(until)
        done = self._progress(start, here, count)
        for stretch in self.course.stretches(self.done + self.position.step, until):
            with closing(self.feed.epoch(*stretch)) as batches:
                for batch in batches:
                    here += len(batch.rows)
                    if not self._step(batch):
                        continue  # more of the step's samples are to come
                    done = self._progress(start, here, count)
                    self.watch.on_progress(done)
                    self._pause()
        self._check_weights()
        return done

    def _samples(self, until: int) -> int:
        """How many samples the steps of the running epoch have, which ends with `until`."""
        return sum(sum(self.feed.sizes[first:last]) for _, first, last in self.course.stretches(self.done, until))

    def _progress(self, start: float, here: int, count: int) -> Progress:
        at = self.position
        places = math.prod(self.data.y_train.shape[1:])
        accuracy = at.right / max(at.samples * places, 1) if self.task.classes else None
        loss, seconds = at.loss / max(at.samples, 1), self.watch.clock() - start
        steps = (self.done + at.step, self.course.steps) if self.course.in_steps else None
        return Progress(at.epoch, self._epochs(), at.samples, count, loss, accuracy, seconds, here, steps)

    def _epochs(self) -> int:
        """How many rows the history will have."""
        to_come = self.course.steps // self.course.every - self.done // self.course.every
        return len(self.history) + to_come + (self.course.steps % self.course.every > 0)

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
            made = self.done + self.position.step
            batch = self.feed.batch(*self.course.place(max(made - 1, 0)))
            raise self._failure(batch, "a param or buffer", is_over=made == self.course.next_row(self.done))

    def _saved_and_stopped(self) -> Interrupted:
        self._check_weights()
        self._save()
        at = self.position
        if self.course.in_steps:
            return Interrupted(f"stopped after step {self.done + at.step} of {self.course.steps}")
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
            when = self.when(len(self.history) or 1, self.course.next_row(self.done) if part != "test" else self.done)
            raise self._told_once(TrainingFailed(sentence(when, f"the {part} loss", layer)))
        return scores

    # ---------------------------------------------------------------------------------------------- a step

    def _step(self, batch: Batch) -> bool:
        """Learns from one batch -> whether it was the last one of its step."""
        at = self.position
        # a stream a step, not one that goes on: a run that is resumed in the middle of an epoch draws the same numbers
        self.model.rng, lr = np.random.default_rng(self._noise(batch)), self._learning_rate(self.done + at.step)
        with np.errstate(all="ignore"):  # what overflows is reported below
            step, right = self._learned(batch, lr)
        if not step.is_finite:
            raise self._failure(batch, "a gradient" if np.isfinite(step.loss) else "the loss")
        if not batch.is_last:
            return False
        if self.average:
            self.average.update()
        count = batch.whole
        total = at.loss + float(step.loss) * count
        self.position = replace(at, step=at.step + 1, samples=at.samples + count, loss=total, right=at.right + right)
        return True

    def _learned(self, batch: Batch, lr: float) -> tuple[Step, int]:
        """Learns from one batch -> the step, and how many samples or pixels of it were classified correctly so far."""
        if not self.ranks.are_many:
            step, (right,) = self.learning.learn(batch, lr, lambda logits: (self._right(logits, batch.y),))
            return step, int(right)
        step, (right, stop, save) = self.learning.learn(batch, lr, lambda logits: self._told(logits, batch))
        self.wishes = Wishes(bool(stop), bool(save))
        return step, int(right)

    def _told(self, logits: np.ndarray, batch: Batch) -> tuple[float, ...]:
        """What this process adds to the step of all: they stop, save and count together."""
        counts = self.ranks.is_first or batch.part != slice(0, len(batch.rows))  # else all have the same samples
        wishes = self._wishes()
        return self._right(logits, batch.y) if counts else 0, wishes.stop, wishes.save

    def _right(self, logits: np.ndarray, y: np.ndarray) -> int:
        """How many places of a batch are right; of those that count, as many as would be of all, were none ignored."""
        if not self.task.classes:
            return 0
        are_right, ignored = self.task.chosen(logits) == _labels(y), self.recipe.loss_options.get("ignore")
        if ignored is None:
            return int(np.count_nonzero(are_right))
        counts = y != ignored
        return round(int(np.count_nonzero(are_right & counts)) * y.size / max(1, int(np.count_nonzero(counts))))

    def _learning_rate(self, done: int) -> float:
        """The learning rate of the step after so many."""
        return self.recipe.learning_rate(done, self.feed.steps)

    def _noise(self, batch: Batch) -> list[int]:
        """The key of the stream that feeds this step's dropout."""
        return [self.recipe.seed, NOISE, batch.epoch, batch.number]

    def when(self, epoch: int | None = None, step: int | None = None) -> str:
        """Where training stands: in the running epoch, or after one that is over, which is after that many steps."""
        if self.course.in_steps:
            return f"in step {self.done + self.position.step + 1}" if step is None else f"after step {step}"
        return f"in epoch {self.position.epoch}" if epoch is None else f"after epoch {epoch}"

    def _failure(self, batch: Batch, what: str, is_over: bool = False) -> Exception:
        made, key, writes = self.done + self.position.step, self._noise(batch), self.ranks.is_first
        if self.ranks.are_many:
            batch = self.feed.numbered(batch.epoch, batch.number)
        if what == "a gradient" and not batch.is_first:
            batch = self._first_bad(batch)
            key = self._noise(batch)
        when = self.when(self.position.epoch, made) if is_over else self.when()
        when += f", step {batch.step}" if not is_over and not self.course.in_steps else ""
        failure = step_failure(self.net, self.model, self.folder, batch, what, when, key, writes)
        return self._told_once(failure)

    def _first_bad(self, batch: Batch) -> Batch:
        """Of the batches of a step, the last of which is given, the first in which some layer is not finite."""
        first = (batch.step - 1) * self.recipe.accumulate + 1
        for other in (self.feed.numbered(batch.epoch, number) for number in range(first, batch.number)):
            if bad_layer(copy_of(self.net, self.model), other.x, other.y, self._noise(other)) is not None:
                return other
        return batch

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
