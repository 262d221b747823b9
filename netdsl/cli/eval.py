"""`netdsl eval`: how good a trained network is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from netdsl.training.datasets import Dataset
    from netdsl.training.evaluation import Scores

MAX_CONFUSED, MAX_NAME = 20, 10  # classes in a table of confusion, characters of their names


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--data", help="Other data than the run's; its test part is used; by default the run's.")
@click.option("--checkpoint", type=click.Choice(["best", "last", "prev"]), help="By default the best, if there is one.")
@click.option("--limit", type=click.IntRange(1), help="Use only the first samples; by default as in training.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: loss, accuracy, samples, per_class, confusion.")
def command(run: Path, data: str | None, checkpoint: str | None, limit: int | None, as_json: bool) -> None:
    """Measure the network of the folder RUN on test data: loss, accuracy, that of each class, and the confusion.

    In `confusion`, row r column c counts the samples of class r that were taken for class c.

    \b
    Examples:
      netdsl eval runs/lenet-1
      netdsl eval runs/lenet-1 --data mnist --json
    """
    import json

    from netdsl.cli import say
    from netdsl.cli.options import data_dir
    from netdsl.training.views import open_run, score_run

    with open_run(run, data_dir(), checkpoint, data, limit, say) as view:
        dataset, scores = view.dataset, score_run(view)
    click.echo(json.dumps(_as_dict(scores, dataset.classes)) if as_json else _as_text(scores, dataset, view.which))


def _per_class(scores: Scores, classes: tuple[str, ...]) -> list[dict[str, object]]:
    """Samples, correct ones and accuracy (None without samples) of each class."""
    if scores.confusion is None:
        return []
    rows = zip(classes, scores.confusion.sum(axis=1).tolist(), scores.confusion.diagonal().tolist(), strict=True)
    return [{"class": c, "samples": n, "correct": k, "accuracy": k / n if n else None} for c, n, k in rows]


def _as_dict(scores: Scores, classes: tuple[str, ...]) -> dict[str, object]:
    from math import isfinite

    confusion = [] if scores.confusion is None else scores.confusion.tolist()
    return {
        "loss": scores.loss if isfinite(scores.loss) else None,
        "accuracy": scores.accuracy,
        "samples": scores.samples,
        "per_class": _per_class(scores, classes),
        "confusion": confusion,
    }


def _as_text(scores: Scores, dataset: Dataset, which: str) -> str:
    from netdsl.diagnostics import plain

    accuracy = "" if scores.accuracy is None else f", accuracy {scores.accuracy:.2%}"
    samples = f"{scores.samples} test samples of {plain(dataset.name)}"
    lines = [f"{samples}, {which} checkpoint: loss {scores.loss:.4f}{accuracy}"]
    rows = [(plain(str(row["class"])), row) for row in _per_class(scores, dataset.classes)]
    width = max([5, *(len(name) for name, _ in rows)])
    lines += ["", f"{'class':{width}}  samples  correct  accuracy"] if rows else []
    for name, row in rows:
        share = "-" if row["accuracy"] is None else f"{row['accuracy']:.2%}"
        lines.append(f"{name:{width}}  {row['samples']:7}  {row['correct']:7}  {share:>8}")
    return "\n".join([*lines, *_confusion_table(scores, [name for name, _ in rows])])


def _confusion_table(scores: Scores, names: list[str]) -> list[str]:
    """How often each class (row) was taken for which (column), unless there are too many; `.` is never."""
    if not 2 <= len(names) <= MAX_CONFUSED:
        return []
    short = [name[:MAX_NAME] for name in names]
    cells = [[str(count) if count else "." for count in row] for row in scores.confusion.tolist()]
    widths = [max(map(len, column)) for column in zip(short, *cells, strict=True)]
    first = max(map(len, [*short, "taken for"]))
    lines = [
        "  ".join([f"{name:{first}}", *(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))])
        for name, row in zip(["taken for", *short], [short, *cells], strict=True)
    ]
    return ["", *lines]
