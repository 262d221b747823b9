"""Measures of predictions: of classes from counts, of two classes from ranks, of numbers from sums.

The definitions are scikit-learn's, with which the tests compare them. A tally is filled batch by batch and holds counts
and sums alone, but for the ranks of two classes, for which it keeps one number a sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from netdsl.kernels.stable import sigmoid

TOP = 5
MOST_LOSS = 200.0  # whose perplexity is still a number: 7e86


@dataclass(frozen=True)
class Measure:
    """A measure by name, as in `val_miou`, and by title; a share, 0 to 1, is shown in percent; in_line: whether the
    line of an epoch tells it."""

    name: str
    title: str
    is_share: bool = True
    is_better_higher: bool = True
    in_line: bool = False

    def shown(self, value: float | None) -> str:
        """The value as people read it; "-" where it is not defined."""
        if value is None:
            return "-"
        return f"{value:.2%}" if self.is_share else f"{value:#.4g}".rstrip(".")


ACCURACY = Measure("accuracy", "accuracy", in_line=True)
MACRO_F1 = Measure("f1", "macro F1")
TOP_5 = Measure("top5", f"top-{TOP} accuracy")
PRECISION, RECALL, F1 = Measure("precision", "precision"), Measure("recall", "recall"), Measure("f1", "F1")
AUC = Measure("auc", "AUC", is_share=False, in_line=True)
MIOU = Measure("miou", "mean IoU", in_line=True)
PERPLEXITY = Measure("perplexity", "perplexity", is_share=False, is_better_higher=False, in_line=True)
BITS = Measure("bits", "bits per token", is_share=False, is_better_higher=False)
MAE = Measure("mae", "MAE", is_share=False, is_better_higher=False, in_line=True)
RMSE = Measure("rmse", "RMSE", is_share=False, is_better_higher=False)
R2 = Measure("r2", "R\N{SUPERSCRIPT TWO}", is_share=False, in_line=True)

MEASURES: Mapping[str, Measure] = {
    m.name: m for m in (ACCURACY, F1, TOP_5, PRECISION, RECALL, AUC, MIOU, PERPLEXITY, BITS, MAE, RMSE, R2)
}


def place_accuracy(place: str) -> Measure:
    """The accuracy where each place has a class: `pixel accuracy`."""
    return replace(ACCURACY, title=f"{place} accuracy")


def bits_per(unit: str) -> Measure:
    """The bits that each unit takes: `bits per character`."""
    return replace(BITS, title=f"bits per {unit}")


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b; NaN where both are 0."""
    with np.errstate(invalid="ignore"):
        ratio: np.ndarray = a / b
    return ratio


def intersection_over_union(confusion: np.ndarray) -> np.ndarray:
    """confusion (..., K, K) -> (..., K), of each class the places that are it and were taken for it, divided by those
    that are either; NaN for a class that is neither."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    return _ratio(right, confusion.sum(axis=-1) + confusion.sum(axis=-2) - right)


def class_f1(confusion: np.ndarray) -> np.ndarray:
    """confusion (K, K) -> (K,), F1 = 2 right / (samples of the class + samples taken for it); NaN for a class that is
    neither."""
    return _ratio(2 * np.diagonal(confusion), confusion.sum(axis=0) + confusion.sum(axis=1))


def known_mean(values: np.ndarray) -> float:
    """The mean of the values that are not NaN."""
    return float(np.nanmean(values))


@dataclass(frozen=True)
class Roc:
    """The ROC curve: for falling thresholds the share of the first class that lies above, and that of the second."""

    false_positives: np.ndarray
    true_positives: np.ndarray

    @property
    def area(self) -> float:
        """The area under the curve: how often a sample of the second class is above one of the first (Hanley & McNeil
        1982)."""
        widths = np.diff(self.false_positives)
        return float((widths * (self.true_positives[1:] + self.true_positives[:-1])).sum() / 2)


def roc_curve(margins: np.ndarray, labels: np.ndarray) -> Roc | None:
    """margins (N,), larger for the second class, labels (N,) of 0 and 1 -> the curve; None where a class is missing."""
    positives = int(labels.sum())
    if not 0 < positives < len(labels):
        return None
    order = np.argsort(-margins, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(margins[order])), len(order) - 1)  # the last of equal margins
    true = np.cumsum(labels[order])[ends]
    false = 1 + ends - true
    return Roc(np.append(0.0, false / (len(labels) - positives)), np.append(0.0, true / positives))


def chosen_classes(logits: np.ndarray, classes: int) -> np.ndarray:
    """logits (N, K, ...), K = classes or 1 -> the class of the largest one (N, ...); one logit of two classes says 1
    where it is above 0."""
    return (logits[:, 0] > 0).astype(np.int64) if logits.shape[1] == 1 < classes else logits.argmax(axis=1)


def counted(chosen: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """chosen and labels of one shape -> (classes, classes), how often class `row` was taken for class `column`."""
    pairs = labels.ravel() * classes + chosen.ravel()
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


class ClassTally:
    """Counts of labels (N,) or masks (N, ...) and of what they were taken for.

    keeps_margins: of two classes, for the ROC curve. ranks: of labels, whether each is among the TOP largest outputs.
    """

    def __init__(self, classes: int, keeps_margins: bool = False, ranks: bool = False) -> None:
        self.classes, self.keeps_margins, self.ranks = classes, keeps_margins, ranks
        self.confusion = np.zeros((classes, classes), np.int64)
        self.in_top = 0
        self.margins: list[np.ndarray] = []
        self.labels: list[np.ndarray] = []

    def add(self, outputs: np.ndarray, labels: np.ndarray) -> None:
        """Counts a batch: outputs (N, K, ...) are logits, labels (N, ...)."""
        self.confusion += counted(chosen_classes(outputs, self.classes), labels, self.classes)
        if self.ranks:
            own = np.take_along_axis(outputs, labels[:, None], axis=1)
            self.in_top += int(((outputs > own).sum(axis=1) < TOP).sum())
        if self.keeps_margins:
            self.margins.append(outputs[:, -1] - outputs[:, 0] if outputs.shape[1] > 1 else outputs[:, 0].copy())
            self.labels.append(labels)

    def roc(self) -> Roc | None:
        """The ROC curve of two classes."""
        return roc_curve(np.concatenate(self.margins), np.concatenate(self.labels)) if self.margins else None

    def values(self, roc: Roc | None = None) -> dict[str, float | None]:
        """Every measure of classes by name; None where it is not defined."""
        total, right = int(self.confusion.sum()), int(np.trace(self.confusion))
        values: dict[str, float | None] = {"accuracy": right / total}
        values["miou"] = known_mean(intersection_over_union(self.confusion))
        values |= {"f1": known_mean(class_f1(self.confusion)), "top5": self.in_top / total}
        if self.classes == 2:
            hits, said, true = self.confusion[1, 1], self.confusion[:, 1].sum(), self.confusion[1].sum()
            values["precision"] = float(hits / said) if said else 0.0
            values["recall"] = float(hits / true) if true else 0.0
            if self.keeps_margins:
                values["f1"] = float(2 * hits / (said + true)) if said + true else 0.0
                values["auc"] = roc.area if roc else None
        return values


class TokenTally:
    """How many of the labels (N, T) of tokens are right; of a large vocabulary nothing else is kept. ignored: a label
    that does not count."""

    def __init__(self, ignored: int | None = None) -> None:
        self.ignored, self.right, self.count = ignored, 0, 0

    def add(self, outputs: np.ndarray, labels: np.ndarray) -> None:
        """Counts a batch: outputs (N, T, K) are logits, labels (N, T)."""
        counts = labels != self.ignored if self.ignored is not None else np.ones(labels.shape, bool)
        self.right += int(np.count_nonzero((outputs.argmax(axis=2) == labels) & counts))
        self.count += int(np.count_nonzero(counts))

    def roc(self) -> None:
        """Tokens have no ROC curve."""

    def values(self, roc: Roc | None = None) -> dict[str, float | None]:
        """The accuracy; what follows from the mean loss is `of_loss`."""
        return {"accuracy": self.right / self.count if self.count else None}


def of_loss(loss: float) -> dict[str, float | None]:
    """The mean loss of a token, in nats -> its perplexity, exp(loss), and the bits that it takes, loss / ln 2; None
    where the first is past all bounds."""
    return {"perplexity": math.exp(loss) if loss < MOST_LOSS else None, "bits": loss / math.log(2)}


class NumberTally:
    """Sums over targets (N, K, ...) and what was predicted for them, for each of the K outputs by itself.

    Targets are counted from the mean of the first batch, so that the difference of the sums is exact.
    """

    def __init__(self, are_logits: bool) -> None:
        self.are_logits, self.count = are_logits, 0
        self.start: np.ndarray | None = None
        self.absolute = self.squared = self.sums = self.squares = np.zeros(())

    def add(self, outputs: np.ndarray, targets: np.ndarray) -> None:
        """Counts a batch: outputs and targets of one shape."""
        predicted = sigmoid(outputs) if self.are_logits else outputs
        axes = (0, *range(2, targets.ndim))
        wide = targets.astype(np.float64)
        if self.start is None:
            self.start = wide.mean(axis=axes, keepdims=True)
        errors, wide = predicted - wide, wide - self.start
        self.count += wide.size // wide.shape[1]
        self.absolute = self.absolute + np.abs(errors).sum(axis=axes)
        self.squared = self.squared + (errors * errors).sum(axis=axes)
        self.sums = self.sums + wide.sum(axis=axes)
        self.squares = self.squares + (wide * wide).sum(axis=axes)

    def roc(self) -> None:
        """Numbers have no ROC curve."""

    def values(self, roc: Roc | None = None) -> dict[str, float | None]:
        """Every measure of numbers by name: means over the outputs. R2 needs two samples or more."""
        spread = self.squares - self.sums**2 / self.count
        constant = spread <= 1e-12 * self.squares
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = 1 - self.squared / spread
        shares = np.where(constant, np.where(self.squared == 0, 1.0, 0.0), shares)
        return {
            "mae": float((self.absolute / self.count).mean()),
            "rmse": float(np.sqrt(self.squared / self.count).mean()),
            "r2": float(shares.mean()) if self.count > 1 else None,
        }
