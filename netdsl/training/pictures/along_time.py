"""Filters, features and receptive fields of networks that read signals: curves and bands along time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl.analysis.receptive_field import ReceptiveField
from netdsl.training.drawing.signals import COLOURS, FINE, Signal, decimated, show_signal
from netdsl.training.drawing.sketches import Sketch, show_sketch
from netdsl.training.drawing.style import (
    COLUMN,
    GREY,
    INK,
    PAGE,
    SEQUENTIAL,
    SMALL,
    Box,
    add_colorbar,
    add_rectangle,
    colour_of,
    fill_box,
    new_figure,
    place,
    round_numbers,
    sheet,
    text,
    widest,
)
from netdsl.training.pictures.inspection import Filters
from netdsl.training.pictures.sensitivity import EffectiveField

if TYPE_CHECKING:
    from netdsl.training.drawing.style import Axes, Figure

TOGETHER = 5  # channels of a filter that are curves in one panel
MARKED = 16  # steps: longer filters have no mark at each
EDGE, TOP, GAP, SCALE = 0.06, 0.24, 0.08, 0.6  # inches: margin, a line of text, between panels, colour scale
RULER = 0.3  # inches for the time below
ROW, TALLEST = 0.12, 4.0  # inches: a map, and all of them
BAND = 0.24  # inches: an effective field


def draw_filter_curves(filters: Filters, shown: int, columns: int, title: str, names: Sequence[str]) -> Figure:
    """A panel for each filter with a curve for each channel, all on one scale that is symmetric about 0; names: of the
    panels, if they have some."""
    weights = filters.weights[:shown]
    count, channels = weights.shape[:2]
    wide = (COLUMN - 2 * EDGE - GAP * (columns - 1)) / columns
    tall, lines = float(np.clip(0.6 * wide, 0.3, 1.2)), -(-count // columns)
    bottom = TOP + lines * (tall + GAP)
    figure = new_figure("filters", COLUMN, bottom + (0.2 if channels > 1 else EDGE))
    axes, limit = sheet(figure), float(np.abs(weights).max()) or 1.0
    axes.text(EDGE, TOP / 2, f"{title}, up to \N{PLUS-MINUS SIGN}{limit:.2g}", va="center", fontsize=7)
    for i, one in enumerate(weights):
        box = Box(EDGE + i % columns * (wide + GAP), TOP + i // columns * (tall + GAP), wide, tall)
        _filter_panel(axes, one / limit, box)
        if names:
            axes.text(box.left + 0.03, box.top + 0.02, text(names[i], 10), va="top", fontsize=SMALL)
    if channels > 1:
        _channel_legend(axes, channels, bottom + 0.08)
    return figure


def _filter_panel(axes: Axes, shares: np.ndarray, box: Box) -> None:
    """Draws shares (C, K), -1 to 1, of one filter."""
    middle, steps = box.top + box.height / 2, shares.shape[1]
    add_rectangle(axes, box, color=GREY, linewidth=0.4)
    axes.hlines(middle, box.left, box.right, color=GREY, linewidth=0.4, linestyle=":")
    mark = "." if steps <= MARKED else None
    for channel, row in enumerate(shares):
        drawn = decimated(row, int(box.width * FINE))
        times = box.left + (np.arange(len(drawn)) + 0.5) / len(drawn) * box.width
        color = COLOURS[channel % len(COLOURS)]
        axes.plot(times, middle - 0.45 * box.height * drawn, color=color, linewidth=0.8, marker=mark, markersize=2)


def _channel_legend(axes: Axes, channels: int, y: float) -> None:
    """A piece of line and a number for each channel."""
    for channel in range(channels):
        left = EDGE + channel * (COLUMN - 2 * EDGE) / TOGETHER
        axes.plot([left, left + 0.15], [y, y], color=COLOURS[channel], linewidth=1)
        axes.text(left + 0.19, y, f"channel {channel}", va="center", fontsize=SMALL)


def draw_feature_rows(
    maps: np.ndarray,
    sketch: Sketch,
    caption: str,
    title: str,
    colours: dict[str, Any],
    ends: dict[str, Any],
    covered: tuple[float, float] | None = None,
) -> Figure:
    """The sample, and below it, on the same time if it is a signal, a row of colour for each of the maps (C, L).

    title: of the maps; colours, ends: options of their scale, and of the bar that shows it; covered: where on the time
    of the signal they begin and end, in steps, None: where it does.
    """
    length = sketch.values.shape[1] if isinstance(sketch, Signal) else maps.shape[1]
    left, width = 0.5, PAGE - 0.5 - SCALE
    own, rows = _height(sketch), min(TALLEST, max(0.4, ROW * len(maps)))
    figure = new_figure("features", PAGE, 2 * TOP + own + rows + RULER)
    axes = sheet(figure)
    axes.text(left, TOP / 2, text(caption, 60), va="center", fontsize=7)
    show_sketch(axes, sketch, Box(left, TOP, width, own))
    axes.text(left, 1.5 * TOP + own, title, va="center", fontsize=7)
    under = Box(left, 2 * TOP + own, width, rows)
    first, last = (share / length for share in covered or (0, length))
    own_time = Box(left + width * first, under.top, width * (last - first), rows)
    image = fill_box(axes, decimated(maps, int(width * FINE)), own_time, **colours)
    lane = rows / len(maps)
    for number in {0, len(maps) - 1}:
        y = under.top + (number + 0.5) * lane
        axes.text(left - 0.05, y, f"map {number}", ha="right", va="center", fontsize=SMALL)
    add_colorbar(place(figure, under.right + 0.07, under.top, 0.07, rows), image, "activation", **ends)
    _time(axes, under, length)
    return figure


def draw_fields_in_time(
    signal: Signal, fields: Sequence[ReceptiveField], effective: Sequence[EffectiveField], caption: str
) -> Figure:
    """The signal; below it the part of it that the middle unit of each layer can see, and what it answers to."""
    length = signal.values.shape[1]
    labels = [f"{text(field.name, 20)}: {field.show()}" for field in fields]
    heats = [f"effective, {text(seen.field.name, 20)}" for seen in effective]
    left = 0.14 + widest([*labels, *heats], SMALL)
    width, own = PAGE - left - SCALE, _height(signal)
    bars = 0.13 * len(fields) + 0.1
    figure = new_figure("receptive", PAGE, TOP + own + bars + len(heats) * (BAND + GAP) + RULER)
    axes = sheet(figure)
    axes.text(left, TOP / 2, f"theoretical fields below {text(caption, 40)}", va="center", fontsize=7)
    _, box = show_signal(axes, signal, Box(left, TOP, width, own))
    for i, (field, label) in enumerate(zip(fields, labels, strict=True)):
        y = box.bottom + 0.13 * (i + 1)
        axes.text(left - 0.07, y, label, ha="right", va="center", fontsize=SMALL)
        start, end = _span(field, box, length)
        axes.hlines(y, start, end, color=colour_of(0.2 + 0.7 * i / max(1, len(fields) - 1), "plasma"), linewidth=3)
    top = box.bottom + bars
    for i, (seen, label) in enumerate(zip(effective, heats, strict=True)):
        under = Box(left, top + i * (BAND + GAP), width, BAND)
        image = fill_box(axes, decimated(seen.heat[None], int(width * FINE)), under, cmap=SEQUENTIAL, vmin=0, vmax=1)
        axes.text(left - 0.07, under.top + BAND / 2, label, ha="right", va="center", fontsize=SMALL)
        dashed: dict[str, Any] = {"color": "white", "linestyle": (0, (3, 2)), "linewidth": 0.9}
        axes.vlines(_span(seen.field, under, length), under.top, under.bottom, **dashed)
    height = under.bottom - top
    bar = place(figure, under.right + 0.07, top, 0.07, height)
    add_colorbar(bar, image, "influence / maximum" if height > 0.9 else "influence")
    _time(axes, under, length)
    return figure


def _height(sketch: Sketch) -> float:
    """How tall a sample is above what a network makes of it, in inches."""
    return float(np.clip(0.25 * len(sketch.values), 0.7, 1.6)) if isinstance(sketch, Signal) else 1.4


def _span(field: ReceptiveField, box: Box, length: int) -> tuple[float, float]:
    """Where the field begins and ends along the box, which is `length` steps wide."""
    ((first, last),) = field.spans
    return box.left + box.width * first / length, box.left + box.width * (last + 1) / length


def _time(axes: Axes, box: Box, length: int) -> None:
    """The steps, below the box."""
    for step in round_numbers(0, length - 1, 9):
        x = box.left + (step + 0.5) / length * box.width
        axes.vlines(x, box.bottom, box.bottom + 0.03, color=INK, linewidth=0.6)
        axes.text(x, box.bottom + 0.05, f"{step:,.0f}", ha="center", va="top", fontsize=SMALL)
    axes.text(box.right + 0.07, box.bottom + 0.05, "step", va="top", fontsize=SMALL)
