"""What passes between a training and whoever started it: progress, notes, the wish to stop, and the result."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from netdsl.training.runs.history import Epoch, History
from netdsl.training.scores.evaluation import Scores
from netdsl.training.scores.task import Task


@dataclass(frozen=True)
class Progress:
    """Where an epoch stands: means over its samples so far; accuracy 0 to 1 of samples or pixels, None of numbers.

    seconds: of those samples that this process has trained on, `samples_here`. steps: where a run that is
    counted in steps stands in all, and how many it has; there an epoch is what comes before a row of its history.
    """

    epoch: int
    epochs: int
    samples: int
    samples_in_all: int
    loss: float
    accuracy: float | None
    seconds: float
    samples_here: int = 0
    steps: tuple[int, int] | None = None


@dataclass(frozen=True)
class Result:
    """What a training run of so many epochs came to: `used` is the epoch whose weights were tested, with these scores;
    shares are 0 to 1. In a run that is counted in steps epochs are the rows of its history."""

    task: Task
    used: Epoch
    epochs: int
    seconds: float
    run: Path
    scores: Scores
    history: History

    @property
    def epoch(self) -> int:
        return self.used.epoch

    @property
    def test_loss(self) -> float:
        return self.scores.loss

    @property
    def test_accuracy(self) -> float | None:
        return self.scores.accuracy

    @property
    def val_accuracy(self) -> float | None:
        return self.used.val_accuracy

    def as_dict(self) -> dict[str, object]:
        """The object of result.json, and of the last line of `netdsl train`: the measures of the task, the leading one
        first, with that of the validation data (None where there are none)."""
        name = self.task.leading.name
        tested = {f"test_{measure.name}": self.scores.values[measure.name] for measure in self.task.measures}
        return {
            f"test_{name}": tested[f"test_{name}"],
            f"val_{name}": self.used.value(f"val_{name}"),
            **tested,
            "test_loss": self.scores.loss,
            **({"epochs": self.epochs} if self.used.step is None else {"steps": self.history[-1].step}),
            "seconds": round(self.seconds, 3),
            "run": str(self.run),
        }


class Interrupted(Exception):
    """Training was asked to stop, and did so; the message says where. All is saved."""


@dataclass(frozen=True)
class Watch:
    """What those who start a training want to be told, and to say.

    on_progress is called after each step and each epoch; on_note with what a user should know. Once `is_stopped` says
    so, training saves and raises Interrupted. clock gives seconds. save_every: a checkpoint after so many steps, beside
    those of each epoch and each minute.
    """

    on_progress: Callable[[Progress | Epoch], None] = lambda _: None
    on_note: Callable[[str], None] = lambda _: None
    is_stopped: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.perf_counter
    save_every: int | None = None
