"""What a run learns to do, and all that follows from it: its measures, its plots, its words. Decided here alone.

Everyone who shows or writes something of a run asks its `Task`, which the loss, the shapes and the classes decide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netdsl.graph.recipe import LOSSES
from netdsl.graph.types import Tensor
from netdsl.training.data.texts import BYTE_NAMES
from netdsl.training.scores.measures import (
    ACCURACY,
    AUC,
    F1,
    MACRO_F1,
    MAE,
    MIOU,
    PERPLEXITY,
    PRECISION,
    R2,
    RECALL,
    RMSE,
    TOP,
    TOP_5,
    ClassTally,
    Measure,
    NumberTally,
    TokenTally,
    bits_per,
    chosen_classes,
    place_accuracy,
)

TOKEN = "token"
"""The place of tokens that are no characters of a text."""


@dataclass(frozen=True)
class Task:
    """One of the kinds `labels`, `binary`, `masks`, `tokens`, `regression` and `reconstruction`.

    measures: those of an evaluation, the one that says most first. tracked: names of those that every epoch takes of
    the validation data. plots: kinds of pictures of the test data. what: the kind in words. place: what a class of
    masks belongs to, and what a token is. writes: whether what is learned is the next one of the tokens that are given.
    ignored: the label of tokens that do not count.
    """

    kind: str
    what: str
    classes: tuple[str, ...]
    loss: str
    measures: tuple[Measure, ...]
    tracked: tuple[str, ...]
    plots: tuple[str, ...]
    place: str = "pixel"
    writes: bool = False
    ignored: int | None = None

    @property
    def counts(self) -> str:
        """What is right or wrong, in plural: samples, the places of masks, or tokens."""
        return f"{self.place}s" if self.kind in ("masks", "tokens") else "samples"

    @property
    def leading(self) -> Measure:
        """The measure that says most."""
        return self.measures[0]

    @property
    def learns_text(self) -> bool:
        """Whether the tokens are characters or bytes, and the next one is what it learns."""
        return self.writes and self.place != TOKEN

    @property
    def gives_one_class(self) -> bool:
        """Whether a sample belongs to one class as a whole."""
        return self.kind in ("labels", "binary")

    @property
    def monitors(self) -> tuple[str, ...]:
        """What may choose the best epoch: names of columns."""
        return ("val_loss", *(f"val_{name}" for name in self.tracked))

    @property
    def drawn_classes(self) -> tuple[str, ...]:
        """The classes whose names stand in pictures."""
        return () if self.kind == "tokens" else self.classes

    def chosen(self, logits: np.ndarray) -> np.ndarray:
        """logits (N, K, ...), of tokens (N, T, K) -> the class of the largest one, (N, ...)."""
        return logits.argmax(axis=2) if self.kind == "tokens" else chosen_classes(logits, len(self.classes))

    def tally(self) -> ClassTally | TokenTally | NumberTally:
        """What counts an evaluation."""
        if self.kind == "tokens":
            return TokenTally(self.ignored)
        if self.classes:
            return ClassTally(len(self.classes), self.kind == "binary", TOP_5 in self.measures)
        return NumberTally(LOSSES[self.loss].targets == "truth")


def decided_task(loss: str, takes: Tensor, gives: Tensor, classes: tuple[str, ...], copies: bool = False) -> Task:
    """The task of a network from `takes` to `gives` that fits its data.

    copies: whether the targets are the inputs; maps that become maps of their size are a reconstruction anyway.
    """
    if classes and gives.is_tokens:
        return _of_tokens(loss, takes, gives, classes)
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


def _of_tokens(loss: str, takes: Tensor, gives: Tensor, classes: tuple[str, ...]) -> Task:
    """A class for each token: the next one, where the classes are those of the ids that are given."""
    writes = takes.is_ids and gives.channels == takes.limit
    are_characters = all(len(name) == 1 for name in classes) and not all(name.isdecimal() for name in classes)
    unit = "byte" if classes == BYTE_NAMES else "character" if writes and are_characters else TOKEN
    measures = (PERPLEXITY, bits_per(unit), place_accuracy(unit))
    if not writes:
        measures = (place_accuracy(unit), PERPLEXITY, bits_per(unit))
    what = f"the next {unit}" if writes else f"a class for each {unit}"
    return Task("tokens", what, classes, loss, measures, ("accuracy", "perplexity"), (), unit, writes)
