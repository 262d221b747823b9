"""The history of a run: one `Epoch` a finished epoch, kept as metrics.csv."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from math import inf
from pathlib import Path
from typing import Any

from netdsl.graph.recipe import MONITORS
from netdsl.ground.diagnostics import UserError, plain
from netdsl.ground.files import read_text, write_atomic
from netdsl.ground.reading import reading, shown
from netdsl.training.runs.run_files import check_files
from netdsl.training.scores.measures import MEASURES


@dataclass(frozen=True)
class Epoch:
    """A finished and saved epoch, the row of metrics.csv; `val_*` are None without a validation set.

    lr: that of its last step; seconds: of its steps; both times only count what was done since the last resume. more:
    further measures of the validation data by column, {"val_miou": 0.8}. What the task does not have is None.
    step: in a run that is counted in steps, how many were made by then; its rows are numbered as epochs are.
    """

    epoch: int
    train_loss: float
    train_accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    lr: float
    seconds: float | None
    samples_per_second: float | None
    more: Mapping[str, float | None] = field(default_factory=dict)
    step: int | None = None

    @property
    def place(self) -> str:
        """`epoch 3`, `step 600`."""
        return f"epoch {self.epoch}" if self.step is None else f"step {self.step}"

    def value(self, column: str) -> int | float | None:
        """What stands in that column; None where it was not measured."""
        value: int | float | None = getattr(self, column) if column in COLUMNS else self.more.get(column)
        return value

    def as_dict(self) -> dict[str, int | float | None]:
        """The columns that the row has, in their order."""
        return {name: self.value(name) for name in columns([self])}


COLUMNS = tuple(f.name for f in fields(Epoch) if f.name != "more")
TIMES = ("seconds", "samples_per_second")  # the columns that no two runs share
MORE = tuple(f"val_{name}" for name in MEASURES if f"val_{name}" not in COLUMNS)  # that `more` may hold
NEEDED = ("epoch", "train_loss", "lr")
MOST = 1e100  # of a measure: no float32 is as large
ORDER = ("epoch", "step", *COLUMNS[1:5], *MORE, *COLUMNS[5:-1])


def columns(rows: Iterable[Epoch]) -> tuple[str, ...]:
    """The columns in which any of these epochs has something, in the order of metrics.csv; times are always there."""
    rows = tuple(rows)
    return tuple(name for name in ORDER if name in TIMES or any(row.value(name) is not None for row in rows))


def quality(row: Epoch, monitor: str = "val_loss") -> tuple[float, float]:
    """How good an epoch is, to be compared: first the measure `monitor` of the validation data, then the lower loss.

    An epoch in which the measure is not defined is the worst."""
    value = row.value(monitor)
    worth = -inf if value is None else value if MONITORS[monitor] else -value
    return worth, -inf if row.val_loss is None else -row.val_loss


@dataclass(frozen=True)
class History:
    """Finished epochs in their order; monitor: the column by which one is better than another."""

    epochs: tuple[Epoch, ...]
    monitor: str = "val_loss"

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self.epochs)

    def __getitem__(self, index: int) -> Epoch:
        return self.epochs[index]

    @property
    def best(self) -> Epoch | None:
        """The epoch whose weights are the best checkpoint, the first of equals; None without validation data."""
        rows = (row for row in self.epochs if row.val_loss is not None)
        return max(rows, key=lambda row: quality(row, self.monitor), default=None)

    def column(self, name: str) -> list[int | float | None]:
        """One measure over the epochs, `history.column("val_loss")`; None where it was not taken."""
        return [row.value(name) for row in self.epochs]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that have something in them."""
        return columns(self.epochs)

    @property
    def shown_columns(self) -> tuple[str, ...]:
        """Those of a table for people: in a run that is counted in steps the numbers of its rows say nothing more."""
        return tuple(name for name in self.columns if name != "epoch" or "step" not in self.columns)

    def _repr_html_(self) -> str:
        from netdsl.ground.markup import heading, paragraph, table  # here, since training has no use for it
        from netdsl.training.drawing.curves import draw_curves
        from netdsl.training.drawing.style import style, svg_text

        if not self.epochs:
            return paragraph("no epoch is finished")
        with style():
            curves = svg_text(draw_curves(self.column, self.best.epoch if self.best else None))
        unit, count = ("epoch", len(self)) if self[-1].step is None else ("step", self[-1].step)
        title = heading(f"{count:,} {unit}{'s' * (count != 1)}")
        head = titles(self.shown_columns)
        rows = [cells(row, self.shown_columns) for row in self.epochs]
        return title + curves + table(head, rows, len(head))


def titles(names: Iterable[str]) -> tuple[str, ...]:
    """Columns by the names that people read: `val mean IoU`."""
    return tuple(_title(name) for name in names)


def _title(name: str) -> str:
    part, _, measure = name.partition("_")
    if measure in MEASURES:
        return f"{'val ' if part == 'val' else ''}{MEASURES[measure].title}"
    return {"train_loss": "loss", "val_loss": "val loss", "samples_per_second": "samples/s"}.get(name, name)


def cells(row: Epoch, names: Iterable[str] = COLUMNS) -> tuple[str, ...]:
    """These columns of the epoch as people read them; what was not measured is empty."""
    return tuple(_cell(name, row.value(name)) for name in names)


def _cell(name: str, value: float | None) -> str:
    measure = MEASURES.get(name.partition("_")[2])
    if value is None:
        return ""
    if measure is not None:
        return measure.shown(value)
    forms = {"epoch": "d", "step": ",d", "lr": ".3g", "seconds": ".1f", "samples_per_second": ",.0f"}
    return format(value, forms.get(name, ".4f"))


def write_history(run: Path, epochs: Iterable[Epoch]) -> None:
    """Writes metrics.csv, a row an epoch, a column for all that was measured in any. Raises OSError."""
    text, epochs = io.StringIO(), tuple(epochs)
    names = columns(epochs)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([row.value(name) for name in names] for row in epochs)
    write_atomic(run / "metrics.csv", text.getvalue())


def read_history(run: Path, monitor: str = "val_loss") -> History:
    """What metrics.csv of the run says; empty where there is none yet. Raises UserError where it is damaged."""
    file = run / "metrics.csv"
    if not os.path.lexists(file):
        return History((), monitor)
    check_files(run)
    with reading(file):
        text = read_text(file)
    try:
        return History(_epochs(text), monitor)
    except (ValueError, csv.Error) as error:
        raise UserError(f"{shown(file)} is damaged: {plain(str(error))[:200]}") from None


def _epochs(text: str) -> tuple[Epoch, ...]:
    """Raises ValueError where `write_history` did not write it."""
    if not text.endswith("\n"):
        raise ValueError("its last line has no end")
    head, *rows = csv.reader(io.StringIO(text), strict=True)
    if not set(NEEDED) <= set(head) or head != [name for name in ORDER if name in head]:
        raise ValueError(f"expected the columns {', '.join(NEEDED)}, ...")
    epochs = tuple(_epoch(number, head, row) for number, row in enumerate(rows, 1))
    for name in COLUMNS:
        missing = [epoch.epoch for epoch in epochs if epoch.value(name) is None]
        if missing and len(missing) < len(epochs) and name not in TIMES:
            raise ValueError(f"`{name}` of epoch {missing[0]} is missing")
    return epochs


def _epoch(number: int, head: list[str], row: list[str]) -> Epoch:
    if len(row) != len(head):
        raise ValueError(f"epoch {number} has {len(row)} values, expected {len(head)}")
    values = {name: _measured(number, name, text) for name, text in zip(head, row, strict=True)}
    if values["epoch"] != number:
        raise ValueError(f"expected epoch {number}, not `{row[0][:20]}`")
    known: dict[str, Any] = {name: values.get(name) for name in COLUMNS}  # `_measured` gives a number of NEEDED
    more = {name: values[name] for name in MORE if name in values}
    step = None if known["step"] is None else int(known["step"])
    if step is not None and (step < 1 or step != known["step"]):
        raise ValueError(f"`step` of epoch {number} is {known['step']:g}, no number of steps")
    return Epoch(**{**known, "epoch": number, "step": step}, more=more)


def _measured(number: int, name: str, text: str) -> float | None:
    if not text and name not in NEEDED:
        return None
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"`{name}` of epoch {number} is `{text[:20]}`, no number") from None
    limit = 1.0 if name.endswith("accuracy") else MOST
    if not abs(value) <= limit:
        raise ValueError(f"`{name}` of epoch {number} is {value:g}")
    return value


def with_times(rows: Iterable[Epoch], known: History) -> list[Epoch]:
    """Epochs of a checkpoint, which has no times, with those that are known of them."""
    times = {row.epoch: (row.seconds, row.samples_per_second) for row in known}
    timed = [(row, *times.get(row.epoch, (None, None))) for row in rows]
    return [replace(row, seconds=seconds, samples_per_second=speed) for row, seconds, speed in timed]
