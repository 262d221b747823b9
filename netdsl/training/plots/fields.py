"""`receptive`: what the units at the centre of the maps can see, and what they look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from netdsl.analysis.receptive_field import ReceptiveField
from netdsl.training.inspection import EffectiveField
from netdsl.training.plots.style import (
    PAGE,
    SEQUENTIAL,
    SMALL,
    add_colorbar,
    add_rectangle,
    colour_of,
    new_figure,
    show_image,
    text,
)

if TYPE_CHECKING:
    from netdsl.training.plots.style import Axes, Figure

MOST = 8  # rectangles on the image
DASHES = ("-", (0, (4, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)))


def spread(items: Sequence, most: int) -> list:
    """At most `most` of them, evenly spread, the first and the last among them."""
    places = np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int))
    return [items[i] for i in places]


def draw_receptive(
    picture: np.ndarray, fields: Sequence[ReceptiveField], effective: Sequence[EffectiveField]
) -> Figure:
    """The theoretical fields on the image; beside it a heat map for each effective one, its theoretical one dashed."""
    figure = new_figure(PAGE, 2.35)
    panels = figure.subplots(1, 1 + len(effective), squeeze=False)[0]
    _rectangles(panels[0], picture, spread(fields, MOST))
    image = None
    for axes, found in zip(panels[1:], effective, strict=True):
        image = show_image(axes, found.heat, cmap=SEQUENTIAL, vmin=0, vmax=1)
        _outline(axes, found.field, color="white", linestyle=(0, (3, 2)), linewidth=0.9)
        axes.set_title(f"effective, {text(found.field.name, 18)}", fontsize=7)
    add_colorbar(figure, image, list(panels[1:]), "influence / maximum", shrink=0.6)
    return figure


def _rectangles(axes: Axes, picture: np.ndarray, fields: Sequence[ReceptiveField]) -> None:
    show_image(axes, picture)
    for place, field in enumerate(fields):
        color = colour_of(0.15 + 0.8 * place / max(1, len(fields) - 1), "plasma")
        _outline(axes, field, edgecolor=color, linestyle=DASHES[place % len(DASHES)])
        h, w = field.size
        label = f"{text(field.name, 16)} {h}\N{MULTIPLICATION SIGN}{w}"
        axes.plot([], [], color=color, linestyle=DASHES[place % len(DASHES)], label=label)
    axes.set_title("theoretical (pixels)", fontsize=7)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), fontsize=SMALL, ncols=2, handlelength=1.6,
                columnspacing=0.8, labelspacing=0.2, borderpad=0)  # fmt: skip


def _outline(axes: Axes, field: ReceptiveField, **options: object) -> None:
    (top, bottom), (left, right) = field.rows, field.columns
    add_rectangle(axes, left - 0.5, top - 0.5, right - left + 1, bottom - top + 1, **options)
