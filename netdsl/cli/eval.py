"""`netdsl eval`: how good a trained network is."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netdsl.cli.options import device_options, engine_flags, flips_option, run_backend_option, seen_mirrored

if TYPE_CHECKING:
    from netdsl.training.data.dataset import Dataset
    from netdsl.training.scores.evaluation import Scores
    from netdsl.training.scores.task import Task

MAX_CONFUSED, MAX_NAME = 20, 10  # classes in a table of confusion, characters of their names


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", help="Other data than the run's, as for `train`; its test part is used; by default the run's.")
@click.option("--checkpoint", type=click.Choice(["best", "last", "prev"]), help="By default the best, if there is one.")
@click.option("--limit", type=click.IntRange(1), help="Use only the first samples; by default as in training.")
@flips_option()
@run_backend_option()
@device_options()
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object: loss, samples, the measures, per_class, confusion."
)
def command(
    run: Path, data: str | None, checkpoint: str | None, limit: int | None, flips: bool, as_json: bool, **flags: Any
) -> None:
    """Measure the network of the folder RUN on test data: loss, and what fits its task.

    Classes have accuracy, F1 and the confusion, two of them also precision, recall and AUC; masks have the IoU of each
    class and its mean; numbers MAE, RMSE and R2. In `confusion`, row r column c counts the samples, or pixels, of class
    r that were taken for class c.

    Texts and tokens have perplexity, bits and the accuracy of a token. Of the run's own text the validation part is
    measured, of another one, --data FILE.txt, all of it; its characters must be those that the network knows.

    \b
    Examples:
      netdsl eval runs/lenet-1
      netdsl eval runs/lenet-1 --data mnist --json
      netdsl eval runs/resnet20-1 --flips
      netdsl eval runs/char_gpt-1 --data "text diary.txt"
    """
    import json

    from netdsl.cli import say
    from netdsl.training.data.places import data_dir
    from netdsl.training.runs.engine import changed_engine
    from netdsl.training.runs.views import open_run, score_run

    change = partial(changed_engine, given=engine_flags(flags))
    with open_run(run, data_dir(), checkpoint, data, limit, say, change) as view:
        model = seen_mirrored(view.net, view.model) if flips else None
        dataset, scores, task = view.dataset, score_run(view, model), view.task
    if as_json:
        click.echo(json.dumps(_as_dict(scores, task) | ({"flips": len(model.views)} if model else {})))
    else:
        which = f"{view.which} checkpoint{f', {model.described}' if model else ''}"
        click.echo(_as_text(scores, task, dataset, which))


def _per_class(scores: Scores, task: Task) -> list[dict[str, object]]:
    """Samples or places, correct ones and accuracy (None where there are none) of each class, of masks also the IoU."""
    from netdsl.training.scores.measures import intersection_over_union

    if scores.confusion is None:
        return []
    ious = [None if value != value else value for value in intersection_over_union(scores.confusion).tolist()]
    counts, correct = scores.confusion.sum(axis=1).tolist(), scores.confusion.diagonal().tolist()
    unit = task.counts
    return [
        {"class": name, unit: n, "correct": k, "accuracy": k / n if n else None}
        | ({"iou": iou} if task.kind == "masks" else {})
        for name, n, k, iou in zip(task.classes, counts, correct, ious, strict=True)
    ]


def _as_dict(scores: Scores, task: Task) -> dict[str, object]:
    from math import isfinite

    finite = {name: value if value is None or isfinite(value) else None for name, value in scores.values.items()}
    told: dict[str, object] = {
        "loss": scores.loss if isfinite(scores.loss) else None,
        **finite,
        "samples": scores.samples,
    }
    if scores.confusion is None:
        return told
    return told | {"per_class": _per_class(scores, task), "confusion": scores.confusion.tolist()}


def _as_text(scores: Scores, task: Task, dataset: Dataset, which: str) -> str:
    from netdsl.ground.diagnostics import plain

    measures = [f", {measure.title} {measure.shown(scores.values[measure.name])}" for measure in task.measures]
    what = f"windows of {dataset.written.partition(' ')[0]} {task.place}s" if task.writes else "test samples"
    name = f"the validation part of {plain(dataset.name)}" if dataset.held and task.writes else plain(dataset.name)
    samples = f"{scores.samples} {what} of {name}"
    lines = [f"{samples}, {which}: loss {scores.loss:.4f}{''.join(measures)}"]
    names = [plain(str(row["class"])) for row in _per_class(scores, task)]
    tables = [_class_table(scores, task, names), _confusion_table(scores, names)] if names else []
    return "\n".join([*lines, *(line for table in tables if table for line in ("", *table))])


def _class_table(scores: Scores, task: Task, names: list[str]) -> list[str]:
    """A line for each class."""
    from netdsl.ground.tables import table_lines

    unit, shares = task.counts, ("accuracy", *(("iou",) if task.kind == "masks" else ()))
    rows = [("class", unit, "correct", *("IoU" if key == "iou" else key for key in shares))]
    for name, row in zip(names, _per_class(scores, task), strict=True):
        given = ["-" if row[key] is None else f"{row[key]:.2%}" for key in shares]
        rows.append((name, str(row[unit]), str(row["correct"]), *given))
    return table_lines(rows)


def _confusion_table(scores: Scores, names: list[str]) -> list[str]:
    """How often each class (row) was taken for which (column), unless there are too many; `.` is never."""
    from netdsl.ground.tables import table_lines

    if scores.confusion is None or not 2 <= len(names) <= MAX_CONFUSED:
        return []
    short = [name[:MAX_NAME] for name in names]
    cells = [[str(count) if count else "." for count in row] for row in scores.confusion.tolist()]
    return table_lines([("taken for", *short), *((name, *row) for name, row in zip(short, cells, strict=True))])
