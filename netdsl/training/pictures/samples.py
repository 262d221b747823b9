"""`predictions` and `mistakes`: what the network says about single samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl.training.drawing.signals import Signal
from netdsl.training.drawing.sketches import Sketch, show_sketch, tallness
from netdsl.training.drawing.style import (
    BLUE,
    COLUMN,
    GREY,
    INK,
    PAGE,
    RIGHT,
    SMALL,
    VERMILLION,
    WRONG,
    Box,
    new_figure,
    note_lines,
    sheet,
    short_names,
    text,
    widest,
)
from netdsl.training.pictures.inspection import Mistake

if TYPE_CHECKING:
    from netdsl.training.drawing.style import Axes, Figure

TOP = 5  # classes in a bar chart
BAR, TITLE = 0.125, 0.16  # inches: a bar with its gap, the line above
PICTURE, CURVE = 0.7, 1.15  # inches: how wide an image is, and a signal
NOTE = 0.13  # inches for a line that says how to read what is shown
COLUMNS, CELL = 6, PAGE / 6  # mistakes in a row, the width of one
GRID = "#dddddd"


@dataclass(frozen=True)
class Prediction:
    """What a sample looks like, the probabilities p (K,) of the classes, and the true class where it is known."""

    title: str
    picture: Sketch
    p: np.ndarray
    label: int | None = None

    def best(self, top: int) -> np.ndarray:
        """The most probable classes, the first one first."""
        return np.argsort(-self.p, kind="stable")[:top]


@dataclass(frozen=True)
class _Bar:
    """One bar of a sample: its place, its length in percent, the class."""

    left: float
    top: float
    percent: float
    name: str
    group: str


_GROUPS: Mapping[str, Mapping[str, Any]] = {
    "true class": {"color": BLUE},
    "wrong answer": {"facecolor": VERMILLION, "edgecolor": "white", "hatch": "/////", "linewidth": 0},
    "other class": {"color": "#b5b5b5"},
}
"""What a bar stands for -> how matplotlib draws it; wrong and right differ without colour too."""


def draw_predictions(samples: Sequence[Prediction], classes: tuple[str, ...], top: int = TOP, note: str = "") -> Figure:
    """Two samples in a row: what each looks like and bars for its most probable classes; right and wrong have a sign
    each. note: a line above."""
    columns, top = min(2, len(samples)), min(top, len(classes))
    said = note_lines(note, COLUMN * columns - 0.1)
    head = NOTE * len(said)
    rows, names = -(-len(samples) // columns), short_names(classes, 16)
    wide = CURVE if isinstance(samples[0].picture, Signal) else PICTURE
    tall = min(1.0, max(tallness(sample.picture) for sample in samples)) * wide
    height = max(0.06 + tall, TITLE + BAR * top) + 0.12  # of a row
    figure = new_figure("predictions", COLUMN * columns, head + rows * height + 0.38)
    axes = sheet(figure)
    axes.text(0.05, 0.03, "\n".join(said), va="top", fontsize=SMALL)
    room = 0.16 if wide == PICTURE else 0.22
    start = wide + room + widest({names[k] for sample in samples for k in sample.best(top)}, SMALL)
    unit = (COLUMN - start - 0.42) / 100  # inches a percent
    bars = []
    for i, sample in enumerate(samples):
        left, upper = i % columns * COLUMN, head + i // columns * height + 0.04
        show_sketch(axes, sample.picture, Box(left + 0.05, upper + 0.04, wide, tall))
        axes.text(left + wide + 0.12, upper + TITLE / 2, _verdict(sample, names), va="center", fontsize=7)
        bars += _bars(sample, names, left + start, upper + TITLE + BAR / 2, top)
        axes.vlines(left + start, upper + TITLE, upper + TITLE + BAR * top, color=INK, linewidth=0.6)
    _draw_bars(axes, bars, unit)
    for column in range(columns):
        _ruler(axes, column * COLUMN + start, head + rows * height, unit)
    if any(sample.label is not None for sample in samples):
        axes.legend(
            loc="lower left", fontsize=SMALL, handlelength=1.2, borderpad=0, labelspacing=0.2, borderaxespad=0.3
        )
    return figure


def _bars(sample: Prediction, names: list[str], left: float, top: float, count: int) -> list[_Bar]:
    best = sample.best(count)
    bars = []
    for place, k in enumerate(best):
        is_true = k == sample.label or (sample.label is None and place == 0)
        group = "true class" if is_true else "wrong answer" if place == 0 else "other class"
        bars.append(_Bar(left, top + BAR * place, 100 * float(sample.p[k]), names[k], group))
    return bars


def _draw_bars(axes: Axes, bars: Sequence[_Bar], unit: float) -> None:
    for group, style in _GROUPS.items():
        own = [bar for bar in bars if bar.group == group]
        if own:
            y, left = [bar.top for bar in own], [bar.left for bar in own]
            axes.barh(y, [unit * bar.percent for bar in own], left=left, height=0.8 * BAR, label=group, **style)
    for bar in bars:
        axes.text(bar.left - 0.04, bar.top, bar.name, ha="right", va="center", fontsize=SMALL)
        axes.text(bar.left + unit * bar.percent + 0.03, bar.top, f"{bar.percent:.1f}", va="center", fontsize=SMALL)


def _ruler(axes: Axes, left: float, top: float, unit: float) -> None:
    """The scale below a column of bars."""
    axes.hlines(top, left, left + 100 * unit, color=INK, linewidth=0.6)
    axes.vlines([left + p * unit for p in (0, 50, 100)], top, top + 0.03, color=INK, linewidth=0.6)
    for percent in (0, 50, 100):
        axes.text(left + percent * unit, top + 0.05, str(percent), ha="center", va="top", fontsize=SMALL)
    axes.text(left + 50 * unit, top + 0.15, "probability (%)", ha="center", va="top", fontsize=7)


def _verdict(sample: Prediction, names: list[str]) -> str:
    if sample.label is None:
        return text(sample.title, 34)
    verdict = f"{RIGHT} right" if sample.best(1)[0] == sample.label else f"{WRONG} wrong"
    return f"{text(sample.title, 14)}, true: {names[sample.label]}, {verdict}"


def draw_mistakes(
    mistakes: Sequence[tuple[Mistake, Sketch]], classes: tuple[str, ...], wrong: int, total: int, note: str = ""
) -> Figure:
    """Each mistake with what the sample looks like, the surest first; `wrong` of `total` samples were. note: a line
    above."""
    columns, names = min(COLUMNS, max(3, len(mistakes))), short_names(classes, 14)
    tall = (CELL - 0.12) * min(1.5, max((tallness(sketch) for _, sketch in mistakes), default=0))
    rows, height = -(-len(mistakes) // columns), tall + 0.52
    said = note_lines(note if mistakes else "", CELL * columns - 0.12)
    head = 0.22 + NOTE * len(said)
    figure = new_figure("mistakes", CELL * columns, head + rows * height)
    axes = sheet(figure)
    axes.text(0.06, 0.11, _headline(len(mistakes), wrong, total), va="center", fontsize=8)
    axes.text(0.06, 0.22, "\n".join(said), va="top", fontsize=SMALL)
    for i, (mistake, sketch) in enumerate(mistakes):
        cell = Box(i % columns * CELL, head + i // columns * height, CELL, height)
        _, own = show_sketch(axes, sketch, Box(cell.left + 0.06, cell.top + 0.29, CELL - 0.12, tall))
        true, wrongly = names[mistake.label], names[mistake.said]
        axes.text(own.left, own.top - 0.04, f"{RIGHT} {true}\n{WRONG} {wrongly}", va="bottom", fontsize=7)
        caption = f"{100 * mistake.probability:.1f} %, sample {mistake.sample}"
        axes.text(own.left, own.bottom + 0.03, caption, va="top", fontsize=SMALL, color=GREY)
    return figure


def _headline(shown: int, wrong: int, total: int) -> str:
    if not wrong:
        return f"{RIGHT} no mistake among {total} test samples"
    some = f"; the {shown} it was surest of" if shown < wrong else ""
    signs = f"{RIGHT} true class, {WRONG} the network's, with its probability"
    return f"{wrong} of {total} test samples wrong{some}" + (f"   ({signs})" if shown > 3 else "")
