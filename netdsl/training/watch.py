"""What passes between a training and whoever started it: progress, notes, the wish to stop, and the result."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from netdsl.training.evaluation import Scores
from netdsl.training.history import Epoch, History


@dataclass(frozen=True)
class Progress:
    """Where an epoch stands: means over its samples so far; accuracy 0 to 1, None of a regression.

    seconds: of those samples that this process has trained on, `samples_here`.
    """

    epoch: int
    epochs: int
    samples: int
    samples_in_all: int
    loss: float
    accuracy: float | None
    seconds: float
    samples_here: int = 0


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
    scores: Scores
    history: History

    def as_dict(self) -> dict[str, object]:
        """The object of result.json, and of the last line of `netdsl train`."""
        return {
            "test_accuracy": self.test_accuracy,
            "val_accuracy": self.val_accuracy,
            "epochs": self.epochs,
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
