"""`masks` and `reconstructions`: samples in columns; under each other what went in, came out and was wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl.training.drawing.style import (
    PAGE,
    SIGNED,
    SMALL,
    Box,
    add_colorbar,
    new_figure,
    place,
    sheet,
    short_names,
    show_image,
    text,
    widest,
)

if TYPE_CHECKING:
    from netdsl.training.drawing.style import Axes, Figure

# class 0, mostly the background, is light; then Okabe & Ito 2008, and lighter and darker ones of the same hues
COLOURS = ("#e3e3e3", "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#F0E442", "#7A4B00", "#4B3F9E")
MOST_NAMED, NAMED_ACROSS = 24, 6  # classes in the legend, and in a line of it
GAP, ABOVE, BELOW, SCALE = 0.08, 0.16, 0.16, 0.52  # inches: between pictures, above and under a column; the scale
OVERLAY = 0.55  # the share of a mask's colour on the picture under it


@dataclass(frozen=True)
class Strip:
    """One sample: its title, pictures (H, W) or (H, W, 3) from top to bottom, and what is said under them."""

    title: str
    pictures: Sequence[np.ndarray]
    caption: str = ""


def class_colours(count: int) -> np.ndarray:
    """(count, 3), 0 to 1: a colour for each class; those after the tenth are darker each time round."""
    base = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in COLOURS]) / 255
    rounds = np.arange(count) // len(COLOURS)
    return base[np.arange(count) % len(COLOURS)] * (0.75**rounds)[:, None]


def coloured(mask: np.ndarray, count: int) -> np.ndarray:
    """mask (H, W) of classes below `count` -> (H, W, 3)."""
    colours: np.ndarray = class_colours(count)[mask]
    return colours


def overlay(picture: np.ndarray, mask: np.ndarray, count: int) -> np.ndarray:
    """picture (H, W) or (H, W, 3), 0 to 1, mask (H, W) -> the picture (H, W, 3) with every class but the first in
    colour."""
    grey = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    mixed = (1 - OVERLAY) * grey + OVERLAY * coloured(mask, count)
    return np.where((mask == 0)[..., None], grey, mixed)


def draw_strips(
    kind: str,
    strips: Sequence[Strip],
    rows: Sequence[str],
    classes: Sequence[str] = (),
    largest: float | None = None,
    across: int = 8,
) -> Figure:
    """The strips beside each other, at most `across`, then below; rows: what each picture is.

    classes: those of a legend. largest: given where the last row is differences, which are shown from -largest (blue)
    to largest (red), with a scale.
    """
    columns, left = min(across, max(len(strips), 4)), 0.14 + widest(rows, 7)
    right = SCALE if largest else 0.06
    side = (PAGE - left - right) / columns - GAP
    tall = side * min(1.5, max(p.shape[0] / p.shape[1] for strip in strips for p in strip.pictures))
    height = ABOVE + len(rows) * (tall + GAP) + BELOW  # of one row of strips
    names = short_names(classes[:MOST_NAMED], 16)
    foot = 0.2 * -(-len(names) // NAMED_ACROSS) + 0.06 if names else 0.04
    lines = -(-len(strips) // columns)
    figure = new_figure(kind, PAGE, lines * height + foot)
    axes, image = sheet(figure), None
    signed: dict[str, Any] = {"cmap": SIGNED, "vmin": -largest, "vmax": largest} if largest is not None else {}
    for i, strip in enumerate(strips):
        cell = Box(left + i % columns * (side + GAP), i // columns * height, side, height)
        axes.text(cell.centre, cell.top + 0.1, text(strip.title, 18), ha="center", va="center", fontsize=SMALL)
        for row, picture in enumerate(strip.pictures):
            box = Box(cell.left, cell.top + ABOVE + row * (tall + GAP), side, tall)
            image, _ = show_image(axes, picture, box, **(signed if row == len(rows) - 1 else {}))
            if not i % columns:
                axes.text(left - 0.07, box.top + tall / 2, rows[row], ha="right", va="center", fontsize=7)
        axes.text(cell.centre, cell.bottom - BELOW - 0.04, strip.caption, ha="center", va="top", fontsize=SMALL)
    if names:
        _legend(axes, names, class_colours(len(classes)), left, lines * height)
    elif largest and image is not None:
        top = ABOVE + (len(rows) - 1) * (tall + GAP)
        add_colorbar(place(figure, PAGE - right, top, 0.07, tall), image, "error")
    return figure


def _legend(axes: Axes, names: Sequence[str], colours: np.ndarray, left: float, top: float) -> None:
    """A square and a name for each class."""
    step = (PAGE - left) / NAMED_ACROSS
    for i, name in enumerate(names):
        x, y = left + i % NAMED_ACROSS * step, top + 0.1 + 0.2 * (i // NAMED_ACROSS)
        axes.barh([y], [0.12], left=[x], height=0.12, color=[colours[i]], edgecolor="#777777", linewidth=0.3)
        axes.text(x + 0.17, y, name, va="center", fontsize=7)
