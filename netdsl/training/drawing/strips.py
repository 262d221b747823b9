"""`masks`, `reconstructions`, `saliency`: columns of what went in, came out and was wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netdsl.training.drawing.signals import Band, Signal
from netdsl.training.drawing.sketches import Sketch, show_sketch, tallness
from netdsl.training.drawing.style import (
    PAGE,
    SIGNED,
    SMALL,
    Box,
    add_colorbar,
    new_figure,
    note_lines,
    place,
    sheet,
    short_names,
    text,
    widest,
)
from netdsl.training.drawing.tiles import class_colours

if TYPE_CHECKING:
    import numpy as np

    from netdsl.training.drawing.style import Axes, AxesImage, Figure

MOST_NAMED, NAMED_ACROSS = 24, 6  # classes in the legend, and in a line of it
GAP, ABOVE, BELOW, SCALE = 0.08, 0.16, 0.16, 0.52  # inches: between pictures, above and under a column; the scale
NOTE = 0.13  # inches for a line above everything
CURVES, LEAST_CURVES = 1.6, 0.65  # inches: how tall the signals of a sample are together, and each at least
ACROSS = {1: 2, 2: 8, 3: 4}  # samples beside each other, by the axes of space that they have


@dataclass(frozen=True)
class Strip:
    """One sample: its title, what is shown of it from top to bottom, and what is said under that."""

    title: str
    pictures: Sequence[Sketch]
    caption: str = ""


def draw_strips(
    kind: str,
    strips: Sequence[Strip],
    rows: Sequence[str],
    classes: Sequence[str] = (),
    largest: float | None = None,
    across: int = 8,
    note: str = "",
) -> Figure:
    """The strips beside each other, at most `across`, then below; rows: what each picture is.

    classes: those of a legend. largest: given where the last row is differences, which are shown from -largest (blue)
    to largest (red), with a scale. note: a line above everything.
    """
    columns, left = min(across, max(len(strips), min(across, 4))), 0.14 + widest(rows, 7)
    right = SCALE if largest else 0.06
    side = (PAGE - left - right) / columns - GAP
    talls = _row_heights(strips, side)
    height = ABOVE + sum(talls) + len(rows) * GAP + BELOW  # of one row of strips
    names = short_names(classes[:MOST_NAMED], 16)
    foot = 0.2 * -(-len(names) // NAMED_ACROSS) + 0.06 if names else 0.04
    said = note_lines(note, PAGE - left)
    lines, head = -(-len(strips) // columns), NOTE * len(said)
    figure = new_figure(kind, PAGE, head + lines * height + foot)
    axes, image = sheet(figure), None
    axes.text(left, 0.03, "\n".join(said), va="top", fontsize=SMALL)
    signed: dict[str, Any] = {"cmap": SIGNED, "vmin": -largest, "vmax": largest} if largest is not None else {}
    for i, strip in enumerate(strips):
        cell = Box(left + i % columns * (side + GAP), head + i // columns * height, side, height)
        image = _draw_strip(axes, strip, cell, talls, signed, rows if not i % columns else [""] * len(rows))
    if names:
        _legend(axes, names, class_colours(len(classes)), left, head + lines * height)
    elif largest and image is not None:
        top = head + ABOVE + sum(talls[:-1]) + (len(rows) - 1) * GAP
        add_colorbar(place(figure, PAGE - right, top, 0.07, talls[-1]), image, "error")
    return figure


def _draw_strip(
    axes: Axes, strip: Strip, cell: Box, talls: Sequence[float], signed: Mapping[str, Any], names: Sequence[str]
) -> AxesImage | None:
    """Draws a strip, with the names of its rows on the left; signed: options of its last row; -> what that is."""
    image, top = None, cell.top + ABOVE
    axes.text(cell.centre, cell.top + 0.1, text(strip.title, 18), ha="center", va="center", fontsize=SMALL)
    for sketch, tall, name in zip(strip.pictures, talls, names, strict=True):
        options = signed if sketch is strip.pictures[-1] else {}
        image, _ = show_sketch(axes, sketch, Box(cell.left, top, cell.width, tall), **options)
        axes.text(cell.left - 0.07, top + tall / 2, name, ha="right", va="center", fontsize=7)
        top += tall + GAP
    axes.text(cell.centre, cell.bottom - BELOW - 0.04, strip.caption, ha="center", va="top", fontsize=SMALL)
    return image


def _row_heights(strips: Sequence[Strip], side: float) -> list[float]:
    """The height of each row in inches: pictures are all as tall as the tallest, signals share what they have."""
    rows = list(zip(*(strip.pictures for strip in strips), strict=True))
    tallest = [side * max(map(tallness, row)) for row in rows]
    signals = [isinstance(row[0], Signal) for row in rows]
    bands = [isinstance(row[0], Band) for row in rows]
    pictures = [t for t, is_signal, is_band in zip(tallest, signals, bands, strict=True) if not (is_signal or is_band)]
    most = max(LEAST_CURVES, CURVES / max(1, sum(signals)))
    tall = min(1.5 * side, max(pictures, default=0.0))
    return [
        min(t, most) if is_signal else t if is_band else tall
        for t, is_signal, is_band in zip(tallest, signals, bands, strict=True)
    ]


def _legend(axes: Axes, names: Sequence[str], colours: np.ndarray, left: float, top: float) -> None:
    """A square and a name for each class."""
    step = (PAGE - left) / NAMED_ACROSS
    for i, name in enumerate(names):
        x, y = left + i % NAMED_ACROSS * step, top + 0.1 + 0.2 * (i // NAMED_ACROSS)
        axes.barh([y], [0.12], left=[x], height=0.12, color=[colours[i]], edgecolor="#777777", linewidth=0.3)
        axes.text(x + 0.17, y, name, va="center", fontsize=7)
