"""What is told while the bench works: a line that changes on a terminal, elsewhere lines; on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from netdsl.cli.progress import time_left

if TYPE_CHECKING:
    from netdsl.bench.match import Progress

PAUSE = 30.0  # seconds between two lines about the same thing, where no terminal is


@contextmanager
def shown_bench(before: str = "") -> Iterator[Callable[[Progress], None]]:
    """Gives the function that shows each event. before: which one of several benches it is.

    Nothing is written while steps are measured, only between the turns: a bar that moves takes time.
    """
    show = _on_terminal(before) if sys.stderr.isatty() else _in_lines(before)
    try:
        yield show
    finally:
        if sys.stderr.isatty():
            click.echo("\r\x1b[K", err=True, nl=False)


def _on_terminal(before: str) -> Callable[[Progress], None]:
    def show(event: Progress) -> None:
        click.echo(f"\r\x1b[K{before}{described(event)}", err=True, nl=False)

    return show


def _in_lines(before: str) -> Callable[[Progress], None]:
    """A line for each time that another thing begins, one for all turns, and one now and then for what takes long."""
    shown, told = "", 0.0

    def show(event: Progress) -> None:
        nonlocal shown, told
        what = f"measuring, {event.total} turns" if event.total else event.what
        if what != shown and not event.done:
            click.echo(f"{before}{what}", err=True)
            shown, told = what, 0.0
        elif not event.total and event.seconds - told >= PAUSE:
            click.echo(f"{before}{described(event)}", err=True)
            told = event.seconds

    return show


def described(event: Progress) -> str:
    """What is going on, since when, and what is to come."""
    if event.total:
        left = "" if event.left is None else f", {time_left(event.left)} left"
        return f"{event.what}, turn {event.done + 1} of {event.total}{left}"
    since = f" for {event.seconds:.0f} s" if event.seconds >= 1 else ""
    step = f", step {event.step} of {event.steps} before measuring" if event.steps else ""
    return f"{event.what}{since}{step}"
