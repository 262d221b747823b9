"""How `netdsl train` shows that it moves: a bar on a terminal, a line an epoch elsewhere; on stderr, or as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from netdsl.training.loop.watch import Progress
    from netdsl.training.runs.history import Epoch

REFRESH = 0.2  # seconds


@dataclass(frozen=True)
class Display:
    """What is told of a training of so many epochs, or steps: nothing if it is quiet, else to people on stderr.

    as_json: each finished epoch is a line of JSON on stdout.
    """

    epochs: int
    quiet: bool = False
    as_json: bool = False

    def say(self, message: str) -> None:
        """A line on stderr, unless it is quiet."""
        from netdsl.cli import say

        if not self.quiet:
            say(message)

    @contextmanager
    def shown(self) -> Iterator[Callable[[Progress | Epoch], None]]:
        """Gives the function that shows each event."""
        from netdsl.training.runs.history import Epoch

        def line(event: Progress | Epoch) -> None:
            if isinstance(event, Epoch):
                click.echo(epoch_line(event, self.epochs), err=True)

        def note(event: Progress | Epoch) -> None:
            if self.as_json and isinstance(event, Epoch):
                click.echo(json.dumps(event.as_dict()))

        if self.quiet:
            yield note
        elif sys.stderr.isatty():
            with self._bar() as show:
                yield show
        else:
            yield line

    @contextmanager
    def _bar(self) -> Iterator[Callable[[Progress | Epoch], None]]:
        """A bar of the running epoch; each finished epoch leaves its line above it. It draws when it is told something,
        a few times a second: rich's own thread would make a fork unsafe, and take time from the workers."""
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        from netdsl.training.runs.history import Epoch

        console = Console(stderr=True, highlight=False)
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), TextColumn("{task.fields[state]}"))
        with Bar(*columns, console=console, transient=True, auto_refresh=False, expand=True) as bar:
            task = bar.add_task("", total=None, state="")
            next_drawing = 0.0

            def show(event: Progress | Epoch) -> None:
                nonlocal next_drawing
                if isinstance(event, Epoch):
                    console.print(epoch_line(event, self.epochs), markup=False, soft_wrap=True)
                    return
                if event.samples < event.samples_in_all and time.monotonic() < next_drawing:
                    return
                next_drawing = time.monotonic() + REFRESH
                bar.update(
                    task,
                    description=description(event),
                    total=event.samples_in_all,
                    completed=event.samples,
                    state=state_line(event),
                )
                bar.refresh()

            yield show


def description(event: Progress) -> str:
    """What the bar stands for: `epoch 2/5`, `step 250/2000`."""
    if event.steps is None:
        return f"epoch {event.epoch}/{event.epochs}"
    return f"step {event.steps[0]}/{event.steps[1]}"


def epoch_line(row: Epoch, epochs: int) -> str:
    """One finished epoch in words, of so many epochs, or steps."""
    unit, number = row.place.split()
    parts = [f"{unit} {number:>{len(str(epochs))}}/{epochs}", f"loss {row.train_loss:.4f}"]
    parts += [f"accuracy {row.train_accuracy:.2%}"] if row.train_accuracy is not None else []
    parts += [f"val loss {row.val_loss:.4f}"] if row.val_loss is not None else []
    parts += [f"val {title} {shown}" for title, shown in validated(row)]
    return "  ".join([*parts, f"{row.seconds:.1f} s", f"{row.samples_per_second:.0f} samples/s"])


def validated(row: Epoch) -> list[tuple[str, str]]:
    """The measures of the validation data that a line tells, by title."""
    from netdsl.training.scores.measures import MEASURES

    values = [(measure, row.value(f"val_{name}")) for name, measure in MEASURES.items() if measure.in_line]
    return [(measure.title, measure.shown(value)) for measure, value in values if value is not None]


def state_line(event: Progress) -> str:
    """Loss and accuracy of the running epoch, its speed, and the time that is left of the whole run."""
    accuracy = "" if event.accuracy is None else f"  accuracy {event.accuracy:.1%}"
    speed = event.samples_here / max(event.seconds, 1e-9)
    to_come = (event.epochs - event.epoch + 1) * event.samples_in_all - event.samples
    left = f"  {time_left(to_come / speed)} left" if speed else ""
    return f"loss {event.loss:.4f}{accuracy}  {speed:.0f} samples/s{left}"


def time_left(seconds: float) -> str:
    """`0:07`, `12:40`, `3:05:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
