"""`predictions` and `mistakes`: what the network says about single images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from netdsl.training.inspection import Mistake
from netdsl.training.plots.style import (
    BLUE,
    GREY,
    PAGE,
    RIGHT,
    SMALL,
    VERMILLION,
    WRONG,
    new_figure,
    show_image,
    text,
)

if TYPE_CHECKING:
    from netdsl.training.plots.style import Axes, Figure

TOP = 5  # classes in a bar chart
ROW = 0.95  # inches for one sample


@dataclass(frozen=True)
class Prediction:
    """A picture (H, W) or (H, W, 3), the probabilities p (K,) of the classes, and the true class where it is known."""

    title: str
    picture: np.ndarray
    p: np.ndarray
    label: int | None = None


def draw_predictions(samples: Sequence[Prediction], classes: tuple[str, ...], top: int = TOP) -> Figure:
    """Two samples in a row: the image and bars for its most probable classes; right and wrong have a sign each."""
    columns = min(2, len(samples))
    rows = -(-len(samples) // columns)
    figure = new_figure(PAGE * columns / 2, ROW * rows + 0.25)
    grid = figure.subplots(rows, 2 * columns, squeeze=False, width_ratios=(1, 2.2) * columns)
    for i, pair in enumerate(grid.reshape(-1, 2)):
        if i < len(samples):
            show_image(pair[0], samples[i].picture)
            _bars(pair[1], samples[i], classes, min(top, len(classes)))
        else:
            for axes in pair:
                axes.set_axis_off()
    for axes in grid[-1, 1::2] if len(samples) % 2 == 0 or columns == 1 else (grid[-1, 1], *grid[-2:-1, 3]):
        axes.set_xlabel("probability (%)", fontsize=7)
    return figure


def _bars(axes: Axes, sample: Prediction, classes: tuple[str, ...], top: int) -> None:
    order = np.argsort(-sample.p, kind="stable")[:top]
    percent = 100 * sample.p[order]
    is_true = order == sample.label
    bars = axes.barh(range(top), percent, color=[BLUE if t else GREY for t in is_true], height=0.75)
    if sample.label is not None and order[0] != sample.label:
        bars[0].set(color=VERMILLION, hatch="////", edgecolor="white", linewidth=0)
    for place, value in enumerate(percent):
        axes.text(value + 1.5, place, f"{value:.1f}", va="center", fontsize=SMALL)
    axes.set_yticks(range(top), [text(classes[k], 14) for k in order], fontsize=SMALL + 0.5)
    axes.set_ylim(max(top, 3) - 0.4, -0.6)
    axes.set_xlim(0, 118)
    axes.set_xticks([0, 50, 100])
    axes.spines["bottom"].set_bounds(0, 100)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.set_title(_verdict(sample, classes, order[0]), loc="left", fontsize=7, pad=2)


def _verdict(sample: Prediction, classes: tuple[str, ...], said: int) -> str:
    if sample.label is None:
        return text(sample.title, 34)
    name = text(classes[sample.label], 14)
    verdict = f"{RIGHT} right" if said == sample.label else f"{WRONG} wrong"
    return f"{text(sample.title, 14)}: {name}, {verdict}"


def draw_mistakes(
    found: Sequence[tuple[Mistake, np.ndarray]], classes: tuple[str, ...], wrong: int, total: int
) -> Figure:
    """Each mistake with its picture, the surest first; `wrong` of `total` samples were."""
    if not found:
        return _no_mistakes(total)
    columns = 6
    rows = -(-len(found) // columns)
    figure = new_figure(PAGE, 0.3 + 1.5 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (mistake, picture) in zip(grid.flat, found, strict=False):
        show_image(axes, picture)
        said = f"{WRONG} {text(classes[mistake.said], 12)} {100 * mistake.probability:.1f} %"
        axes.set_title(f"true: {text(classes[mistake.label], 13)}\n{said}", fontsize=7, pad=3)
        axes.text(0.5, -0.03, f"sample {mistake.sample}", transform=axes.transAxes, ha="center", va="top",
                  fontsize=SMALL, color=GREY)  # fmt: skip
    shown = f"the {len(found)} it was surest of" if len(found) < wrong else "the surest first"
    figure.suptitle(f"{wrong} of {total} test samples wrong; {shown}", fontsize=8)
    return figure


def _no_mistakes(total: int) -> Figure:
    figure = new_figure(PAGE / 2, 0.5)
    figure.text(0.5, 0.5, f"{RIGHT} no mistake among {total} test samples", ha="center", va="center")
    return figure
