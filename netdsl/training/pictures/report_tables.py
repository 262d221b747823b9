"""The tables of a run's report: layers, epochs, classes, and how the run was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from netdsl.analysis.summary import HEAD
from netdsl.ground.diagnostics import plain
from netdsl.ground.files import read_json
from netdsl.training.runs.history import cells, titles
from netdsl.training.scores.measures import intersection_over_union

if TYPE_CHECKING:
    from netdsl.analysis.summary import Summary
    from netdsl.training.runs.history import History
    from netdsl.training.runs.views import RunView

MOST_ENVIRONMENT, MOST_SHOWN = 2**16, 500  # bytes of env.json, characters of a value in a table
MAX_CLASSES = 50  # rows of the table of classes; of more, those that were classified correctly least often


@dataclass(frozen=True)
class Table:
    """Texts in rows. right: the columns that are set to the right; bars: for each row a share 0 to 1 that is drawn
    behind the text of the column `bar`; None: nothing to draw; foot: a last row, set apart."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: frozenset[int] = frozenset()
    bar: int = -1
    bars: Sequence[float | None] = ()
    foot: Sequence[str] = ()


def layer_table(summary: Summary) -> Table:
    """Every layer with its output, params and MACs, and their sums."""
    return Table("Layers", HEAD, summary.rows(), frozenset({3, 4}), foot=summary.total())


def epoch_table(history: History) -> Table:
    """A row an epoch."""
    names = history.columns
    rows = [cells(row, names) for row in history]
    return Table("Epochs" if history[0].step is None else "Steps", titles(names), rows, frozenset(range(len(names))))


def class_table(confusion: np.ndarray, names: Sequence[str], counts: str = "samples") -> Table:
    """How each class fared, in their order; of very many the worst. counts: what was counted; other than samples they
    are the places of masks, which have an IoU."""
    are_masks = counts != "samples"
    ious = intersection_over_union(confusion)
    samples, correct = confusion.sum(axis=1)[: len(names)], np.diag(confusion)[: len(names)]
    shares = [int(c) / int(s) if s else None for c, s in zip(correct, samples, strict=True)]
    title, shown = "Classes", list(range(len(names)))
    if len(names) > MAX_CLASSES:
        title = f"Classes: the {MAX_CLASSES} of {len(names):,} that were classified correctly least often"
        shown = sorted(shown, key=lambda i: (shares[i] is None, shares[i] or 0.0, i))[:MAX_CLASSES]
    rows = [
        (
            plain(names[i]),
            f"{samples[i]:,}",
            f"{correct[i]:,}",
            *(("" if np.isnan(ious[i]) else f"{ious[i]:.1%}",) if are_masks else ()),
            _share(shares[i]),
            _taken_for(confusion[i], i, names),
        )
        for i in shown
    ]
    iou = ("IoU",) if are_masks else ()
    head = ("class", counts, "correct", *iou, "accuracy", "most often taken for")
    bar = 3 + len(iou)
    return Table(title, head, rows, frozenset(range(1, bar)), bar, [shares[i] for i in shown])


def _share(share: float | None) -> str:
    return "no samples" if share is None else f"{share:.1%}"


def _taken_for(counts: np.ndarray, own: int, names: Sequence[str]) -> str:
    """The class that samples of class `own` were most often mistaken for, and how often; "" where none was."""
    wrong = np.where(np.arange(len(counts)) == own, 0, counts)[: len(names)]
    other = int(wrong.argmax())
    return f"{plain(names[other])} ({int(wrong[other]):,})" if wrong[other] else ""


def recipe_table(view: RunView) -> Table:
    """What was trained how; what was not used is left out."""
    config, recipe = view.run.config, view.run.config.recipe
    values = {f.name.replace("_", " "): getattr(recipe, f.name) for f in fields(recipe)}
    values["data"] = view.run.data
    if recipe.steps is not None:
        values |= {"epochs": None, "every": recipe.steps_a_row}
    unused = {"decay": "all", "accumulate": 1}
    values = {name: None if unused.get(name) == value else value for name, value in values.items()}
    values |= {"limit of samples": config.limit, "backend": f"{config.backend} -O{config.level}"}
    values |= {"workers": config.workers if config.level else None, "threads": config.threads, "netdsl": config.netdsl}
    rows = [(name, _shown(value)) for name, value in values.items() if value is not None and value != {}]
    return Table("Recipe", (), rows)


def _shown(value: object) -> str:
    """A value of a config for people: `lr=0.1, momentum=0.9`."""
    if isinstance(value, Mapping):
        return ", ".join(f"{plain(str(key))}={_shown(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else plain(str(value))


def environment_tables(view: RunView) -> list[Table]:
    """env.json as a table; none where it is missing or damaged, which must not cost the report."""
    try:
        values = read_json(view.run.path / "env.json", MOST_ENVIRONMENT)
        if not isinstance(values, dict):
            return []
        rows = [(plain(name), _shown(value)) for name, value in values.items() if value not in (None, [], {})]
        cut = [(name[:MOST_SHOWN], text[:MOST_SHOWN]) for name, text in rows]
        return [Table("Environment", (), cut)] if rows else []
    except (OSError, ValueError):
        return []
