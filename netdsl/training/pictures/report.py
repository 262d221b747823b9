"""report.html: one page that shows a finished run, with nothing to fetch and nothing that runs.

The template lays out; everything it says is prepared here. Texts from outside (names of classes, the spec, the data's
path) are escaped by Jinja; only drawings are inserted as they are: those of netdsl.training.pictures and the diagram.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from netdsl.analysis.diagram import diagram_svg
from netdsl.ground.diagnostics import plain
from netdsl.ground.files import write_atomic
from netdsl.training.pictures.kinds import OF_TASKS
from netdsl.training.pictures.report_tables import (
    Table,
    class_table,
    environment_tables,
    epoch_table,
    layer_table,
    recipe_table,
)

if TYPE_CHECKING:
    from netdsl.training.runs.history import History
    from netdsl.training.runs.views import RunView
    from netdsl.training.scores.evaluation import Scores

WIDE = 400.0  # CSS pixels: a figure that is wider gets a row of its own

CAPTIONS = {
    "curves": (
        "Learning curves",
        "Loss, measures and learning rate of each epoch; training data, and data it did not learn from.",
    ),
    "roc": ("ROC curve", "Both shares while the threshold falls; the dotted line is guessing."),
    "masks": ("Masks", "Test samples with the lowest IoU, and those with the highest."),
    "regression": (
        "Predicted against true",
        "On the grey line a prediction is right; right: how large the errors are.",
    ),
    "reconstructions": ("Reconstructions", "Test samples, what the network makes of them, and the difference."),
    "confusion": ("Confusion matrix", "Rows are the true classes, columns what the network took them for."),
    "mistakes": ("Most confident mistakes", "Test samples that it classified wrongly, the surest first."),
    "predictions": ("Predictions", "Test samples with the probabilities that the network gives."),
    "saliency": (
        "Saliency",
        "Where a test sample would have to change least to change the probability of its class.",
    ),
    "filters": ("Learned filters", "The weights of the first layer, each scaled on its own."),
    "features": ("Feature maps", "What the first layers make of one test sample."),
    "statistics": ("Activations and gradients", "How large they are, layer by layer, over one batch."),
    "receptive": ("Receptive field", "The part of the input that one value of a layer can depend on."),
}
IN_SECTIONS = {
    "training": ("curves",),
    "test": OF_TASKS,
    "inside": ("saliency", "filters", "features", "statistics", "receptive"),
}


@dataclass(frozen=True)
class Figure:
    """A drawing with its words; a wide one gets a row of its own."""

    title: str
    caption: str
    markup: Markup
    is_wide: bool


@dataclass(frozen=True)
class Section:
    """A part of the page: figures and tables in their order."""

    name: str
    title: str
    parts: Sequence[Figure | Table]


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("netdsl.training.pictures"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=True,
    )


def report_html(view: RunView, scores: Scores, figures: Mapping[str, str]) -> str:
    """The page as text.

    scores: those of the test data. figures: kind -> its `<svg>` or `<img>` markup, as this folder makes it,
    in any order.
    """
    graph = replace(view.net.graph, name=view.run.config.spec)
    summary = view.net.summary()
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            title=f"{plain(view.run.config.spec)} on {plain(Path(view.run.data).name)}",
            verdict=_verdict(view, scores),
            tiles=_tiles(view, scores),
            spec=_lines(view.net.source.text),
            layers=layer_table(summary),
            facts=summary.facts(),
            diagram=Markup(diagram_svg(graph)),
            sections=_sections(view, scores, figures),
            commands=_commands(view),
        )
    )


def write_report(view: RunView, scores: Scores, figures: Mapping[str, str]) -> Path:
    """Writes report.html of the run, all or nothing, and returns its path. Raises OSError."""
    path = view.run.path / "report.html"
    write_atomic(path, report_html(view, scores, figures))
    return path


# -------------------------------------------------------------------------------------------- what it came to


def duration(seconds: float) -> str:
    """`0.4 s`, `52 s`, `5 min 18 s`, `2 h 3 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"


def _tiles(view: RunView, scores: Scores) -> list[tuple[str, str]]:
    """Words and numbers at the top of the page."""
    history = view.history
    speeds = [speed for speed in history.column("samples_per_second") if speed is not None]
    times = [seconds for seconds in history.column("seconds") if seconds is not None]
    measures = [measure for measure in view.task.measures if scores.values.get(measure.name) is not None]
    tiles = [(f"test {measure.title}", measure.shown(scores.values[measure.name])) for measure in measures]
    tiles += [("test loss", f"{scores.loss:.4g}"), _length(history)]
    tiles += [("time in training steps", duration(sum(times)))] if times else []
    tiles += [("samples a second", f"{median(speeds):,.0f}")] if speeds else []
    return [*tiles, ("params", f"{view.net.graph.num_params:,}")]


def _length(history: History) -> tuple[str, str]:
    """How long the run was: its epochs, or its steps where it is counted in these."""
    steps = history[-1].step if len(history) else None
    return ("epochs", str(len(history))) if steps is None else ("steps", f"{steps:,}")


def _verdict(view: RunView, scores: Scores) -> str:
    """The result in a sentence."""
    unit = "epoch" if view.run.config.recipe.steps is None else "step"
    weights = f"of the {view.which} {unit}" if view.which in ("best", "last") else f"of `{plain(view.which)}`"
    task, leading = view.task, view.task.leading
    noun = (
        f"window{'s' * (scores.samples != 1)} of {view.net.graph.input_type.length} {task.place}s"
        if task.writes
        else ""
    )
    samples = f"{scores.samples:,} test {noun or ('sample' if scores.samples == 1 else 'samples')}"
    if scores.confusion is None:
        value = scores.values.get(leading.name)
        said = f", the {leading.title} {leading.shown(value)}" if value is not None else ""
        return f"The mean loss of {samples} is {scores.loss:.4g}{said}, with the weights {weights}."
    share = scores.confusion.sum(axis=1).max() / scores.confusion.sum()
    guess = f"Always saying the most frequent class would be right for {share:.1%}"
    if task.kind == "masks":
        text = f"{scores.accuracy:.1%} of the {task.counts} of {samples} were classified correctly"
        iou = leading.shown(scores.values.get(leading.name))
        return f"{text}, the {leading.title} is {iou}, with the weights {weights}. {guess}."
    correct = int(np.trace(scores.confusion))
    text = f"{correct:,} of {samples} were classified correctly, {scores.samples - correct:,} were not"
    return f"{text}, with the weights {weights}. {guess}."


# -------------------------------------------------------------------------------------------- figures and tables


def _sections(view: RunView, scores: Scores, figures: Mapping[str, str]) -> list[Section]:
    """The parts that this run has."""
    history, names = view.history, view.dataset.classes
    drawn = {
        section: [_figure(kind, figures[kind]) for kind in kinds if kind in figures]
        for section, kinds in IN_SECTIONS.items()
    }
    epochs = [epoch_table(history)] if len(history) else []
    classes = [class_table(scores.confusion, names, view.task.counts)] if scores.confusion is not None and names else []
    others = [kind for kind in figures if not any(kind in kinds for kinds in IN_SECTIONS.values())]
    sections = [
        Section("training", "Training", [*drawn["training"], *epochs]),
        Section("test", "On test data", [*drawn["test"][:1], *classes, *drawn["test"][1:]]),
        Section("inside", "Inside the network", drawn["inside"]),
        Section("more", "More figures", [_figure(kind, figures[kind]) for kind in others]),
        Section("made", "How it was made", [recipe_table(view), *environment_tables(view)]),
    ]
    return [section for section in sections if section.parts]


def _figure(kind: str, markup: str) -> Figure:
    title, caption = CAPTIONS.get(kind, (plain(kind).capitalize(), ""))
    return Figure(title, caption, Markup(markup), _is_wide(markup))


def _is_wide(markup: str) -> bool:
    """True unless the drawing says that it is narrow."""
    size = re.search(r'<(?:svg|img)\b[^>]*?\swidth="([\d.]+)(pt|px|in|)"', markup)
    scale = {"pt": 96 / 72, "in": 96.0}
    return size is None or float(size[1]) * scale.get(size[2], 1.0) > WIDE


def _lines(text: str) -> str:
    """The text with control characters made visible, line by line."""
    return "\n".join(plain(line.expandtabs(4)) for line in text.splitlines())


def _commands(view: RunView) -> list[tuple[str, str]]:
    """What to type next, and what it does."""
    run = shlex.quote(plain(str(view.run.path)))
    recipe = view.run.config.recipe
    unit, more = ("epochs", 2 * recipe.epochs) if recipe.steps is None else ("steps", 2 * recipe.steps)
    next_steps = [
        (f"netdsl train --resume {run} --{unit} {more}", f"go on, to twice as many {unit}"),
        (f"netdsl eval {run}", "measure it again; with --data on other data"),
    ]
    takes = view.net.graph.input_type
    table = ("FILE", "let it predict the rows of a csv, npz or npy")
    if takes.is_map:
        table = ("FILE", f"let it predict {'a wav or ' if takes.axes == 1 else ''}the samples of a csv, npz or npy")
    what = ("IMAGE...", "let it look at pictures") if takes.is_image else table
    predict = (f"netdsl predict {run} {what[0]}", what[1])
    next_steps.append((f"netdsl sample {run}", "let it write") if view.task.writes else predict)
    return [*next_steps, (f"netdsl plot {run}", "draw the figures of this page as files")]
