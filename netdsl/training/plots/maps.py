"""`filters` and `features`: the weights of the first layer, and what a layer makes of an image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from netdsl.training.inspection import FeatureMaps, Filters, as_colours, montage
from netdsl.training.plots.style import (
    COLUMN,
    PAGE,
    SEQUENTIAL,
    SIGNED,
    add_colorbar,
    new_figure,
    show_image,
    text,
)

if TYPE_CHECKING:
    from netdsl.training.plots.style import Figure

MOST = 64  # filters or maps shown


def draw_filters(filters: Filters, classes: tuple[str, ...]) -> Figure:
    """RGB filters each stretched to the full range; all others on one scale, symmetric about 0.

    classes: their names, where each filter belongs to one, else none.
    """
    weights = filters.weights[:MOST]
    is_rgb = weights.shape[1] == 3
    tiles = as_colours(weights) if is_rgb else weights.reshape(-1, *weights.shape[2:])[:MOST]
    columns = _columns(len(tiles), 8)
    rows = -(-len(tiles) // columns)
    figure = new_figure(COLUMN, 0.55 + rows * (COLUMN - 0.5) / columns * tiles.shape[1] / tiles.shape[2])
    axes = figure.subplots()
    sheet = montage(tiles, columns, gap=1 + max(tiles.shape[1:3]) // 12)
    if is_rgb:
        show_image(axes, sheet)
    else:
        limit = float(np.abs(tiles).max()) or 1.0
        image = show_image(axes, sheet, cmap=SIGNED, vmin=-limit, vmax=limit)
        add_colorbar(figure, image, axes, "weight")
    axes.set_title(_filters_title(filters, len(tiles)))
    if len(classes) == len(tiles):
        _number_tiles(axes, tiles, columns, classes)
    return figure


def _filters_title(filters: Filters, shown: int) -> str:
    f, c, h, w = filters.weights.shape
    what = "filters" if filters.op == "conv" else "weight images"
    channels = {1: "", 3: ", RGB, each stretched to its range"}.get(c, f" of {c} channels")
    some = f", {shown} shown" if shown < f * (1 if c == 3 else c) else ""
    return text(f"{filters.name}: {f} {what} of {h}\N{MULTIPLICATION SIGN}{w}{channels}{some}")


def _number_tiles(axes: object, tiles: np.ndarray, columns: int, names: tuple[str, ...]) -> None:
    """The name of each tile's class in its corner."""
    gap = 1 + max(tiles.shape[1:3]) // 12
    for i, name in enumerate(names):
        left, top = i % columns * (tiles.shape[2] + gap), i // columns * (tiles.shape[1] + gap)
        axes.text(left, top, text(name, 10), ha="left", va="top", fontsize=7)


def _columns(count: int, most: int) -> int:
    """Of a nearly square sheet of `count` tiles, `most` at most."""
    return min(most, max(1, math.ceil(math.sqrt(count * 1.2))))


def draw_features(found: FeatureMaps, picture: np.ndarray, caption: str) -> Figure:
    """The image and beside it the maps, on one scale: from 0 where no number is negative, else symmetric about 0."""
    maps = found.maps[:MOST]
    columns = _columns(2 * len(maps), 12)
    rows = -(-len(maps) // columns)
    figure = new_figure(PAGE, max(1.5, 0.45 + 5.0 / columns * rows * maps.shape[1] / maps.shape[2]))
    left, right = figure.subplots(1, 2, width_ratios=(1, 4.2))
    show_image(left, picture)
    left.set_title(text(caption, 26))
    low, high = float(maps.min()), float(maps.max())
    limit = max(abs(low), abs(high)) or 1.0
    scale = (
        {"cmap": SEQUENTIAL, "vmin": 0, "vmax": limit} if low >= 0 else {"cmap": SIGNED, "vmin": -limit, "vmax": limit}
    )
    sheet = montage(maps, columns, gap=1 + max(maps.shape[1:]) // 14)
    add_colorbar(figure, show_image(right, sheet, **scale), right, "activation")
    c, h, w = found.maps.shape
    some = f", {len(maps)} shown" if len(maps) < c else ""
    right.set_title(text(f"{found.name}: {c} maps of {h}\N{MULTIPLICATION SIGN}{w}{some}"))
    return figure
