"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from netdsl.targets.registry import levels, runners, targets

if TYPE_CHECKING:
    from netdsl.pipeline import Net
    from netdsl.training.scores.mirrors import Answering, Mirrored

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def check_workers(kind: str) -> None:
    """Raises UsageError where the system cannot make workers of that kind."""
    from netdsl.stages.forks import can_fork

    if kind == "processes" and not can_fork():
        raise click.UsageError("`--workers processes` needs fork, which this system does not have: take `threads`")


class NameOf(click.Choice[str]):
    """One of the names that there are when a command runs, or one of `more`: targets may be registered at any time."""

    def __init__(self, names: Callable[[], Iterable[str]], *more: str) -> None:
        self.names, self.more = names, more
        super().__init__(())

    @property
    def choices(self) -> tuple[str, ...]:
        """The names, in their order."""
        return (*self.names(), *self.more)

    @choices.setter
    def choices(self, _: object) -> None:
        """click sets what it was given, which is nothing."""


class LateHelp(click.Option):
    """An option whose help, `text`, is made when it is shown."""

    def __init__(self, *args: Any, text: Callable[[], str] | str, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.text = text

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """click's own record, with the text of now."""
        self.help = self.text if isinstance(self.text, str) else self.text()
        return super().get_help_record(ctx)


DEVICE_FLAGS = {
    "device": "name",
    "amp": "amp",
    "compile": "is_compiled",
    "channels_last": "is_channels_last",
    "sync_bn": "is_synced",
    "fsdp": "is_sharded",
}
"""Option -> the field of a Device that it sets."""


def _all_of(options: Sequence[Decorator]) -> Decorator:
    """The options as one decorator, in their order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def device_options() -> Decorator:
    """`--device cuda --amp --compile --channels-last`, what PyTorch alone has; None where they are not given."""
    options = (
        click.option(
            "--device",
            metavar="NAME",
            help="Where PyTorch computes: cpu, cuda, cuda:1, mps; by default auto, the fastest.",
        ),
        click.option(
            "--amp",
            is_flag=False,
            flag_value="bfloat16",
            type=click.Choice(["bfloat16", "float16"]),
            help="PyTorch's layers in 16 bits where it does no harm: bfloat16, or float16 on GPUs; by default none.",
        ),
        click.option(
            "--compile/--no-compile", default=None, help="Run PyTorch's module through torch.compile; by default not."
        ),
        click.option(
            "--channels-last/--channels-first",
            default=None,
            help="How images and volumes lie in PyTorch's memory; by default channels first.",
        ),
    )
    return _all_of(options)


def ranks_options() -> Decorator:
    """`--sync-bn --fsdp`, for several processes that torchrun starts; None where they are not given."""
    options = (
        click.option(
            "--sync-bn/--no-sync-bn",
            default=None,
            help="Under torchrun: batch norm of the whole batch, not of each process's part; by default not.",
        ),
        click.option(
            "--fsdp/--no-fsdp",
            default=None,
            help="Under torchrun: each process keeps a part of params and optimizer, not all; by default not.",
        ),
    )
    return _all_of(options)


def run_backend_option() -> Decorator:
    """`--backend torch` of a command that computes with a run."""
    return click.option("--backend", type=NameOf(runners), help="What computes; by default what trained the run.")


def flips_option() -> Decorator:
    """`--flips` of a command that asks a run for answers."""
    text = "Answer by the mean over each image and its mirror image, twice the work; by default not."
    return click.option("--flips", is_flag=True, help=text)


def seen_mirrored(net: Net, model: Answering) -> Mirrored:
    """What `--flips` asks in place of the model; says so where training showed no mirror images."""
    from netdsl.cli import say
    from netdsl.training.scores.mirrors import mirrored, note_on

    seen = mirrored(net, model)
    if note := note_on(net):
        say(f"note: {note}")
    return seen


def engine_flags(given: dict[str, Any]) -> dict[str, Any]:
    """Takes what says how to compute out of the options -> the same as `changed_engine` takes it."""
    names = {**{name: name for name in ("backend", "level", "workers", "threads")}, **DEVICE_FLAGS}
    return {names[option]: given.pop(option) for option in tuple(given) if option in names}


def level_option(default: int | None, text: Callable[[], str] | str) -> Decorator:
    """`-O 0` or `-O2`: the level of the NumPy module, as an int."""
    return click.option(
        "-O",
        "level",
        cls=LateHelp,
        type=NameOf(_levels),
        default=None if default is None else str(default),
        show_default=default is not None,
        callback=lambda context, option, value: None if value is None else int(value),
        text=text,
    )


def _levels() -> list[str]:
    """The levels that any target has, from the lowest."""
    return [str(level) for level in levels()]


def levels_text() -> str:
    """`Of the NumPy module: 0 is the textbook, 2 is fast.`, of every target that writes a text of several levels."""
    said: dict[str, list[str]] = {}
    for one in targets():
        if one.emit is not None:
            said.setdefault(one.describe, []).extend(f"{level} is {text}" for level, text in one.levels.items() if text)
    return " ".join(f"Of {what}: {', '.join(levels)}." for what, levels in said.items() if levels)


def autotune_option() -> Decorator:
    """`--no-autotune`."""
    return click.option(
        "--autotune/--no-autotune",
        default=True,
        show_default=True,
        help="At -O2: measure once which algorithms are the fastest here, and remember it, or trust estimates.",
    )
