"""`filters` and `features`: the weights of the first layer, and what a layer makes of a sample.

Those of signals are in along_time.py, but for filters of many channels, which are pictures of channels and steps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl.training.drawing.sketches import Sketch, show_sketch, tallness
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
from netdsl.training.pictures.along_time import MARKED, TOGETHER, draw_feature_rows, draw_filter_curves
from netdsl.training.pictures.fields import spread
from netdsl.training.pictures.inspection import FeatureMaps, Filters

if TYPE_CHECKING:
    from netdsl.training.drawing.style import Figure

MOST, SLICES = 64, 8  # filters or maps shown; slices of each filter of a volume
TOP, EDGE, SCALE, TALLEST = 0.24, 0.06, 0.6, 6.0  # inches: title, margin, colour scale, a sheet
ROBUST = 99.5  # percent of the numbers that the scale of `features` covers, where the rest are much larger
TIMES = "\N{MULTIPLICATION SIGN}"


def draw_filters(filters: Filters, classes: tuple[str, ...]) -> Figure:
    """RGB filters each stretched to the full range; all others on one scale, symmetric about 0.

    classes: their names, where each filter belongs to one, else none.
    """
    if filters.kind.axes == 1 and filters.kind.channels <= TOGETHER:
        return _as_curves(filters, classes)
    is_rgb = filters.kind.axes > 1 and filters.kind.channels == 3
    tiles = _tiles(filters, is_rgb)
    shown = tiles[:MOST]
    columns = _columns(len(shown), most=8, aspect=1.2 * shown.shape[1] / shown.shape[2])
    whole = montage(shown, columns, _gap(shown))
    box = _sheet_box(whole, EDGE, COLUMN - 2 * EDGE - (0 if is_rgb else SCALE))
    figure = new_figure("filters", COLUMN, box.bottom + EDGE)
    axes = sheet(figure)
    axes.text(EDGE, TOP / 2, _filters_title(filters, len(shown), len(tiles)), va="center", fontsize=7)
    limit = float(np.nanmax(np.abs(shown))) or 1.0
    colours: dict[str, Any] = {} if is_rgb else {"cmap": SIGNED, "vmin": -limit, "vmax": limit}
    image, drawn = show_image(axes, whole, box, **colours)
    if not is_rgb:
        add_colorbar(place(figure, drawn.right + 0.07, drawn.top, 0.07, drawn.height), image, "weight")
    for i, name in enumerate(classes if len(classes) == len(shown) else ()):
        scale, step = drawn.width / whole.shape[1], np.array(shown.shape[1:3]) + _gap(shown)
        left, top = drawn.left + scale * (i % columns) * step[1], drawn.top + scale * (i // columns) * step[0]
        axes.text(left + 0.02, top + 0.02, text(name, 10), ha="left", va="top", fontsize=7)
    return figure


def _as_curves(filters: Filters, classes: tuple[str, ...]) -> Figure:
    count, steps = len(filters.weights), filters.weights.shape[2]
    shown = min(count, MOST)
    columns = _columns(shown, most=8 if steps <= MARKED else 3, aspect=0.7)
    names = classes if len(classes) == shown else ()
    return draw_filter_curves(filters, shown, columns, _filters_title(filters, shown, count), names)


def _tiles(filters: Filters, is_rgb: bool) -> np.ndarray:
    """A picture for each filter, of grey images and volumes for each of its channels: (n, H, W) or (n, H, W, 3)."""
    if filters.kind.axes == 1:
        channels, steps = filters.weights.shape[1:]
        wide = filters.weights.repeat(max(1, channels // (2 * steps)), axis=2)
        return enlarged(wide.repeat(max(1, steps // (2 * channels)), axis=1))
    weights = filters.weights
    tiles = as_colours(weights) if is_rgb else weights.reshape(-1, *weights.shape[2:])
    return enlarged(tiles) if filters.kind.is_image else _slice_by_slice(tiles)


def _slice_by_slice(tiles: np.ndarray) -> np.ndarray:
    """tiles (n, D, H, W, ...) -> (n, H, W', ...): the slices of each across the depth beside each other, at most
    SLICES of them, evenly spread, with NaN between."""
    seen = spread(range(tiles.shape[1]), SLICES)
    slices = [enlarged(tiles[:, depth], least=8) for depth in seen]
    between = np.full((*slices[0].shape[:2], 1, *slices[0].shape[3:]), np.nan)
    return np.concatenate([part for one in slices for part in (between, one)][1:], axis=2)


def _filters_title(filters: Filters, shown: int, total: int) -> str:
    """What they are, in a line."""
    count, channels, *space = filters.weights.shape
    is_window, axes = filters.op == "conv", filters.kind.axes
    what = "filters" if is_window else "weight images" if axes == 2 else "weights"
    size = f"{TIMES.join(map(str, space))}{' steps' if axes == 1 else ''}"
    many = channels > 1 and axes == 1
    rgb = ", RGB, each stretched to its range" if channels == 3 and axes == 2 else ""
    across = f", {min(space[0], SLICES)} of {space[0]} slices" if axes == 3 and space[0] > SLICES else ""
    across = across or (", slice by slice" if axes == 3 else "")
    some = f", {shown} shown" if shown < total else ""
    name = text(filters.name, 16)
    return f"{name}: {count} {what} of {f'{channels} channels {TIMES} ' if many else ''}{size}{rgb}{across}{some}"


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


def draw_features(
    features: FeatureMaps, sketch: Sketch, caption: str, covered: tuple[float, float] | None = None
) -> Figure:
    """The sample and its maps, on one scale: from 0 where no number is negative, else symmetric about 0.

    Maps of volumes are shown by their middle slices across the depth. covered: the steps of a signal that its maps
    are about, None: all."""
    if features.kind.axes == 1:
        shown = features.maps[:MOST]
        return draw_feature_rows(
            shown, sketch, caption, _features_title(features), _scale(shown), _ends(shown), covered
        )
    flat = features.maps if features.kind.is_image else features.maps[:, features.maps.shape[1] // 2]
    maps = enlarged(flat[:MOST])
    whole = montage(maps, _columns(len(maps), most=16, aspect=2.6 * maps.shape[1] / maps.shape[2]), _gap(maps))
    left = EDGE + 1.35
    box = _sheet_box(whole, left, PAGE - left - EDGE - SCALE)
    own_height = min(1.25, 1.25 * tallness(sketch))
    figure = new_figure("features", PAGE, max(box.bottom, TOP + own_height) + EDGE)
    axes = sheet(figure)
    _, own = show_sketch(axes, sketch, Box(EDGE, TOP, 1.25, own_height))
    image, place_of_maps = show_image(axes, whole, box, **_scale(maps))
    axes.text(own.left, own.top - 0.05, text(caption, 22), fontsize=7)
    axes.text(place_of_maps.left, place_of_maps.top - 0.05, _features_title(features), fontsize=7)
    bar = place(figure, place_of_maps.right + 0.07, place_of_maps.top, 0.07, place_of_maps.height)
    add_colorbar(bar, image, "activation", **_ends(maps))
    return figure


def _features_title(features: FeatureMaps) -> str:
    count, *space = features.maps.shape
    size = f"{space[0]:,} steps" if features.kind.axes == 1 else TIMES.join(map(str, space))
    some = f", {MOST} shown" if count > MOST else ""
    slices = ", middle slices across depth" if features.kind.axes == 3 else ""
    return f"{text(features.name, 40)}: {count} maps of {size}{some}{slices}"


def _limit(maps: np.ndarray) -> float:
    """The end of the scale: the largest number, or one that leaves out few if it is far off."""
    sizes = np.abs(maps[np.isfinite(maps)])
    largest, usual = (float(np.percentile(sizes, q)) if sizes.size else 0.0 for q in (100, ROBUST))
    return (usual if largest > 1.3 * usual > 0 else largest) or 1.0


def _scale(maps: np.ndarray) -> dict[str, Any]:
    limit = _limit(maps)
    is_signed = maps.min() < 0
    return {"cmap": SIGNED if is_signed else SEQUENTIAL, "vmin": -limit if is_signed else 0, "vmax": limit}


def _ends(maps: np.ndarray) -> dict[str, Any]:
    """Which ends of the scale are open."""
    above, below = maps.max() > _limit(maps), maps.min() < -_limit(maps)
    extend = "both" if above and below else "max" if above else "min" if below else "neither"
    return {"extend": extend, "extendfrac": 0.04}
