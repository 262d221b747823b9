"""`confusion` and `roc`: which classes are taken for which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netdsl.training.drawing.style import (
    BLUE,
    COLUMN,
    GREY,
    PAGE,
    SHARES,
    SMALL,
    VERMILLION,
    add_colorbar,
    new_figure,
    place,
    short_names,
    text,
    text_width,
    widest,
)
from netdsl.training.pictures.inspection import Confusion

if TYPE_CHECKING:
    from netdsl.training.drawing.style import Axes, Figure
    from netdsl.training.scores.evaluation import Scores

FEW, MANY = 12, 24  # classes: up to FEW in one column of a paper; above MANY no numbers in the cells
NAMED = 50  # class names along an axis at most
MOST = 500  # cells along a side; more classes than that share them
TOP, BARS, GAP = 0.3, 0.48, 0.08  # inches: above the matrix, the bars beside it, between them
SCALE = 0.5  # inches: the colour bar with its numbers and its name
DARK = 0.7  # shares above it have white numbers


def draw_confusion(confusion: Confusion) -> Figure:
    """Colour is the share of the row, the number a count; beside each row the accuracy of that class."""
    count = len(confusion.classes)
    names = short_names(confusion.classes, 14)
    size = 7 if count <= MANY else SMALL
    longest = widest(names, size)
    left = 0.26 + longest
    side = (COLUMN if count <= FEW else PAGE) - left - GAP - BARS - SCALE
    is_flat = longest < 0.9 * side / count  # the names fit beside each other
    below = 0.33 if is_flat else 0.28 + longest
    figure = new_figure("confusion", left + side + GAP + BARS + SCALE, TOP + side + below)
    matrix = place(figure, left, TOP, side, side)
    shares = Confusion(_pooled(_pooled(confusion.counts).T).T, ()).shares
    extent = (-0.5, count - 0.5, count - 0.5, -0.5)
    image = matrix.imshow(shares, cmap=SHARES, vmin=0, vmax=1, interpolation="none", extent=extent)
    if count <= MANY:
        _numbers(matrix, confusion, side / count)
    _names(matrix, names, size, rotation=0 if is_flat else 90)
    _accuracy(place(figure, left + side + GAP, TOP, BARS, side), confusion, with_numbers=count <= MANY)
    scale = place(figure, left + side + GAP + BARS + GAP, TOP, 0.06, side)
    add_colorbar(scale, image, "share of the true class")
    return figure


def _pooled(values: np.ndarray) -> np.ndarray:
    """(K, ...) -> sums of neighbours along the first axis, at most MOST of them."""
    if len(values) <= MOST:
        return values
    return np.stack([part.sum(axis=0) for part in np.array_split(values, MOST)])


def _numbers(axes: Axes, confusion: Confusion, cell: float) -> None:
    """Counts, dark on light or light on dark; a zero is left out. cell: the width of one in inches."""
    shares = confusion.shares
    for i, j in np.argwhere(confusion.counts):
        color = "white" if shares[i, j] > DARK else "black"
        label = _short(int(confusion.counts[i, j]), cell - 0.01)
        axes.text(j, i, label, ha="center", va="center", color=color, fontsize=SMALL)


def _short(count: int, width: float) -> str:
    """The count, in thousands where it does not fit."""
    words = (str(count), f"{count / 1e3:.1f}k", f"{count / 1e3:.0f}k", f"{count / 1e6:.0f}M")
    return next((word for word in words if text_width(word, SMALL) <= width), "")


def _names(axes: Axes, names: list[str], size: float, rotation: int) -> None:
    step = -(-len(names) // NAMED)
    places = range(0, len(names), step)
    axes.set_xticks(places, names[::step], rotation=rotation, fontsize=size)
    axes.set_yticks(places, names[::step], fontsize=size)
    axes.tick_params(length=1.5, pad=1.5)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.spines[["top", "right"]].set_visible(True)


def _accuracy(axes: Axes, confusion: Confusion, with_numbers: bool) -> None:
    """A bar and a percentage for each class; a class without samples has neither. Dotted: all samples together."""
    shares = 100 * confusion.class_accuracy
    bars = _pooled(confusion.counts.diagonal()) / np.maximum(1, _pooled(confusion.counts.sum(axis=1)))
    wide = len(shares) / len(bars)  # classes that share a bar
    axes.barh((np.arange(len(bars)) + 0.5) * wide - 0.5, 100 * bars, color="#a9cfe5", height=0.7 * wide)
    for i, share in enumerate(shares if with_numbers else []):
        label = "\N{EN DASH}" if np.isnan(share) else "100" if share >= 99.95 else f"{share:.1f}"
        axes.text(5, i, label, va="center", ha="left", fontsize=SMALL)
    axes.axvline(100 * confusion.accuracy, color=BLUE, linewidth=0.8, linestyle=":")
    axes.set(xlim=(0, 100), ylim=(len(shares) - 0.5, -0.5), xticks=[0, 100], yticks=[])
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.set_xlabel(f"all: {100 * confusion.accuracy:.2f}", fontsize=7)
    axes.set_title("accuracy\n(%)", fontsize=7)
    axes.spines["left"].set_visible(False)


def draw_roc(scores: Scores, classes: tuple[str, ...]) -> Figure:
    """Over all thresholds: how much of the second class is confusion, and how much of the first is taken for it."""
    figure = new_figure("roc", COLUMN, COLUMN - 0.3)
    axes = place(figure, 0.52, 0.14, COLUMN - 0.68, COLUMN - 0.9)
    axes.plot([0, 100], [0, 100], color=GREY, linewidth=0.8, linestyle=":")
    if scores.roc is not None:
        x, y = 100 * scores.roc.false_positives, 100 * scores.roc.true_positives
        axes.plot(x, y, color=BLUE, label=f"AUC {scores.roc.area:.4f}")
        assert scores.confusion is not None, "a curve is of classes, which are counted"
        (first, wrong), (missed, right) = scores.confusion
        at = 100 * wrong / (first + wrong), 100 * right / (missed + right)
        axes.plot(*at, "o", color=VERMILLION, markersize=5, linestyle="none", label="where it decides")
        axes.legend(loc="lower right")
    positive = text(classes[1], 18)
    axes.set(xlim=(-1, 101), ylim=(-1, 101), xlabel=f"others taken for {positive} (%)")
    axes.set_ylabel(f"{positive} classified correctly (%)")
    axes.grid()
    axes.set_axisbelow(True)
    return figure
