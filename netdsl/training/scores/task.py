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
    PRECISION,
    R2,
    RECALL,
    RMSE,
    TOP,
    TOP_5,
    ClassTally,
    Measure,
    NumberTally,
    place_accuracy,
)


@dataclass(frozen=True)
class Task:
    """One of the kinds `labels`, `binary`, `masks`, `regression` and `reconstruction`.

    measures: those of an evaluation, the one that says most first. tracked: names of those that every epoch takes of
    the validation data. plots: kinds of pictures of the test data. what: the kind in words. place: what a class of
    masks belongs to.
    """

    kind: str
    what: str
    classes: tuple[str, ...]
    loss: str
    measures: tuple[Measure, ...]
    tracked: tuple[str, ...]
    plots: tuple[str, ...]
    place: str = "pixel"

    @property
    def counts(self) -> str:
        """What is right or wrong, in plural: samples, or the places of masks."""
        return f"{self.place}s" if self.kind == "masks" else "samples"

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

    copies: whether the targets are the inputs; maps that become maps of their size are a reconstruction anyway.
    """
    if classes and not gives.is_vector:
        return Task(
            "masks", f"a class for each {gives.place}", classes, loss, (MIOU, place_accuracy(gives.place)),
            ("accuracy", "miou"), ("confusion", "masks"), gives.place,
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
    if takes == gives and (copies or takes.is_map):
        plots = ("reconstructions",) if takes.is_map else ("regression",)
        made = {1: "a signal", 2: "an image", 3: "a volume"}.get(gives.axes, "numbers")
        return Task("reconstruction", "its input again" if copies else made, (), loss, *numbers, plots)
    return Task("regression", "numbers", (), loss, *numbers, ("regression",))
