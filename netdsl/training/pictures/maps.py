"""`filters` and `features`: the weights of the first layer, and what a layer makes of an image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl.training.drawing.style import (
    COLUMN,
    PAGE,
    SEQUENTIAL,
    SIGNED,
    Box,
    add_colorbar,
    new_figure,
    place,
    sheet,
    show_image,
    text,
)
from netdsl.training.drawing.tiles import as_colours, enlarged, montage
from netdsl.training.pictures.inspection import FeatureMaps, Filters

if TYPE_CHECKING:
    from netdsl.training.drawing.style import Figure

MOST = 64  # filters or maps shown
TOP, EDGE, SCALE, TALLEST = 0.24, 0.06, 0.6, 6.0  # inches: title, margin, colour scale, a sheet
ROBUST = 99.5  # percent of the numbers that the scale of `features` covers, where the rest are much larger
TIMES = "\N{MULTIPLICATION SIGN}"


def draw_filters(filters: Filters, classes: tuple[str, ...]) -> Figure:
    """RGB filters each stretched to the full range; all others on one scale, symmetric about 0.

    classes: their names, where each filter belongs to one, else none.
    """
    is_rgb = filters.weights.shape[1] == 3
    tiles = enlarged(as_colours(filters.weights) if is_rgb else filters.weights.reshape(-1, *filters.weights.shape[2:]))
    shown = tiles[:MOST]
    columns = _columns(len(shown), most=8, aspect=1.2)
    whole = montage(shown, columns, _gap(shown))
    box = _sheet_box(whole, EDGE, COLUMN - 2 * EDGE - (0 if is_rgb else SCALE))
    figure = new_figure("filters", COLUMN, box.bottom + EDGE)
    axes = sheet(figure)
    axes.text(EDGE, TOP / 2, _filters_title(filters, len(shown), len(tiles)), va="center", fontsize=7)
    limit = float(np.abs(shown).max()) or 1.0
    colours: dict[str, Any] = {} if is_rgb else {"cmap": SIGNED, "vmin": -limit, "vmax": limit}
    image, drawn = show_image(axes, whole, box, **colours)
    if not is_rgb:
        add_colorbar(place(figure, drawn.right + 0.07, drawn.top, 0.07, drawn.height), image, "weight")
    for i, name in enumerate(classes if len(classes) == len(shown) else ()):
        scale, step = drawn.width / whole.shape[1], np.array(shown.shape[1:3]) + _gap(shown)
        left, top = drawn.left + scale * (i % columns) * step[1], drawn.top + scale * (i // columns) * step[0]
        axes.text(left + 0.02, top + 0.02, text(name, 10), ha="left", va="top", fontsize=7)
    return figure


def _filters_title(filters: Filters, shown: int, total: int) -> str:
    f, c, h, w = filters.weights.shape
    what = "filters" if filters.op == "conv" else "weight images"
    channels = ", RGB, each stretched to its range" if c == 3 else ""
    some = f", {shown} shown" if shown < total else ""
    return f"{text(filters.name, 16)}: {f} {what} of {h}{TIMES}{w}{channels}{some}"


def _sheet_box(whole: np.ndarray, left: float, width: float) -> Box:
    """Below the title, as wide as it may be without being taller than TALLEST."""
    return Box(left, TOP, width, min(TALLEST, width * whole.shape[0] / whole.shape[1]))


def _gap(tiles: np.ndarray) -> int:
    """Pixels between tiles: about a tenth of their size."""
    size: int = max(tiles.shape[1:3])
    return 1 + size // 14


def _columns(count: int, most: int, aspect: float) -> int:
    """How many of `count` tiles go in a row: few empty places, and about `aspect` times as many as rows."""
    ideal = math.sqrt(count * aspect)

    def cost(columns: int) -> float:
        return 3 * (-count % columns) / count + abs(math.log(columns / ideal))

    return min(range(1, min(count, most) + 1), key=cost)


def draw_features(features: FeatureMaps, picture: np.ndarray, caption: str) -> Figure:
    """The image and beside it the maps, on one scale: from 0 where no number is negative, else symmetric about 0."""
    maps = enlarged(features.maps[:MOST])
    whole = montage(maps, _columns(len(maps), most=16, aspect=2.6 * maps.shape[1] / maps.shape[2]), _gap(maps))
    left = EDGE + 1.35
    box = _sheet_box(whole, left, PAGE - left - EDGE - SCALE)
    own_height = min(1.25, 1.25 * picture.shape[0] / picture.shape[1])
    figure = new_figure("features", PAGE, max(box.bottom, TOP + own_height) + EDGE)
    axes = sheet(figure)
    _, own = show_image(axes, picture, Box(EDGE, TOP, 1.25, own_height))
    image, place_of_maps = show_image(axes, whole, box, **_scale(maps))
    c, h, w = features.maps.shape
    some = f", {len(maps)} shown" if len(maps) < c else ""
    axes.text(own.left, own.top - 0.05, text(caption, 22), fontsize=7)
    title = f"{text(features.name, 40)}: {c} maps of {h}{TIMES}{w}{some}"
    axes.text(place_of_maps.left, place_of_maps.top - 0.05, title, fontsize=7)
    bar = place(figure, place_of_maps.right + 0.07, place_of_maps.top, 0.07, place_of_maps.height)
    add_colorbar(bar, image, "activation", extend=_extend(maps), extendfrac=0.04)
    return figure


def _limit(maps: np.ndarray) -> float:
    """The end of the scale: the largest number, or one that leaves out few if it is far off."""
    sizes = np.abs(maps[np.isfinite(maps)])
    largest, usual = (float(np.percentile(sizes, q)) if sizes.size else 0.0 for q in (100, ROBUST))
    return (usual if largest > 1.3 * usual > 0 else largest) or 1.0


def _scale(maps: np.ndarray) -> dict[str, Any]:
    limit = _limit(maps)
    is_signed = maps.min() < 0
    return {"cmap": SIGNED if is_signed else SEQUENTIAL, "vmin": -limit if is_signed else 0, "vmax": limit}


def _extend(maps: np.ndarray) -> str:
    """Which ends of the scale are open."""
    above, below = maps.max() > _limit(maps), maps.min() < -_limit(maps)
    return "both" if above and below else "max" if above else "min" if below else "neither"
