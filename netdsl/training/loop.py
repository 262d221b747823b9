"""The training loop. Everything it computes is a function of the seed, the epoch and the step; it prints nothing.

Random streams are keyed by purpose: [seed, 1, epoch] shuffles, [seed, 2, epoch, step] feeds dropout, [seed, 3] splits
off the validation set. Epochs and steps count from 1.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netdsl.backends.interpreter import first_nonfinite
from netdsl.diagnostics import TrainingFailed, UserError
from netdsl.recipe import optimizer_step
from netdsl.training.checkpoint import load_checkpoint, save_checkpoint
from netdsl.training.datasets import Dataset
from netdsl.training.evaluation import BATCH, Scores, check_fits, evaluate, found_classes
from netdsl.training.history import Epoch, write_history
from netdsl.training.runs import Engine, checkpoint_path, close_model, new_model

if TYPE_CHECKING:
    from netdsl.backends.network import Network
    from netdsl.pipeline import Net

SHUFFLE, NOISE, SPLIT = 1, 2, 3  # purposes of random streams


@dataclass(frozen=True)
class Progress:
    """Where an epoch stands: means over its samples so far; accuracy 0 to 1, None of a regression."""

    epoch: int
    epochs: int
    samples: int
    samples_in_all: int
    loss: float
    accuracy: float | None
    seconds: float


@dataclass(frozen=True)
class Result:
    """What a training run came to; accuracies 0 to 1. `epoch` is the one whose weights were tested."""

    test_accuracy: float | None
    val_accuracy: float | None
    epochs: int
    seconds: float
    run: Path
    test_loss: float
    epoch: int


def train(
    net: Net,
    dataset: Dataset,
    engine: Engine,
    run: Path,
    on_progress: Callable[[Progress | Epoch], None] = lambda _: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Result:
    """Trains by the net's recipe and writes metrics.csv and the checkpoints of each epoch into the folder `run`.

    `clock` gives seconds. Raises UserError, TrainingFailed, OSError; KeyboardInterrupt leaves the last finished epoch
    saved. However it ends, the engine's workers end with it.
    """
    check_fits(net, dataset)
    with engine_threads(engine):
        trainer = _Trainer(net, dataset, engine, run, on_progress, clock)
        try:
            return trainer.run()
        except RuntimeError as error:
            if not getattr(trainer.model, "has_ended", False):
                raise
            epoch = min(len(trainer.history) + 1, net.recipe.epochs)
            raise TrainingFailed(f"training failed in epoch {epoch}: {str(error).partition(';')[0]}") from None
        finally:
            close_model(trainer.model)


def engine_threads(engine: Engine) -> AbstractContextManager:
    """Bounds BLAS's threads while it is open, unless the engine has workers, which are given one each."""
    return nullcontext() if engine.is_fast else blas_threads(engine.threads)


def blas_threads(threads: int | None) -> AbstractContextManager:
    """Bounds BLAS's threads while it is open; None leaves them alone."""
    from threadpoolctl import threadpool_limits

    return nullcontext() if threads is None else threadpool_limits(threads, user_api="blas")


def split_rows(count: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """-> the indices of the training and of the validation samples; a fraction above 0 gives one sample or more."""
    held = max(1, round(fraction * count)) if fraction else 0
    if held >= count:
        text = f"{count} training samples do not leave any beside a validation part of {fraction}"
        raise UserError(text, help="use `--val 0`")
    order = np.random.default_rng([seed, SPLIT]).permutation(count)
    return order[held:], order[:held]


def batches(rows: np.ndarray, size: int) -> list[np.ndarray]:
    """Pieces of `size`; a last one of a single sample joins the one before, since batch norm needs two."""
    pieces = [rows[i : i + size] for i in range(0, len(rows), size)]
    if len(pieces) > 1 and len(pieces[-1]) == 1 < size:
        pieces[-2:] = [np.concatenate(pieces[-2:])]
    return pieces


def _is_finite(*arrays: np.ndarray) -> bool:
    return all(np.isfinite(array).all() for array in arrays)


class _Trainer:
    """The things that change while a network learns."""

    def __init__(
        self,
        net: Net,
        dataset: Dataset,
        engine: Engine,
        run: Path,
        on_progress: Callable[[Progress | Epoch], None],
        clock: Callable[[], float],
    ) -> None:
        self.net, self.data, self.recipe, self.folder = net, dataset, net.recipe, run
        self.on_progress, self.clock = on_progress, clock
        self.model, self.is_fast = new_model(net, engine), engine.is_fast
        self.update, self.state, self.lr = optimizer_step(net.recipe), {}, net.recipe.options["lr"]
        self.rows, self.val_rows = split_rows(len(dataset.x_train), self.recipe.val, self.recipe.seed)
        self.history: list[Epoch] = []
        self.best: Epoch | None = None

    def run(self) -> Result:
        start = self.clock()
        if self.is_fast:  # before anything else starts threads, and for the largest batch there will be
            self.model.prepare(max(BATCH, min(self.recipe.batch + 1, len(self.rows))), self.data.y_train[:1])
        for epoch in range(1, self.recipe.epochs + 1):
            self.on_progress(self._save(self._epoch(epoch)))
        if self.best:
            load_checkpoint(checkpoint_path(self.folder, "best"), self.model)
        test = self._measure(self.data.x_test, self.data.y_test, self.recipe.epochs, "test")
        used, seconds = self.best or self.history[-1], self.clock() - start
        return Result(test.accuracy, used.val_accuracy, len(self.history), seconds, self.folder, test.loss, used.epoch)

    def _epoch(self, epoch: int) -> Epoch:
        done = self._steps(epoch)
        val = self._measure(self.data.x_train[self.val_rows], self.data.y_train[self.val_rows], epoch, "validation")
        val_loss, val_accuracy = (val.loss, val.accuracy) if val else (None, None)
        speed = done.samples / max(done.seconds, 1e-9)
        return Epoch(epoch, done.loss, done.accuracy, val_loss, val_accuracy, self.lr, done.seconds, speed)

    def _steps(self, epoch: int) -> Progress:
        """Every batch once, in the epoch's order."""
        start, seen, loss, right = self.clock(), 0, 0.0, 0
        order = np.random.default_rng([self.recipe.seed, SHUFFLE, epoch]).permutation(self.rows)
        pieces = batches(order, self.recipe.batch)
        for step, rows in enumerate(pieces, start=1):
            self.lr = self.recipe.learning_rate((epoch - 1) * len(pieces) + step - 1, len(pieces))
            mean_loss, found = self._step(rows, epoch, step)
            seen, loss, right = seen + len(rows), loss + mean_loss * len(rows), right + found
            accuracy = right / seen if self.data.classes else None
            done = Progress(epoch, self.recipe.epochs, seen, len(order), loss / seen, accuracy, self.clock() - start)
            self.on_progress(done)
        if not _is_finite(*self.model.params.values(), *self.model.buffers.values()):
            raise self._failure(f"after epoch {epoch}", "a param or buffer", rows, epoch, step)
        return done

    def _step(self, rows: np.ndarray, epoch: int, step: int) -> tuple[float, int]:
        """One batch -> its mean loss, and how many classes were found."""
        x, y = self.data.normalized(self.data.x_train[rows]), self.data.y_train[rows]
        self.model.rng = np.random.default_rng([self.recipe.seed, NOISE, epoch, step])
        learn = self._whole_step if self.is_fast else self._steps_apart
        with np.errstate(all="ignore"):  # what overflows is found below
            loss, logits, is_finite = learn(x, y)
        if not is_finite:
            what = "a gradient" if np.isfinite(loss) else "the loss"
            raise self._failure(f"in epoch {epoch}, step {step}", what, rows, epoch, step)
        classes = len(self.data.classes)
        return float(loss), int(np.count_nonzero(found_classes(logits, classes) == y)) if classes else 0

    def _whole_step(self, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray, bool]:
        """Forward, backward and update in one call -> the mean loss, the logits, whether all is finite."""
        loss = self.model.train_step(x, y, self.lr)
        return self.model.last_loss, self.model.last_logits, bool(np.isfinite(loss))

    def _steps_apart(self, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray, bool]:
        """The same, pass by pass, for networks that have no such call."""
        logits = self.model.logits(x, training=True)
        loss, dlogits = self.model.loss(logits, y)
        _, grads = self.model.backward(dlogits)
        is_finite = bool(np.isfinite(loss)) and _is_finite(*grads.values())
        if is_finite:
            self.update(self.model.params, grads, self.state, self.lr)
        return loss, logits, is_finite

    def _measure(self, x: np.ndarray, y: np.ndarray, epoch: int, part: str) -> Scores | None:
        """The scores on one part of the data; None where it is empty. Raises TrainingFailed."""
        if not len(x):
            return None
        scores = evaluate(self.model, self.data, x, y)
        if not np.isfinite(scores.loss):
            network = copy_of(self.net, self.model)
            layer = first_nonfinite(network, self.data.normalized(x[:256]), False)
            raise TrainingFailed(_sentence(f"after epoch {epoch}", f"the {part} loss", layer))
        return scores

    def _failure(self, when: str, what: str, rows: np.ndarray, epoch: int, step: int) -> TrainingFailed:
        """Repeats the step with layer objects, to name the layer."""
        x, y = self.data.normalized(self.data.x_train[rows]), self.data.y_train[rows]
        network = copy_of(self.net, self.model)
        layer = bad_layer(network, x, y, [self.recipe.seed, NOISE, epoch, step])
        with np.errstate(all="ignore"):
            loss, _ = network.loss(network.logits(x, training=True), y)
        if layer is None and self.is_fast and np.isfinite(loss):
            text = f"training failed {when}: {what} is not a finite number at -O2, whose sums overflow sooner"
            return TrainingFailed(f"{text}; at -O0 it is one (`-O 0` or a smaller lr may help)")
        return TrainingFailed(_sentence(when, what, layer))

    def _save(self, row: Epoch) -> Epoch:
        """Writes what the epoch came to: last, best if it is better, metrics."""
        self.history.append(row)
        info = {"epoch": row.epoch, "val_loss": row.val_loss, "val_accuracy": row.val_accuracy}
        save_checkpoint(checkpoint_path(self.folder, "last"), self.model.params, self.model.buffers, info)
        if row.val_loss is not None and (self.best is None or _quality(row) > _quality(self.best)):
            save_checkpoint(checkpoint_path(self.folder, "best"), self.model.params, self.model.buffers, info)
            self.best = row
        write_history(self.folder, self.history)
        return row


def _quality(row: Epoch) -> tuple[float, float]:
    """Of two epochs the better has the higher validation accuracy, or as high a one and the lower loss."""
    return row.val_accuracy or 0.0, -row.val_loss


def _sentence(when: str, what: str, layer: str | None) -> str:
    where = f"it begins in layer `{layer}`" if layer else "every layer is finite, the loss itself overflows"
    return f"training failed {when}: {what} is not a finite number; {where} (a smaller lr may help)"


def copy_of(net: Net, model: Network) -> Network:
    """A network of layer objects with the model's params and buffers."""
    network = net.build(seed=0, dtype=model.dtype)
    for name, array in {**network.params, **network.buffers}.items():
        array[...] = model.params[name] if name in model.params else model.buffers[name]
    return network


def bad_layer(network: Network, x: np.ndarray, y: np.ndarray, key: list[int]) -> str | None:
    """The first layer with a value that is not finite: on the way forward, or else on the way back."""
    network.rng = np.random.default_rng(key)
    layer = first_nonfinite(network, x)
    if layer is not None:
        return layer
    network.rng = np.random.default_rng(key)
    with np.errstate(all="ignore"):
        _, grads = network.loss_and_gradients(x, y)
    names = [name for name, grad in grads.items() if not np.isfinite(grad).all()]
    return names[-1].rpartition(".")[0] if names else None
