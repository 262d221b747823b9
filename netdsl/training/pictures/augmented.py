"""`augmentation`: training samples as they are stored, and as the first epochs saw them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netdsl.graph.recipe import Options
from netdsl.training.data.dataset import raw
from netdsl.training.data.feed import Feed
from netdsl.training.drawing.sketches import coloured_places, reading, sketched
from netdsl.training.drawing.strips import ACROSS, Strip, draw_strips
from netdsl.training.pictures.inspection import fixed_samples

if TYPE_CHECKING:
    from netdsl.graph.types import Tensor
    from netdsl.training.drawing.sketches import Sketch
    from netdsl.training.drawing.style import Figure
    from netdsl.training.runs.views import RunView

LEAST, EPOCHS = 4, 4  # samples that are shown at least, if there are so many


def draw_augmentation(view: RunView) -> Figure:
    """A few training samples in a column each: as stored, and in EPOCHS epochs, with their masks below them."""
    data, recipe, kind = view.dataset, view.net.recipe, view.net.graph.input_type
    feed = Feed(data, recipe)
    shown = max(LEAST, ACROSS[kind.axes])
    rows = np.sort(feed.rows[fixed_samples(len(feed.rows), shown, recipe.seed)])
    stages = seen_in_epochs(feed, rows, EPOCHS)
    x = sketched(np.concatenate([samples for samples, _ in stages]), kind)
    looks = [x[i : i + len(rows)] for i in range(0, len(x), len(rows))]
    names = ["stored", *(f"epoch {epoch}" for epoch in range(1, EPOCHS + 1))]
    if data.has_masks:
        looks = [part for look, (_, y) in zip(looks, stages, strict=True) for part in (look, _places(y, view))]
        names = [part for name in names for part in (name, "")]
    strips = [Strip(f"sample {row}", sketches) for row, *sketches in zip(rows, *looks, strict=True)]
    note = "; ".join(filter(None, (_changes(recipe.augment), reading(kind))))
    return draw_strips("augmentation", strips, names, across=ACROSS[kind.axes], note=note)


def seen_in_epochs(feed: Feed, rows: np.ndarray, epochs: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The training samples `rows` as stored and in epochs 1 to `epochs`, with their targets, as a batch of these would
    be; bytes stay bytes."""
    x, y = feed.data.x_train[rows], feed.data.y_train[rows]
    augmentation, axes = feed.augmentation, feed.data.input_type.axes
    assert augmentation is not None, "the recipe augments"
    stages = [(x, y)]
    for epoch in range(1, epochs + 1):
        seen, moved = augmentation.images(x, rows, epoch), y
        if feed.moves_targets:
            moved = augmentation.maps(y, rows, epoch, axes)
        if augmentation.mixes:
            seen, _ = augmentation.mixed(raw(seen), np.zeros((len(rows), 1), np.float32), 1, epoch, 1)
        stages.append((_as_stored(seen, x.dtype), moved))
    return stages


def _as_stored(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """x, bytes or their numbers from 0 to 1 -> bytes, where these are stored."""
    if dtype != np.uint8 or x.dtype == np.uint8:
        return x
    values: np.ndarray = np.rint(255 * np.clip(x, 0, 1)).astype(np.uint8)
    return values


def _places(masks: np.ndarray, view: RunView) -> list[Sketch]:
    kind: Tensor = view.net.graph.output_type
    return coloured_places(masks, kind, len(view.dataset.classes))


def _changes(augment: Options) -> str:
    """`augment shift=2 flip`, as the recipe says it."""
    return "augment " + " ".join(name if amount is True else f"{name}={amount:g}" for name, amount in augment.items())
