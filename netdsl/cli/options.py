"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable

import click

LEVELS = ("0", "1", "2")


def check_workers(kind: str) -> None:
    """Raises UsageError where the system cannot make workers of that kind."""
    from netdsl.stages.workers import can_fork

    if kind == "processes" and not can_fork():
        raise click.UsageError("`--workers processes` needs fork, which this system does not have: take `threads`")


def level_option(default: int | None, text: str) -> Callable:
    """`-O 0` or `-O2`: the level of the NumPy module, as an int."""
    return click.option(
        "-O",
        "level",
        type=click.Choice(LEVELS),
        default=None if default is None else str(default),
        show_default=default is not None,
        callback=lambda context, option, value: None if value is None else int(value),
        help=text,
    )


def autotune_option() -> Callable:
    """`--no-autotune`."""
    return click.option(
        "--autotune/--no-autotune",
        default=True,
        show_default=True,
        help="At -O2: measure once which algorithms are the fastest here, and remember it, or trust estimates.",
    )
