"""`confusion`: which classes are taken for which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netdsl.training.inspection import Confusion
from netdsl.training.plots.style import BLUE, COLUMN, PAGE, SHARES, SMALL, add_colorbar, new_figure, text

if TYPE_CHECKING:
    from netdsl.training.plots.style import Axes, Figure

FEW, MANY = 12, 24  # classes: up to FEW in one column of a paper; above MANY no numbers in the cells
NAMED = 50  # class names along an axis at most


def draw_confusion(found: Confusion) -> Figure:
    """Colour is the share of the row, the number a count; beside each row the accuracy of that class."""
    count = len(found.classes)
    width, height = (COLUMN, 3.2) if count <= FEW else (PAGE, 6.2)
    figure = new_figure(width, height)
    matrix, bars = figure.subplots(1, 2, sharey=True, width_ratios=(5, 1))
    image = matrix.imshow(found.shares, cmap=SHARES, vmin=0, vmax=1, interpolation="none", aspect="auto")
    if count <= MANY:
        _numbers(matrix, found)
    _names(matrix, found.classes)
    matrix.set_xlabel("predicted class")
    matrix.set_ylabel("true class")
    _frame(matrix)
    _accuracy(bars, found, with_numbers=count <= MANY)
    add_colorbar(figure, image, [matrix, bars], "share of the true class", location="top", aspect=50, fraction=0.04)
    return figure


def _numbers(axes: Axes, found: Confusion) -> None:
    """Counts, dark on light or light on dark; a zero is left out."""
    for i, j in np.argwhere(found.counts):
        color = "white" if found.shares[i, j] > 0.55 else "black"
        axes.text(j, i, str(found.counts[i, j]), ha="center", va="center", color=color, fontsize=SMALL)


def _names(axes: Axes, classes: tuple[str, ...]) -> None:
    step = -(-len(classes) // NAMED)
    places = range(0, len(classes), step)
    names = [text(classes[i], 12) for i in places]
    size = 7 if len(classes) <= MANY else SMALL
    rotation = 0 if max(map(len, names)) <= 2 and len(classes) <= MANY else 90
    axes.set_xticks(places, names, rotation=rotation, fontsize=size)
    axes.set_yticks(places, names, fontsize=size)
    axes.tick_params(length=1.5)


def _frame(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(True)


def _accuracy(axes: Axes, found: Confusion, with_numbers: bool) -> None:
    """A bar and a percentage for each class; a class without samples has neither."""
    shares = 100 * found.class_accuracy
    axes.barh(range(len(shares)), np.nan_to_num(shares), color=BLUE, height=0.7, alpha=0.35)
    for i, share in enumerate(shares if with_numbers else []):
        label = "\N{EN DASH}" if np.isnan(share) else f"{share:.1f}" if share < 99.95 else "100"
        axes.text(4, i, label, va="center", ha="left", fontsize=SMALL)
    axes.axvline(100 * found.accuracy, color="black", linewidth=0.7, linestyle=":")
    axes.set_xlim(0, 100)
    axes.set_xticks([0, 100])
    axes.set_xlabel(f"accuracy (%)\nall: {100 * found.accuracy:.2f}")
    axes.tick_params(axis="y", length=0, labelleft=False)
    axes.spines["left"].set_visible(False)
