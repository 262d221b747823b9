"""What is told while files are fetched: a bar on a terminal, a line a file elsewhere; on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from netdsl.cli.progress import REFRESH
from netdsl.ground.diagnostics import plain
from netdsl.training.data.missing import megabytes

if TYPE_CHECKING:
    from rich.progress import TaskID

    from netdsl.training.data.fetching.download import Watch


@contextmanager
def shown_downloads(is_quiet: bool) -> Iterator[Watch]:
    """Gives what downloads are told to. is_quiet: only what goes wrong is said."""
    from netdsl.cli import say
    from netdsl.training.data.fetching.download import Watch

    if is_quiet:
        yield Watch(on_fault=say)
    elif sys.stderr.isatty():
        with _bar() as watch:
            yield watch
    else:
        yield Watch(_line_a_file(), say, say)


def _line_a_file() -> Callable[[str, int, int], None]:
    """Says of each file, once, that it is being fetched."""
    from netdsl.cli import say

    said: set[str] = set()

    def tell(name: str, done: int, total: int) -> None:
        if name not in said:
            said.add(name)
            say(f"fetching {name} ({megabytes(total)})")

    return tell


@contextmanager
def _bar() -> Iterator[Watch]:
    """A bar of the file that is fetched; what else is said stays above it. It draws when bytes come, a few times a
    second, as that of a training."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from netdsl.training.data.fetching.download import Watch

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, auto_refresh=False) as bar:
        tasks: dict[str, TaskID] = {}
        next_drawing = 0.0

        def tell(name: str, done: int, total: int) -> None:
            nonlocal next_drawing
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total, completed=done)
            bar.update(tasks[name], completed=done)
            if done >= total or time.monotonic() >= next_drawing:
                next_drawing = time.monotonic() + REFRESH
                bar.refresh()

        def line(text: str) -> None:
            console.print(plain(text), markup=False, soft_wrap=True)

        yield Watch(tell, line, line)
