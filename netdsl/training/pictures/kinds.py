"""Pictures of a run, fit for a paper: what is shown is computed in netdsl.training.pictures.inspection.

matplotlib is imported when a picture is drawn, not before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl.analysis.receptive_field import windowed_layers
from netdsl.ground.diagnostics import UserError, did_you_mean, plain
from netdsl.ground.files import write_atomic
from netdsl.training.drawing.sketches import (
    as_numbers,
    coloured_places,
    compared,
    differences,
    heated,
    no_sketch,
    reading,
    sketched,
)
from netdsl.training.drawing.style import (
    RIGHT,
    UNKNOWN,
    WRONG,
    png_bytes,
    short_names,
    style,
    svg_text,
    unreadable,
)
from netdsl.training.pictures import inspection, sensitivity
from netdsl.training.pictures.answered import draw_answers
from netdsl.training.pictures.attention import (
    attention_layers,
    attention_maps,
    draw_attention,
    has_few_maps,
    heads_of,
    subject_of,
)
from netdsl.training.pictures.inspection import Answers
from netdsl.training.runs.views import score_run
from netdsl.training.scores.evaluation import Scores
from netdsl.training.scores.fitting import is_copy

if TYPE_CHECKING:
    from netdsl.graph.types import Tensor
    from netdsl.training.drawing.style import Figure
    from netdsl.training.runs.views import RunView

__all__ = [
    "FORMATS",
    "KINDS",
    "draw",
    "draw_answers",
    "figures",
    "fitting_kinds",
    "font_note",
    "png_bytes",
    "save",
    "svg_text",
    "usual_kinds",
]

OF_TASKS: tuple[str, ...] = ("confusion", "roc", "masks", "regression", "reconstructions", "mistakes", "predictions")
KINDS = ("curves", *OF_TASKS, "saliency", "filters", "features", "attention", "statistics", "receptive", "augmentation")
IF_NAMED = ("augmentation",)  # and `saliency` of images, `attention` of very many heads: not drawn by themselves
FORMATS = ("png", "svg")
SHOWN, WRONG_SHOWN = 8, 12  # samples in `predictions` and in `mistakes`
HEAT_MAPS = 3  # in `receptive`
STRIPS, POINTS = 8, 2000  # samples in `masks`, `reconstructions` and `saliency`, points in `regression`


@dataclass(frozen=True)
class Options:
    """image (C, *space) as read from a file, or a test sample by its index: what `features`, `receptive` and
    `attention` show; text: what `attention` shows of a network that learned a text; layer: the one that `features` and
    `receptive` show; answers, scores: those of all test samples, where they are known."""

    image: np.ndarray | None = None
    sample: int = 0
    layer: str | None = None
    text: str | None = None
    answers: Answers | None = None
    scores: Scores | None = None


def fitting_kinds(view: RunView) -> tuple[str, ...]:
    """The kinds that can be drawn of this run."""
    return tuple(kind for kind in KINDS if not why_not(kind, view))


def usual_kinds(view: RunView) -> tuple[str, ...]:
    """The kinds that are drawn where none is named: all that fit, but for IF_NAMED."""
    graph = view.net.graph
    left = (*IF_NAMED, *(("saliency",) if graph.input_type.is_image else ()))
    left = (*left, *(() if has_few_maps(graph) else ("attention",)))
    return tuple(kind for kind in fitting_kinds(view) if kind not in left)


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
    if kind in OF_TASKS and kind not in view.task.plots:
        return f"its network learns {view.task.what}"
    if kind in ("masks", "reconstructions"):
        return "" if graph.output_type.is_map and graph.input_type.is_map else "what it gives are no pictures"
    if kind in ("confusion", "roc", "regression", "statistics"):
        return ""
    if kind == "augmentation" and not view.net.recipe.augment:
        return "its training changed no samples (`augment`)"
    if kind == "attention":
        return "" if attention_layers(graph) else "no layer of it is attention"
    if reason := no_sketch(graph.input_type):
        return f"the samples of `{plain(dataset.name)}` are {reason}"
    if kind == "saliency" and not view.task.gives_one_class:
        return f"its network learns {view.task.what}"
    if kind == "filters" and inspection.first_filters(view) is None:
        one, place = "x".join("1" * graph.input_type.axes), graph.input_type.place
        return f"its first layer with weights has neither filters larger than {one} nor a weight for each {place}"
    if kind == "features" and inspection.first_block(graph) is None:
        return "no layer gives maps"
    if kind == "receptive" and not windowed_layers(graph):
        return "no layer is a convolution or pooling"
    return ""


def draw(kind: str, view: RunView, **options: Any) -> Figure:
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


def figures(view: RunView, kinds: Iterable[str], **options: Any) -> Iterator[tuple[str, Figure]]:
    """Each kind with its picture, checked before the first is drawn; all share one pass over the test samples."""
    given, kinds = Options(**options), tuple(kinds)
    for kind in kinds:
        _check_fits(kind, view)
    for kind in kinds:
        if kind in ("confusion", "roc") and given.scores is None:
            given = replace(given, scores=score_run(view))
        if kind == "mistakes" and given.answers is None:
            given = replace(given, answers=inspection.answers(view))
        yield kind, draw(kind, view, **vars(given))


def save(figure: Figure, stem: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Writes `stem`.png and `stem`.svg, all or nothing each; the same picture gives the same bytes. Raises OSError."""
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in formats]
    for path, suffix in zip(paths, formats, strict=True):
        write_atomic(path, png_bytes(figure) if suffix == "png" else _svg_file(figure))
    return paths


def _svg_file(figure: Figure) -> str:
    return '<?xml version="1.0" encoding="utf-8"?>\n' + svg_text(figure)


def _curves(view: RunView, options: Options) -> Figure:
    from netdsl.training.drawing.curves import draw_curves

    history = view.history
    return draw_curves(history.column, history.best.epoch if history.best else None, view.net.recipe.loss)


def _confusion(view: RunView, options: Options) -> Figure:
    from netdsl.training.pictures.classes import draw_confusion

    scores = options.scores or score_run(view)
    assert scores.confusion is not None, "the picture is one of tasks with classes"
    return draw_confusion(inspection.Confusion(scores.confusion, view.dataset.classes))


def _roc(view: RunView, options: Options) -> Figure:
    from netdsl.training.pictures.classes import draw_roc

    scores = options.scores or score_run(view)
    return draw_roc(scores, view.dataset.classes)


def _masks(view: RunView, options: Options) -> Figure:
    from netdsl.training.drawing.strips import Strip, draw_strips

    ious, data, graph = inspection.mask_ious(view), view.dataset, view.net.graph
    order = np.argsort(ious, kind="stable")
    half = min(STRIPS, len(order)) // 2
    rows = np.concatenate([order[: min(STRIPS, len(order)) - half], order[len(order) - half :]])
    places = (data.y_test[rows], inspection.masks_of(view, rows))
    true, said = (coloured_places(masks, graph.output_type, len(data.classes)) for masks in places)
    parts = zip(rows, as_numbers(data.x_test[rows], graph.input_type), true, said, strict=True)
    strips = [Strip(f"sample {row}", sketches, f"IoU {ious[row]:.1%}") for row, *sketches in parts]
    names = ("input", "true mask" if graph.output_type.axes > 1 else "true", "predicted")
    return draw_strips("masks", strips, names, data.classes, **_layout(graph.input_type))


def _layout(kind: Tensor) -> dict[str, Any]:
    """How strips of samples of that type stand, and what is said above them."""
    from netdsl.training.drawing.strips import ACROSS

    return {"across": ACROSS[kind.axes], "note": reading(kind)}


def _regression(view: RunView, options: Options) -> Figure:
    from netdsl.training.pictures.numbers import draw_regression

    data, seed = view.dataset, view.net.recipe.seed
    outputs = int(np.prod(data.y_test.shape[1:]))
    rows = inspection.fixed_samples(len(data.x_test), max(1, POINTS // min(outputs, POINTS)), seed)
    return draw_regression(inspection.numbers(view, np.sort(rows)), len(data.x_test), POINTS)


def _reconstructions(view: RunView, options: Options) -> Figure:
    from netdsl.training.drawing.strips import Strip, draw_strips

    data, graph = view.dataset, view.net.graph
    rows = np.sort(inspection.fixed_samples(len(data.x_test), STRIPS, view.net.recipe.seed))
    numbers, kind = inspection.numbers(view, rows), graph.output_type
    ends, true = compared(numbers.predicted, numbers.true, kind)
    errors = numbers.predicted - numbers.true
    gaps, largest = differences(errors, kind)
    inputs = true if is_copy(data) else as_numbers(data.x_test[rows], graph.input_type)
    middle = () if is_copy(data) else (true,)
    strips = [
        Strip(f"sample {row}", (*sketches, gap), f"MAE {np.abs(error).mean():.3g}")
        for row, error, gap, *sketches in zip(rows, errors, gaps, inputs, ends, *middle, strict=True)
    ]
    difference = "difference" if kind.axes > 1 else f"difference, \N{PLUS-MINUS SIGN}{largest:.2g}"
    names = ("input", "output", *(("target",) if middle else ()), difference)
    scale = largest if kind.axes > 1 else None
    return draw_strips("reconstructions", strips, names, largest=scale, **_layout(graph.input_type))


def _mistakes(view: RunView, options: Options) -> Figure:
    from netdsl.training.pictures.samples import draw_mistakes

    answers, data, kind = options.answers or inspection.answers(view), view.dataset, view.net.graph.input_type
    worst = inspection.mistakes(answers, WRONG_SHOWN)
    shown = sketched(data.x_test[[m.sample for m in worst]], kind)
    wrong = int((answers.said != answers.labels).sum())
    pairs = list(zip(worst, shown, strict=True))
    return draw_mistakes(pairs, data.classes, wrong, len(answers.labels), reading(kind))


def _predictions(view: RunView, options: Options) -> Figure:
    from netdsl.training.pictures.samples import Prediction, draw_predictions

    data, kind = view.dataset, view.net.graph.input_type
    rows = inspection.fixed_samples(len(data.x_test), SHOWN, view.net.recipe.seed)
    answers, shown = inspection.answers(view, rows), sketched(data.x_test[rows], kind)
    parts = zip(rows, shown, answers.p, answers.labels, strict=True)
    samples = [Prediction(f"sample {row}", sketch, p, int(label)) for row, sketch, p, label in parts]
    return draw_predictions(samples, data.classes, note=reading(kind))


def _saliency(view: RunView, options: Options) -> Figure:
    from netdsl.training.drawing.strips import Strip, draw_strips

    data, kind = view.dataset, view.net.graph.input_type
    rows = np.sort(inspection.fixed_samples(len(data.x_test), STRIPS, view.net.recipe.seed))
    moved = sensitivity.saliencies(view, rows)
    sketches = heated(data.x_test[rows], np.stack([one.heat for one in moved]), kind)
    names = short_names(data.classes, 16)
    strips = [
        Strip(
            f"sample {one.sample}",
            sketch,
            f"{RIGHT if one.said == data.y_test[one.sample] else WRONG} {names[one.said]}, {one.probability:.1%}",
        )
        for one, sketch in zip(moved, sketches, strict=True)
    ]
    above = "orange: what moves the logit of the class that it says most"
    labels = ("",) if kind.axes == 1 else ("input", "saliency")
    layout = _layout(kind)
    note = "; ".join(filter(None, (above, layout["note"])))
    return draw_strips("saliency", strips, labels, **layout | {"note": note})


def _filters(view: RunView, options: Options) -> Figure:
    from netdsl.training.pictures.maps import draw_filters

    filters = inspection.first_filters(view)
    assert filters is not None, "`why_not` has told"
    is_output = filters.name == view.net.graph.nodes[-1].name
    return draw_filters(filters, view.dataset.classes if is_output else ())


def _features(view: RunView, options: Options) -> Figure:
    from netdsl.training.pictures.maps import draw_features

    x, sketch = inspection.subject(view, options.sample, options.image)
    features = inspection.feature_maps(view, x, options.layer)
    covered = sensitivity.covered_steps(view.net.graph, features.name)
    return draw_features(features, sketch, _caption(view, options), covered)


def _caption(view: RunView, options: Options) -> str:
    if options.image is not None:
        return "the image"
    data = view.dataset
    name = f": {data.classes[data.y_test[options.sample]]}" if view.task.gives_one_class else ""
    return f"test sample {options.sample}{name}"


def _attention(view: RunView, options: Options) -> Figure:
    subject, nodes = subject_of(view, options.text, options.sample, options.image), attention_layers(view.net.graph)
    subject = replace(subject, caption=subject.caption or _caption(view, options))
    return draw_attention(attention_maps(view, subject), subject, len(nodes), heads_of(nodes))


def _statistics(view: RunView, options: Options) -> Figure:
    from netdsl.training.pictures.learning import draw_statistics

    return draw_statistics(inspection.layer_statistics(view))


def _augmentation(view: RunView, options: Options) -> Figure:
    from netdsl.training.pictures.augmented import draw_augmentation

    return draw_augmentation(view)


def _receptive(view: RunView, options: Options) -> Figure:
    from netdsl.training.pictures.fields import draw_receptive, spread

    graph, fields = view.net.graph, sensitivity.receptive_fields(view.net.graph)
    growing = sensitivity.growing_fields(fields)
    wanted = spread(growing, HEAT_MAPS)
    if options.layer is not None:
        names = [field.name for _, field in fields]
        index = inspection.layer_index(graph, options.layer, names, "convolution or pooling that gives maps")
        wanted = [(i, field) for i, field in fields if i == index]
    _, sketch = inspection.subject(view, options.sample, options.image)
    effective = sensitivity.effective_fields(view, wanted)
    return draw_receptive(sketch, [field for _, field in growing], effective, _caption(view, options))


_DRAW = {
    "curves": _curves,
    "confusion": _confusion,
    "roc": _roc,
    "masks": _masks,
    "regression": _regression,
    "reconstructions": _reconstructions,
    "mistakes": _mistakes,
    "predictions": _predictions,
    "saliency": _saliency,
    "filters": _filters,
    "features": _features,
    "attention": _attention,
    "statistics": _statistics,
    "receptive": _receptive,
    "augmentation": _augmentation,
}
