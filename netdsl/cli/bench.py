"""`netdsl bench`: how fast is the NumPy module, beside PyTorch?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netdsl.bench import LIMIT, WORKERS
from netdsl.cli.options import DEVICE_FLAGS, NameOf, autotune_option, check_workers, device_options
from netdsl.ground.system.signals import on_signals
from netdsl.targets.registry import DEFAULT, levels_of, target_of

if TYPE_CHECKING:
    from netdsl.bench.match import Options, Progress
    from netdsl.bench.profile import Profile
    from netdsl.bench.report import Report
    from netdsl.pipeline import Net


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--batch", type=click.IntRange(1), help="Samples a step; by default as the spec trains.")
@click.option("--threads", type=click.IntRange(1), help="Threads of every contestant; by default one a core.")
@click.option("--steps", type=click.IntRange(1), help="Steps that count; by default 20, or fewer if they take long.")
@click.option(
    "-O",
    "level",
    type=NameOf(lambda: [str(level) for level in levels_of(DEFAULT)]),
    default=str(levels_of(DEFAULT)[-1]),
    show_default=True,
    help="Optimisation level of the NumPy module.",
)
@autotune_option()
@click.option("--workers", type=click.Choice(WORKERS), default="auto", show_default=True, help="How it shares work.")
@click.option("--all", "with_extras", is_flag=True, help="Also torch.compile and onnxruntime, where installed.")
@click.option("--profile", "with_profile", is_flag=True, help="Also time every stage of the NumPy module, at -O2.")
@click.option(
    "--limit",
    type=click.FloatRange(1),
    default=LIMIT,
    show_default=True,
    metavar="SECONDS",
    help="A contestant that takes longer in all is ended and left out.",
)
@device_options()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the table.")
def command(
    spec: Path,
    autotune: bool,
    with_extras: bool,
    with_profile: bool,
    as_json: bool,
    **flags: Any,
) -> int:
    """Measure a training step and inference: NumPy module, layer objects, and PyTorch in both memory formats.

    Each contestant has a process of its own, the same weights, batch and threads; they work turn about. Nothing is
    measured unless they compute the same (exit code 1). A contestant that fails is left out (exit code 2). The last
    line is the time of the NumPy module over that of the faster PyTorch format: below 1, NumPy is faster. --device and
    what follows it are for PyTorch's contestants; by default they compute on the processor, too.

    \b
    Examples:
      netdsl bench lenet.net
      netdsl bench lenet.net --batch 128 --threads 2 --json
      netdsl bench lenet.net --all --steps 50
      netdsl bench resnet20.net --device cuda --amp --channels-last
    """
    from netdsl.bench.contestants import ENTRIES
    from netdsl.bench.match import Disagreement
    from netdsl.bench.tuning import tuned
    from netdsl.cli import say
    from netdsl.pipeline import compile_file

    check_workers(flags["workers"])
    net = compile_file(spec)
    options = _options(net, flags)
    if with_profile and options.level != 2:
        raise click.UsageError("`--profile` is for the NumPy module at -O2")
    net = net.for_samples(max(1, options.batch // options.threads))
    if autotune and options.level in target_of(DEFAULT, options.level).tuned:
        net = tuned(net)
    try:
        report = _measured(net, options, with_extras)
    except Disagreement as error:
        say(f"error: {error}")
        say(f"help: `netdsl verify {spec}` shows where it begins; nothing was measured")
        return 1
    _show(report, _profiles(net, options) if with_profile else [], as_json)
    extras = {entry.name for entry in ENTRIES if entry.is_extra}
    return 2 if report.failures.keys() - extras else 0


def _options(net: Net, flags: dict[str, Any]) -> Options:
    """What is measured and how. Raises UserError for a batch that is too small, or a device that there is not."""
    from netdsl.analysis.batches import check_batch
    from netdsl.bench.match import Options
    from netdsl.stages.workers import available_cores
    from netdsl.targets.contract import Device
    from netdsl.training.runs.engine import Engine, changed_engine

    batch = flags["batch"] or net.recipe.batch
    check_batch(net.graph, batch)
    how = {field: flags[option] for option, field in DEVICE_FLAGS.items() if option in flags}
    device = changed_engine(Engine("torch", device=Device("cpu")), how).device
    threads, level = flags["threads"] or available_cores(), int(flags["level"])
    return Options(batch, threads, level, flags["workers"], flags["steps"], flags["limit"], device)


def _measured(net: Net, options: Options, with_extras: bool) -> Report:
    """What all contestants take. Raises Disagreement where they compute different things."""
    from netdsl.bench.contestants import ENTRIES
    from netdsl.bench.match import bench

    entries = [entry for entry in ENTRIES if with_extras or not entry.is_extra]
    with on_signals(_end, ("SIGTERM",)), _progress() as show:
        return bench(net, options, entries, show)


def _profiles(net: Net, options: Options) -> Sequence[Profile]:
    """What each stage of the NumPy module takes, in a training step and at inference."""
    from netdsl.bench.profile import profile
    from netdsl.verify.batches import random_batch

    return profile(net, *random_batch(net, options.batch, 0), options.threads)


def _show(report: Report, profiles: Sequence[Profile], as_json: bool) -> None:
    import json

    from netdsl.cli import say

    if as_json:
        told = {"profile": {p.kind: p.as_dict() for p in profiles}} if profiles else {}
        click.echo(json.dumps({**report.as_dict(), **told}))
    else:
        click.echo("\n\n".join(map(str, [report, *profiles])))
    for note in report.notes:
        say(f"note: {note}")
    for name, reason in report.failures.items():
        for line in f"{name} failed: {reason}".splitlines():
            say(f"error: {line}")


def _end(number: int) -> None:
    """SIGTERM ends the contestants and removes their files, as Ctrl-C does; exit code 143."""
    sys.exit(128 + number)


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """Which contestant does what, on stderr: a line that changes on a terminal, and elsewhere a line for each time that
    another thing begins. It is written between the turns only: a bar that moves takes time."""
    shown = ""

    def show(event: Progress) -> None:
        nonlocal shown
        turn = f", turn {event.done + 1} of {event.total}" if event.total else ""
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[K{event.what}{turn}", err=True, nl=False)
        elif not event.done and event.what != shown:
            click.echo(event.what if not event.total else f"measuring, {event.total} turns", err=True)
        shown = event.what

    try:
        yield show
    finally:
        if sys.stderr.isatty():
            click.echo("\r\x1b[K", err=True, nl=False)
