"""`receptive`: what the units at the centre of the maps can see, and what they answer to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from netdsl.analysis.receptive_field import ReceptiveField
from netdsl.training.drawing.signals import Signal
from netdsl.training.drawing.sketches import Sketch
from netdsl.training.drawing.style import (
    PAGE,
    SEQUENTIAL,
    SMALL,
    Box,
    add_colorbar,
    add_rectangle,
    colour_of,
    new_figure,
    place,
    sheet,
    show_image,
    text,
)
from netdsl.training.pictures.along_time import draw_fields_in_time
from netdsl.training.pictures.sensitivity import EffectiveField

if TYPE_CHECKING:
    from netdsl.training.drawing.style import Axes, Figure

Item = TypeVar("Item")
MOST = 8  # rectangles on the image
PANELS = 4  # images beside each other
ENTRY = 1.7  # inches for a name in the legend
DASHES = ("-", (0, (4, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)))
TOP, GAP, SCALE = 0.24, 0.1, 0.55  # inches: titles, between images, colour scale
SIDE = (PAGE - SCALE - GAP * PANELS) / PANELS


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` of them, evenly spread, the first and the last among them."""
    places = np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int))
    return [items[i] for i in places]


def draw_receptive(
    sketch: Sketch, fields: Sequence[ReceptiveField], effective: Sequence[EffectiveField], caption: str
) -> Figure:
    """The theoretical fields on the sample; beside it a heat map for each effective one, its theoretical one dashed.

    Of a volume both are shown on the slice across the depth in which the middle of the input lies.
    """
    fields = spread(fields, MOST)
    if isinstance(sketch, Signal):
        return draw_fields_in_time(sketch, fields, effective, caption)
    assert isinstance(sketch, np.ndarray), "the input of a network is no band"
    depths = fields[0].of[:-2]
    picture = sketch[: fields[0].of[-2], : fields[0].of[-1]]  # of three slices the one across the depth
    side_height = min(1.6, picture.shape[0] / picture.shape[1]) * SIDE
    width = (SIDE + GAP) * (1 + len(effective)) + SCALE
    columns = int(width / ENTRY)
    lines = -(-len(fields) // columns)
    figure = new_figure("receptive", width, TOP + side_height + 0.12 + 0.13 * lines)
    axes = sheet(figure)
    boxes = [Box(GAP / 2 + (SIDE + GAP) * i, TOP, SIDE, side_height) for i in range(1 + len(effective))]
    _, own = show_image(axes, picture, boxes[0])
    title = f"field, slice {depths[0] // 2} of depth" if depths else "theoretical field (pixels)"
    axes.text(own.left, own.top - 0.05, title, fontsize=7)
    for i, field in enumerate(fields):
        shade = colour_of(0.2 + 0.75 * i / max(1, len(fields) - 1), "plasma")
        line: dict[str, Any] = {"color": shade, "linestyle": DASHES[i % 4]}
        _outline(axes, own, picture, field, color="white", linewidth=2.2, alpha=0.4, zorder=1.5)
        _outline(axes, own, picture, field, linewidth=1.1, zorder=2, **line)
        left, top = GAP / 2 + i % columns * (width - GAP) / columns, own.bottom + 0.13 * (1 + i // columns)
        _entry(axes, left, top, field, line)
    for box, seen in zip(boxes[1:], effective, strict=True):
        heat = seen.heat[tuple(size // 2 for size in depths)]
        image, own = show_image(axes, heat, box, cmap=SEQUENTIAL, vmin=0, vmax=1)
        axes.text(own.left, own.top - 0.05, f"effective, {text(seen.field.name, 20)}", fontsize=7)
        _outline(axes, own, heat, seen.field, color="white", linestyle=(0, (3, 2)), linewidth=0.9)
    add_colorbar(place(figure, own.right + 0.07, own.top, 0.07, own.height), image, "influence / maximum")
    return figure


def _entry(axes: Axes, left: float, top: float, field: ReceptiveField, line: Mapping[str, Any]) -> None:
    """Draws an entry of the legend: layer and size beside a piece of its line."""
    axes.plot([left, left + 0.25], [top, top], linewidth=1.1, **line)
    label = f"{text(field.name, 20)}: {field.show()}"
    axes.text(left + 0.3, top, label, va="center", fontsize=SMALL)


def _outline(axes: Axes, own: Box, picture: np.ndarray, field: ReceptiveField, **options: Any) -> None:
    """Draws the field on the picture that is at `own`."""
    (top, bottom), (left, right) = field.spans[-2:]
    unit = own.width / picture.shape[1]  # inches a pixel
    box = Box(own.left + left * unit, own.top + top * unit, (right - left + 1) * unit, (bottom - top + 1) * unit)
    add_rectangle(axes, box, **options)
