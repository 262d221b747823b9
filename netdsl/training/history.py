"""The history of a run: one `Epoch` a finished epoch, kept as metrics.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from netdsl.diagnostics import UserError
from netdsl.files import write_atomic
from netdsl.training.idx import reading, shown


@dataclass(frozen=True)
class Epoch:
    """A finished and saved epoch, the row of metrics.csv; `val_*` are None without a validation set.

    lr: that of its last step; seconds: of its steps; both times only count what was done since the last resume.
    """

    epoch: int
    train_loss: float
    train_accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    lr: float
    seconds: float | None
    samples_per_second: float | None


def quality(row: Epoch) -> tuple[float, float]:
    """Of two epochs the better has the higher validation accuracy, or as high a one and the lower loss."""
    return row.val_accuracy or 0.0, -row.val_loss


COLUMNS = tuple(f.name for f in fields(Epoch))


@dataclass(frozen=True)
class History:
    """Finished epochs in their order."""

    epochs: tuple[Epoch, ...]

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self.epochs)

    def __getitem__(self, index: int) -> Epoch:
        return self.epochs[index]

    @property
    def best(self) -> Epoch | None:
        """The epoch whose weights are the best checkpoint, the first of equals; None without validation data."""
        return max((row for row in self.epochs if row.val_loss is not None), key=quality, default=None)

    def column(self, name: str) -> list[int | float | None]:
        """One measure over the epochs, `history.column("val_loss")`; None where it was not taken."""
        return [getattr(row, name) for row in self.epochs]

    def _repr_html_(self) -> str:
        from netdsl.markup import heading, paragraph, table  # here, since training has no use for it
        from netdsl.training.curves import curves_svg

        if not self.epochs:
            return paragraph("no epoch is finished")
        title = heading("1 epoch" if len(self) == 1 else f"{len(self)} epochs")
        head = ("epoch", "loss", "accuracy", "val loss", "val accuracy", "lr", "seconds", "samples/s")
        return title + curves_svg(self.column) + table(head, map(cells, self.epochs), len(head))


def cells(row: Epoch) -> tuple[str, ...]:
    """The epoch as people read it; what was not measured is empty."""
    losses = ["" if value is None else f"{value:.4f}" for value in (row.train_loss, row.val_loss)]
    shares = ["" if value is None else f"{value:.2%}" for value in (row.train_accuracy, row.val_accuracy)]
    seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
    speed = "" if row.samples_per_second is None else f"{row.samples_per_second:,.0f}"
    return str(row.epoch), losses[0], shares[0], losses[1], shares[1], f"{row.lr:.3g}", seconds, speed


def write_history(run: Path, epochs: Iterable[Epoch]) -> None:
    """Writes metrics.csv, a row an epoch; what was not measured is empty. Raises OSError."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in epochs)
    write_atomic(run / "metrics.csv", text.getvalue())


def read_history(run: Path) -> History:
    """What metrics.csv of the run says; empty where there is none yet. Raises UserError where it is damaged."""
    file = run / "metrics.csv"
    if not file.exists():
        return History(())
    with reading(file):
        rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
    try:
        return History(tuple(_epoch(row) for row in rows))
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{shown(file)} is damaged: expected the columns {', '.join(COLUMNS)}") from None


def _epoch(row: dict[str, str]) -> Epoch:
    values = {name: float(row[name]) if row[name] else None for name in COLUMNS}
    return Epoch(**{**values, "epoch": int(row["epoch"])})


def with_times(rows: Iterable[Epoch], known: History) -> list[Epoch]:
    """Epochs of a checkpoint, which has no times, with those that are known of them."""
    times = {row.epoch: (row.seconds, row.samples_per_second) for row in known}
    found = [(row, *times.get(row.epoch, (None, None))) for row in rows]
    return [replace(row, seconds=seconds, samples_per_second=speed) for row, seconds, speed in found]
