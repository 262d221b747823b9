"""`regression`: what was predicted against what is true, and the errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl.training.drawing.style import BLUE, GREEN, GREY, ORANGE, PAGE, SKY, VERMILLION, new_figure, place
from netdsl.training.pictures.inspection import Numbers

if TYPE_CHECKING:
    from netdsl.training.drawing.style import Axes, Figure

MARKS = tuple(zip((BLUE, VERMILLION, GREEN, ORANGE, SKY), "osD^v", strict=True))  # of the outputs, where they are few
BINS, FEW = 40, 500  # at most; points that are drawn one by one


def draw_regression(numbers: Numbers, samples: int, most: int) -> Figure:
    """Three panels: predicted against true on the line of equals, the errors over the true, and how often they are how
    large. Of many numbers a part is drawn, at most `most` of each of few outputs, or of all together."""
    true, predicted = (a.reshape(len(a), -1).astype(np.float64) for a in (numbers.true, numbers.predicted))
    if true.shape[1] > len(MARKS):
        true, predicted = true.reshape(-1, 1)[:most], predicted.reshape(-1, 1)[:most]
    figure, width = new_figure("regression", PAGE, 2.3), PAGE / 3
    panels = [place(figure, 0.55 + width * i, 0.2, width - 0.68, 1.62) for i in range(3)]
    for k, (color, mark) in zip(range(true.shape[1]), MARKS, strict=False):
        points: dict[str, Any] = {
            "color": color,
            "marker": mark,
            "linestyle": "none",
            "markersize": 2.5,
            "alpha": 0.5 if len(true) > FEW else 0.9,
        }
        points |= {"markeredgewidth": 0, "rasterized": len(true) > FEW}
        panels[0].plot(true[:, k], predicted[:, k], label=f"output {k}", **points)
        panels[1].plot(true[:, k], (predicted - true)[:, k], **points)
    _lines(panels, true, predicted)
    errors = (predicted - true).ravel()
    panels[2].hist(errors, bins=int(np.clip(2 * len(errors) ** 0.5, 5, BINS)), color=BLUE)
    panels[2].axvline(0, color=GREY, linewidth=0.8)
    for axes, x, y in zip(
        panels, ("true", "true", "predicted \N{MINUS SIGN} true"),
        ("predicted", "predicted \N{MINUS SIGN} true", "how often"), strict=True,
    ):  # fmt: skip
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.grid()
        axes.set_axisbelow(True)
    if true.shape[1] > 1:
        panels[0].legend(loc="upper left", handletextpad=0.1, borderpad=0.1)
    drawn = "all" if len(true) >= samples else f"{len(true):,} of the"
    figure.text(0.55 / PAGE, 0.97, f"{drawn} {samples:,} test samples", fontsize=7, va="top")
    return figure


def _lines(panels: list[Axes], true: np.ndarray, predicted: np.ndarray) -> None:
    """Draws the lines on which predictions are right."""
    low, high = float(min(true.min(), predicted.min())), float(max(true.max(), predicted.max()))
    room = 0.04 * (high - low) or 1.0
    panels[0].plot([low - room, high + room], [low - room, high + room], color=GREY, linewidth=0.8, zorder=0)
    panels[0].set(xlim=(low - room, high + room), ylim=(low - room, high + room))
    panels[1].axhline(0, color=GREY, linewidth=0.8, zorder=0)
