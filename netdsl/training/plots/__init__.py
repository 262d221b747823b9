"""Pictures of a run, fit for a paper: what is shown is computed in netdsl.training.inspection.

matplotlib is imported when a picture is drawn, not before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netdsl.analysis.receptive_field import windowed_layers
from netdsl.diagnostics import UserError, did_you_mean, plain
from netdsl.files import write_atomic
from netdsl.training import inspection
from netdsl.training.inspection import Answers
from netdsl.training.plots.style import UNKNOWN, png_bytes, style, svg_text, unreadable
from netdsl.training.tiles import is_image, pictures

if TYPE_CHECKING:
    from netdsl.training.plots.style import Figure
    from netdsl.training.views import RunView

__all__ = [
    "FORMATS",
    "KINDS",
    "draw",
    "draw_images",
    "figures",
    "fitting_kinds",
    "font_note",
    "png_bytes",
    "save",
    "svg_text",
]

KINDS = ("curves", "confusion", "mistakes", "predictions", "filters", "features", "statistics", "receptive")
FORMATS = ("png", "svg")
SHOWN, WRONG_SHOWN = 8, 12  # samples in `predictions` and in `mistakes`
HEAT_MAPS = 3  # in `receptive`
NO_CLASSES = "the run is a regression: it has no classes"


@dataclass(frozen=True)
class Options:
    """image (C, H, W) as read from a file, or a test sample by its index: what `features` and `receptive` show; layer:
    the one they show; answers: those about all test samples, where they are known."""

    image: np.ndarray | None = None
    sample: int = 0
    layer: str | None = None
    answers: Answers | None = None


def fitting_kinds(view: RunView) -> tuple[str, ...]:
    """The kinds that can be drawn of this run."""
    return tuple(kind for kind in KINDS if not why_not(kind, view))


def font_note(names: Iterable[str]) -> str | None:
    """A sentence where the pictures cannot show these names, since no installed font has their characters."""
    missing = unreadable(names)
    if not missing:
        return None
    shown = missing if len(missing) <= 12 else f"{missing[:12]}..."
    return f"no installed font has `{shown}`: plots show {UNKNOWN} there; install one that has (Noto has most scripts)"


def why_not(kind: str, view: RunView) -> str:
    """Why this kind cannot be drawn of the run, a sentence; "" where it can."""
    dataset, graph = view.dataset, view.net.graph
    if kind == "curves":
        return "" if len(view.history) else "no epoch was finished"
    if kind in ("confusion", "mistakes", "predictions") and not dataset.classes:
        return NO_CLASSES
    if kind in ("confusion", "statistics"):
        return ""
    if not is_image(graph.input_shape):
        return f"the samples of `{plain(dataset.name)}` are no images"
    if kind == "filters" and inspection.first_filters(view) is None:
        return "its first layer with weights has neither filters larger than 1x1 nor a weight for each pixel"
    if kind == "features" and inspection.first_block(graph) is None:
        return "no layer gives maps"
    if kind == "receptive" and not windowed_layers(graph):
        return "no layer is a convolution or pooling"
    return ""


def draw(kind: str, view: RunView, **options: object) -> Figure:
    """The picture of that kind; options are those of `Options`. Raises UserError for a kind that does not fit the run,
    an unknown layer and a sample that does not exist."""
    _check_fits(kind, view)
    with style():
        return _DRAW[kind](view, Options(**options))


def _check_fits(kind: str, view: RunView) -> None:
    if kind not in KINDS:
        guess = did_you_mean(kind, KINDS)
        known = f"known are {', '.join(f'`{k}`' for k in KINDS)}"
        raise UserError(f"there is no plot `{plain(kind)}`", help=f"did you mean `{guess}`?" if guess else known)
    if reason := why_not(kind, view):
        fitting = ", ".join(f"`{k}`" for k in fitting_kinds(view))
        raise UserError(f"the run has no plot `{kind}`: {reason}", help=f"it has {fitting}")


def figures(view: RunView, kinds: Iterable[str], **options: object) -> Iterator[tuple[str, Figure]]:
    """Each kind with its picture, checked before the first is drawn; all share one look at the test samples."""
    given, kinds = Options(**options), tuple(kinds)
    for kind in kinds:
        _check_fits(kind, view)
    for kind in kinds:
        if kind in ("confusion", "mistakes") and given.answers is None:
            given = replace(given, answers=inspection.answers(view))
        yield kind, draw(kind, view, **vars(given))


def draw_images(images: Sequence[tuple[str, np.ndarray, np.ndarray]], classes: tuple[str, ...]) -> Figure:
    """Images that no data set has: the title, pixels (C, H, W) uint8 and probabilities (K,) of each."""
    from netdsl.training.plots.samples import Prediction, draw_predictions

    shown = [Prediction(title, pictures(pixels[None])[0], p) for title, pixels, p in images]
    with style():
        return draw_predictions(shown, classes)


def save(figure: Figure, stem: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Writes `stem`.png and `stem`.svg, all or nothing each; the same picture gives the same bytes. Raises OSError."""
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in formats]
    for path, suffix in zip(paths, formats, strict=True):
        write_atomic(path, png_bytes(figure) if suffix == "png" else _svg_file(figure))
    return paths


def _svg_file(figure: Figure) -> str:
    return '<?xml version="1.0" encoding="utf-8"?>\n' + svg_text(figure)


def _curves(view: RunView, options: Options) -> Figure:
    from netdsl.training.plots.curves import draw_curves

    return draw_curves(view)


def _confusion(view: RunView, options: Options) -> Figure:
    from netdsl.training.plots.classes import draw_confusion

    found = options.answers or inspection.answers(view)
    return draw_confusion(inspection.confusion(found, view.dataset.classes))


def _mistakes(view: RunView, options: Options) -> Figure:
    from netdsl.training.plots.samples import draw_mistakes

    found, data = options.answers or inspection.answers(view), view.dataset
    worst = inspection.mistakes(found, WRONG_SHOWN)
    shown = pictures(data.x_test[[m.sample for m in worst]])
    wrong = int((found.said != found.labels).sum())
    return draw_mistakes(list(zip(worst, shown, strict=True)), data.classes, wrong, len(found.labels))


def _predictions(view: RunView, options: Options) -> Figure:
    from netdsl.training.plots.samples import Prediction, draw_predictions

    data = view.dataset
    rows = inspection.fixed_samples(len(data.x_test), SHOWN, view.net.recipe.seed)
    found, shown = inspection.answers(view, rows), pictures(data.x_test[rows])
    parts = zip(rows, shown, found.p, found.labels, strict=True)
    samples = [Prediction(f"sample {row}", picture, p, int(label)) for row, picture, p, label in parts]
    return draw_predictions(samples, data.classes)


def _filters(view: RunView, options: Options) -> Figure:
    from netdsl.training.plots.maps import draw_filters

    filters = inspection.first_filters(view)
    is_output = filters.name == view.net.graph.nodes[-1].name
    return draw_filters(filters, view.dataset.classes if is_output else ())


def _features(view: RunView, options: Options) -> Figure:
    from netdsl.training.plots.maps import draw_features

    x, picture = inspection.subject(view, options.sample, options.image)
    return draw_features(inspection.feature_maps(view, x, options.layer), picture, _caption(view, options))


def _caption(view: RunView, options: Options) -> str:
    if options.image is not None:
        return "the image"
    data = view.dataset
    name = f": {data.classes[data.y_test[options.sample]]}" if data.classes else ""
    return f"test sample {options.sample}{name}"


def _statistics(view: RunView, options: Options) -> Figure:
    from netdsl.training.plots.learning import draw_statistics

    return draw_statistics(inspection.layer_statistics(view))


def _receptive(view: RunView, options: Options) -> Figure:
    from netdsl.training.plots.fields import draw_receptive, spread

    graph, fields = view.net.graph, inspection.receptive_fields(view.net.graph)
    growing = inspection.growing_fields(fields)
    wanted = spread(growing, HEAT_MAPS)
    if options.layer is not None:
        names = [field.name for _, field in fields]
        index = inspection.layer_index(graph, options.layer, names, "convolution or pooling that gives maps")
        wanted = [(i, field) for i, field in fields if i == index]
    _, picture = inspection.subject(view, options.sample, options.image)
    return draw_receptive(picture, [field for _, field in growing], inspection.effective_fields(view, wanted))


_DRAW = {
    "curves": _curves,
    "confusion": _confusion,
    "mistakes": _mistakes,
    "predictions": _predictions,
    "filters": _filters,
    "features": _features,
    "statistics": _statistics,
    "receptive": _receptive,
}
