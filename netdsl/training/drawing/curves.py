"""`curves`: loss, measures and learning rate over the epochs, or the steps of a run that is counted in these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl.graph.recipe import LOSSES
from netdsl.training.drawing.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    PAGE,
    VERMILLION,
    new_figure,
    place,
    plain_log,
    text_width,
    whole_ticks,
)
from netdsl.training.scores.measures import MEASURES

if TYPE_CHECKING:
    from netdsl.training.drawing.style import Axes, Figure

MARKED = 30  # epochs: more of them get no marks on the lines
MOST = 2  # panels of measures
BETWEEN = 0.1  # inches between the numbers along the epochs
WIDE = 100  # times the smallest value: above it the axis is logarithmic
Columns = Callable[[str], Sequence[float | None]]  # of a history, by name: `history.column`


def draw_curves(column: Columns, best: int | None = None, loss: str = "") -> Figure:
    """A panel for each measure that a line of an epoch tells, at most two. best: the epoch that is marked, where
    validation data chose one; loss: its name, which decides its unit."""
    shown = [measure for name, measure in MEASURES.items() if measure.in_line and _is_there(column, name)][-MOST:]
    figure, count = new_figure("curves", PAGE, 2.15), 2 + len(shown)
    width = PAGE / count
    panels = [place(figure, 0.52 + width * i, 0.32, width - 0.62, 1.45) for i in range(count)]
    _pair(panels[0], column, "loss", LOSSES[loss].unit if loss in LOSSES else "loss", best)
    for axes, measure in zip(panels[1:], shown, strict=False):
        unit, scale = (" (%)", 100) if measure.is_share else ("", 1)
        _pair(axes, column, measure.name, f"{measure.title}{unit}", best, scale)
    rates = _known(column, "lr")
    panels[-1].plot(_along(column)[1], rates, color=GREEN, **_marks(column, "^", "-"))
    panels[-1].set_ylabel("learning rate")
    panels[-1].set_ylim(-0.03 * max(rates), 1.06 * max(rates) or 1)
    for axes in panels:
        _finish(axes, column)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="upper left", ncols=3, handlelength=2.6,
                  bbox_to_anchor=(0.45 / PAGE, 1.01))  # fmt: skip
    return figure


def _is_there(column: Columns, name: str) -> bool:
    return any(value is not None for part in ("train", "val") for value in column(f"{part}_{name}"))


def _known(column: Columns, name: str) -> list[float]:
    """The values of a column that every epoch has."""
    return [value for value in column(name) if value is not None]


def _along(column: Columns) -> tuple[str, list[float]]:
    """What the rows of a history are counted in, epochs or steps, and where they lie along it."""
    steps = _known(column, "step")
    return ("step", steps) if steps else ("epoch", _known(column, "epoch"))


def _pair(axes: Axes, column: Columns, measure: str, label: str, best: int | None, scale: float = 1) -> None:
    """Training and validation in one panel."""
    values = []
    for part, name, color, mark, dash in (
        ("train", "training", BLUE, "o", "-"),
        ("val", "validation", VERMILLION, "s", (0, (4, 1.5))),
    ):
        y = scale * np.array(column(f"{part}_{measure}"), float)
        if not np.isnan(y).all():
            axes.plot(_along(column)[1], y, color=color, label=name, **_marks(column, mark, dash))
            values.append(y[np.isfinite(y)])
    axes.set_ylabel(label)
    if best is not None:
        unit, along = _along(column)
        index = list(column("epoch")).index(best)
        axes.axvline(along[index], color=GREY, linewidth=0.8, linestyle=":", zorder=0)
        y = scale * np.array(column(f"val_{measure}"), float)[index]
        axes.plot([along[index]], [y], "*", color=VERMILLION, markersize=9, markeredgecolor=INK,
                  markeredgewidth=0.5, linestyle="none", label=f"best {unit} ({along[index]})", zorder=3)  # fmt: skip
    every = np.concatenate(values) if values else np.array([])
    if measure == "loss" and every.size and every.min() > 0 and every.max() > WIDE * every.min():
        plain_log(axes)


def _marks(column: Columns, mark: str, dash: object) -> dict[str, Any]:
    return {"marker": mark if len(column("epoch")) <= MARKED else None, "linestyle": dash}


def _finish(axes: Axes, column: Columns) -> None:
    unit, along = _along(column)
    axes.set_xlabel(unit)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    first, last = along[0], along[-1]
    margin = 0.04 * (last - first) or 0.5
    axes.set_xlim(first - margin, last + margin)
    digits = min(4, len(f"{last:.0f}"))  # larger numbers stand in thousands
    room = axes.get_position().width * PAGE / (text_width("0" * digits, 7) + BETWEEN)
    whole_ticks(axes, int(np.clip(room, 2, 6)))
