"""What a run learns to do, and all that follows from it: its measures, its plots, its words. Decided here alone.

Everyone who shows or writes something of a run asks its `Task`, which the loss, the shapes and the classes decide.
"""

from __future__ import annotations

from dataclasses import dataclass

from netdsl.graph.recipe import LOSSES
from netdsl.graph.types import Tensor
from netdsl.training.scores.measures import (
    ACCURACY,
    AUC,
    F1,
    MACRO_F1,
    MAE,
    MIOU,
    PIXEL_ACCURACY,
    PRECISION,
    R2,
    RECALL,
    RMSE,
    TOP,
    TOP_5,
    ClassTally,
    Measure,
    NumberTally,
)


@dataclass(frozen=True)
class Task:
    """One of the kinds `labels`, `binary`, `masks`, `regression` and `reconstruction`.

    measures: those of an evaluation, the one that says most first. tracked: names of those that every epoch takes of
    the validation data. plots: kinds of pictures of the test data. what: the kind in words.
    """

    kind: str
    what: str
    classes: tuple[str, ...]
    loss: str
    measures: tuple[Measure, ...]
    tracked: tuple[str, ...]
    plots: tuple[str, ...]

    @property
    def leading(self) -> Measure:
        """The measure that says most."""
        return self.measures[0]

    @property
    def gives_one_class(self) -> bool:
        """Whether a sample belongs to one class as a whole."""
        return self.kind in ("labels", "binary")

    @property
    def monitors(self) -> tuple[str, ...]:
        """What may choose the best epoch: names of columns."""
        return ("val_loss", *(f"val_{name}" for name in self.tracked))

    def tally(self) -> ClassTally | NumberTally:
        """What counts an evaluation."""
        if self.classes:
            return ClassTally(len(self.classes), self.kind == "binary", TOP_5 in self.measures)
        return NumberTally(LOSSES[self.loss].targets == "truth")


def decided_task(loss: str, takes: Tensor, gives: Tensor, classes: tuple[str, ...], copies: bool = False) -> Task:
    """The task of a network from `takes` to `gives` that fits its data.

    copies: whether the targets are the inputs; images that become images of their size are a reconstruction anyway.
    """
    if classes and not gives.is_vector:
        return Task(
            "masks", "a class for each pixel", classes, loss, (MIOU, PIXEL_ACCURACY),
            ("accuracy", "miou"), ("confusion", "masks"),
        )  # fmt: skip
    if len(classes) == 2:
        return Task(
            "binary", "one of two classes", classes, loss, (ACCURACY, PRECISION, RECALL, F1, AUC),
            ("accuracy", "f1", "auc"), ("confusion", "roc", "mistakes", "predictions"),
        )  # fmt: skip
    if classes:
        measures = (ACCURACY, MACRO_F1, *((TOP_5,) if len(classes) > TOP else ()))
        pictures = ("confusion", "mistakes", "predictions")
        return Task("labels", "one of several classes", classes, loss, measures, ("accuracy", "f1"), pictures)
    numbers = (MAE, RMSE, R2), ("mae", "rmse", "r2")
    if takes == gives and (copies or takes.is_image):
        plots = ("reconstructions",) if takes.is_image else ("regression",)
        return Task("reconstruction", "its input again" if copies else "an image", (), loss, *numbers, plots)
    return Task("regression", "numbers", (), loss, *numbers, ("regression",))
