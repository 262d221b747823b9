"""How `netdsl train` shows that it moves: a bar on a terminal, a line an epoch elsewhere; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from netdsl.training.history import Epoch
from netdsl.training.loop import Progress

REFRESH = 0.2  # seconds

Show = Callable[[Progress | Epoch], None]


@contextmanager
def progress_display(epochs: int, quiet: bool) -> Iterator[Show]:
    """Gives the function that shows each event."""
    if quiet:
        yield lambda event: None
    elif sys.stderr.isatty():
        with _bar(epochs) as show:
            yield show
    else:
        yield lambda event: click.echo(epoch_line(event, epochs), err=True) if isinstance(event, Epoch) else None


def epoch_line(row: Epoch, epochs: int) -> str:
    """One finished epoch in words."""
    parts = [f"epoch {row.epoch:{len(str(epochs))}}/{epochs}", f"loss {row.train_loss:.4f}"]
    parts += [f"accuracy {row.train_accuracy:.2%}"] if row.train_accuracy is not None else []
    parts += [f"val loss {row.val_loss:.4f}"] if row.val_loss is not None else []
    parts += [f"val accuracy {row.val_accuracy:.2%}"] if row.val_accuracy is not None else []
    return "  ".join([*parts, f"{row.seconds:.1f} s", f"{row.samples_per_second:.0f} samples/s"])


@contextmanager
def _bar(epochs: int) -> Iterator[Show]:
    """A bar of the running epoch; each finished epoch leaves its line above it. It draws when it is told something, a
    few times a second: rich's own thread would make a fork unsafe, and take time from the workers."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, auto_refresh=False) as bar:
        task = bar.add_task(f"epoch 1/{epochs}", total=None, state="")
        next_look = 0.0

        def show(event: Progress | Epoch) -> None:
            nonlocal next_look
            if isinstance(event, Progress) and event.samples < event.samples_in_all and time.monotonic() < next_look:
                return
            next_look = time.monotonic() + REFRESH
            if isinstance(event, Epoch):
                console.print(epoch_line(event, epochs), markup=False, soft_wrap=True)
                bar.reset(task, total=None, description=f"epoch {min(event.epoch + 1, epochs)}/{epochs}", state="")
            else:
                bar.update(task, total=event.samples_in_all, completed=event.samples, state=_state(event))
            bar.refresh()

        yield show


def _state(event: Progress) -> str:
    accuracy = "" if event.accuracy is None else f"  accuracy {event.accuracy:.1%}"
    return f"loss {event.loss:.4f}{accuracy}  {event.samples / max(event.seconds, 1e-9):.0f} samples/s"
