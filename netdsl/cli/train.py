"""`netdsl train`: train a network and keep the run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from netdsl.cli.options import (
    DEVICE_FLAGS,
    NameOf,
    autotune_option,
    check_workers,
    device_options,
    engine_flags,
    level_option,
    ranks_options,
)
from netdsl.cli.progress import Display
from netdsl.cli.ranks import joined_ranks, opened_together
from netdsl.ground.catalog import CATALOG
from netdsl.ground.ranks import ALONE, Ranks
from netdsl.targets.registry import DEFAULT, levels_of, runners
from netdsl.training.data.places import data_dir

if TYPE_CHECKING:
    from netdsl.training.loop.session import Session
    from netdsl.training.loop.watch import Result
    from netdsl.training.runs.engine import Engine

Flags = dict[str, Any]
"""Options by name, of the types that click makes of them; None where one is not given."""

OF_A_RESUMED_RUN = (
    "spec",
    "resume",
    "epochs",
    "steps",
    "save_every",
    "plots",
    "as_json",
    "quiet",
)  # options it may have
WITH_A_BACKEND = ("level", "workers", "threads")  # and these with `--backend`: another one may go on with it


@click.command()
@click.argument("spec", required=False, type=click.Path(path_type=Path))
@click.option(
    "--resume",
    is_flag=False,
    flag_value="",
    metavar="[RUN]",
    help="Go on with RUN, by default the last one of SPEC, as if it had never stopped; with --epochs or --steps also "
    "further.",
)
@click.option(
    "--data",
    help=f"{', '.join(CATALOG)}, 'text FILE', a .npz, .csv or .parquet, IDX files, a folder of images, recordings, "
    ".npy or .parquet files, or what `datasets` saved, with options behind it as in 'har.csv stride=64'; by default "
    "as in the spec.",
)
@click.option(
    "--fit",
    metavar="HOW",
    help="Bring images to the input's size: resize, crop or pad, or none; by default as in the spec.",
)
@click.option("--epochs", type=click.IntRange(1), help="Times through the training data; by default as in the spec.")
@click.option(
    "--steps",
    metavar="TEXT",
    help="Steps of the optimizer, in place of epochs: 2000, '2000 every=250'; by default as in the spec.",
)
@click.option("--batch", type=click.IntRange(1), help="Samples a step; by default as in the spec.")
@click.option(
    "--accumulate", type=click.IntRange(1), help="Batches whose samples one step has; by default as in the spec."
)
@click.option("--lr", type=click.FloatRange(0, min_open=True), help="Learning rate; by default as in the spec.")
@click.option(
    "--opt", metavar="TEXT", help="As after `opt` in a spec: adam, 'sgd lr=0.1 momentum=0.9'; by default as there."
)
@click.option(
    "--schedule", metavar="TEXT", help="const, cosine, 'step every=10', onecycle, ...; by default as in the spec."
)
@click.option("--loss", metavar="TEXT", help="ce, bce, mse, nll, 'ce smooth=0.1', ...; by default as in the spec.")
@click.option(
    "--augment",
    metavar="TEXT",
    help="'crop=4 flip brightness=0.2 cutmix=1' (all: netdsl explain augment) or none; by default as in the spec.",
)
@click.option(
    "--clip", metavar="NORM", help="The largest norm of all gradients together, or none; by default as in the spec."
)
@click.option(
    "--ema", metavar="DECAY", help="Use a running mean of the weights, as 0.999, or none; by default as in the spec."
)
@click.option(
    "--patience",
    metavar="EPOCHS",
    help="Stop after so many epochs without a better one, or none; by default as in the spec.",
)
@click.option(
    "--monitor",
    metavar="MEASURE",
    help="What chooses the best epoch: val_loss, val_accuracy, val_miou, ...; by default as in the spec.",
)
@click.option(
    "--val",
    type=click.FloatRange(0, 1, max_open=True),
    help="Share of the training data to choose the best epoch by; by default as in the spec.",
)
@click.option(
    "--init", type=click.Choice(["he", "xavier", "torch", "gpt"]), help="How weights start; by default as in the spec."
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    help="Decides weights, split, order, dropout and augmentation; by default as in the spec.",
)
@click.option(
    "--limit", type=click.IntRange(1), help="Use only the first samples of each part of the data; by default all."
)
@click.option(
    "--backend",
    type=NameOf(runners),
    help="numpy, the compiled module, and the default; interp, layer objects; torch, the PyTorch module.",
)
@device_options()
@ranks_options()
@level_option(None, "Of the compiled module: 2 is fast, and the default; 0 is the textbook; 1 as `compile` says.")
@autotune_option()
@click.option(
    "--workers",
    type=click.Choice(["threads", "processes", "auto"]),
    help="Who shares a batch at -O2. auto, the default: forked processes on Linux, else threads.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 256),
    help="How many workers, by default one for each core; without -O2, most threads of BLAS or PyTorch.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run; runs/<spec>-<n> by default.")
@click.option(
    "--save-every", type=click.IntRange(1), metavar="STEPS", help="Save also within epochs; by default each minute."
)
@click.option("--plots/--no-plots", default=True, show_default=True, help="Draw plots and report.html at the end.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object an epoch on stdout, and no progress on stderr.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
@click.pass_context
def command(
    context: click.Context,
    /,
    spec: Path | None,
    resume: str | None,
    save_every: int | None,
    plots: bool,
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Train SPEC as its train block says; options given here win over it.

    Makes a run folder with metrics, checkpoints, plots and report.html. Progress goes to stderr; the last line on
    stdout is JSON: test_accuracy, val_accuracy (0 to 1; null if there is none), further measures, epochs, seconds, run;
    in place of accuracy miou for masks, mae for numbers. Data sets of a name are looked for in the folder
    NETDSL_DATA_DIR, then where torchvision and Keras keep theirs; `netdsl data fetch` downloads them.

    Ctrl-C saves and ends with exit code 130; --resume goes on from there and comes to the same weights, bit for bit.
    Exit code 3: the loss became NaN or infinite.

    \b
    Examples:
      netdsl train lenet.net
      netdsl train lenet.net --epochs 10 --lr 3e-4 --out runs/slow
      netdsl train lenet.net --opt "sgd lr=0.1 momentum=0.9" --schedule onecycle --augment "shift=2 rotate=10"
      netdsl train --resume runs/lenet-1
      netdsl train --resume runs/lenet-1 --epochs 20
      netdsl train net.net --data cats-and-dogs/ --opt adamw
    """
    from netdsl.cli import say

    with joined_ranks(flags["backend"] if resume is not None else flags["backend"] or DEFAULT) as ranks:
        silent = quiet or as_json or not ranks.is_first
        on_note = _ignore if silent else say
        opened = _opened(context, spec, resume, flags, on_note, ranks)
        with opened() if ranks is ALONE else opened_together(ranks, opened, on_note) as session:
            show = Display(session.net.recipe.steps or session.net.recipe.epochs, silent, as_json and ranks.is_first)
            result = _trained(session, show, save_every)
            ranks.close()  # what follows is the first one's alone
            if ranks.is_first:
                _say_score(result, show)
                if plots:
                    _draw(session, result, show)
    if ranks.is_first:
        show.say(f"saved in {result.run}; next: netdsl {_next(session, result)} {result.run}")
        click.echo(json.dumps(result.as_dict()))


def _ignore(_: str) -> None:
    """Says nothing."""


def _opened(
    context: click.Context,
    spec: Path | None,
    resume: str | None,
    flags: Flags,
    on_note: Callable[[str], None],
    ranks: Ranks,
) -> Callable[[], AbstractContextManager[Session]]:
    """What opens a new run of a spec, or one to go on with."""
    if resume is not None:
        _check_resumed(context)
        steps = None if flags["steps"] is None else _whole_steps(flags["steps"])
        return lambda: _resumed(spec, resume, flags["epochs"], engine_flags(flags), ranks, steps)
    if spec is None:
        raise click.UsageError("Missing argument 'SPEC' (or `--resume RUN`).")
    return lambda: _started(spec, flags, on_note, ranks)


def _started(spec: Path, flags: Flags, on_note: Callable[[str], None], ranks: Ranks) -> AbstractContextManager[Session]:
    """A new run of a spec, with its folder."""
    from netdsl.pipeline import compile_file
    from netdsl.training.loop.session import started, with_settings
    from netdsl.training.runs.engine import Engine

    engine = _engine(Engine(), engine_flags(flags))
    limit, out, autotune = (flags.pop(name) for name in ("limit", "out", "autotune"))
    patience = flags.pop("patience")
    if patience is not None:
        flags["stop"] = patience if patience == "none" else f"patience={patience}"
    _check_finite(flags)
    net = compile_file(spec)
    net = net.with_recipe(with_settings(net.recipe, flags))
    return started(net, engine, data_dir(), limit, out, autotune, on_note, ranks)


def _check_finite(flags: Flags) -> None:
    from math import isfinite

    for name, value in flags.items():
        if isinstance(value, float) and not isfinite(value):
            raise click.BadParameter(f"{value} is not a finite number.", param_hint=f"--{name}")


def _check_resumed(context: click.Context) -> None:
    """Raises UsageError for options that would make another run of the one that is resumed."""
    given = [name for name in context.params if context.get_parameter_source(name) is not ParameterSource.DEFAULT]
    may_be = (*OF_A_RESUMED_RUN, "backend", *DEVICE_FLAGS, *(WITH_A_BACKEND if "backend" in given else ()))
    given = [name for name in given if name not in may_be]
    if given:
        flag = f"--{given[0].replace('_', '-')}" if given[0] != "level" else "-O"
        raise click.UsageError(
            f"`{flag}` cannot change a run that is resumed; only `--epochs` or `--steps` can, to make it longer, and "
            "`--backend` with what goes with it, to compute it in another way"
        )


def _whole_steps(text: str) -> int:
    """What `--steps` says of a run that is resumed, whose rows stay where they are."""
    if not (text.isascii() and text.isdigit() and int(text[:18])):
        raise click.BadParameter(f"{text!r} is not a whole number of at least 1.", param_hint="--steps")
    return int(text[:18])


def _resumed(
    spec: Path | None, resume: str, epochs: int | None, engine: Flags, ranks: Ranks, steps: int | None = None
) -> AbstractContextManager[Session]:
    """A run to go on with: the one named, or the last one of the spec."""
    from netdsl.cli import say
    from netdsl.ground.names import identifier
    from netdsl.training.loop.session import check_unchanged, resumed
    from netdsl.training.runs.folder import latest_run

    if resume.endswith(".net") and spec is None:  # `--resume lenet.net`
        spec, resume = Path(resume), ""
    if resume:
        path = Path(resume)
    elif spec is not None:
        path = latest_run(identifier(spec.stem))
    else:
        raise click.UsageError("`--resume` needs a SPEC or a RUN to go on with, as in `--resume runs/lenet-1`.")
    if spec is not None:
        check_unchanged(spec, path)
    return resumed(path, data_dir(), epochs, say, lambda own: _engine(own, engine), ranks, steps)


def _engine(engine: Engine, given: Flags) -> Engine:
    """The engine as the flags change it. Raises UserError, UsageError where they contradict each other."""
    from netdsl.training.runs.engine import changed_engine

    check_workers(given["workers"] or "auto")
    return changed_engine(engine, given)


def _say_start(session: Session, show: Display) -> None:
    from netdsl.cli import wants_color
    from netdsl.ground.diagnostics import render_all
    from netdsl.training.scores.fitting import is_copy

    net, dataset = session.net, session.dataset
    if net.warnings and not session.is_resumed and session.ranks.is_first:
        click.echo(render_all(net.warnings, wants_color()), err=True)
    counted = dataset.counted or f"{len(dataset.x_train)} + {len(dataset.x_test)} samples"
    samples = f"{counted} of {dataset.name}"
    samples += ", which are their own targets" if not dataset.classes and is_copy(dataset) else ""
    engine = session.engine
    if session.ranks.are_many:
        computes = f"{_described(engine)}, {session.ranks.count} processes"
    else:
        computes = _described(replace(engine, device=engine.device.alone))
    parts = f"{session.name}, {net.graph.num_params:_} params, {samples}, {computes}"
    show.say(f"{session.run}: {parts}{', resumed' if session.is_resumed else ''}")


def _described(engine: Engine) -> str:
    """`numpy -O2, 2 processes`, `the PyTorch module 2.13.0 on cpu, bfloat16`."""
    from netdsl.stages.forks import auto_kind

    has_levels = len(levels_of(engine.backend)) > 1
    what = f"{engine.backend} -O{engine.level}" if has_levels else engine.target.describe
    if engine.has_devices:
        return ", ".join([f"{what} {engine.check()}", *engine.device.described])
    if not engine.has_workers:
        return what
    kind = auto_kind() if engine.kind == "auto" else engine.kind
    workers = engine.threads or 1
    return f"{what}, {f'{workers} {kind}' if workers > 1 else '1 worker'}"


def _trained(session: Session, show: Display, save_every: int | None) -> Result:
    """Trains under the display that fits; when it is asked to stop it says how to go on."""
    from netdsl.cli import say
    from netdsl.cli.stopping import stop_on_signals
    from netdsl.training.loop.watch import Interrupted, Watch
    from netdsl.training.runs.folder import has_begun

    _say_start(session, show)
    go_on = f"to go on: netdsl train --resume {session.run}"
    tell = say if session.ranks.is_first else _ignore
    with stop_on_signals(show.quiet, "TORCHELASTIC_RUN_ID" in os.environ) as stop:
        try:
            with show.shown() as on_progress:
                watch = Watch(stop.unless_made(on_progress), tell, stop.is_made, save_every=save_every)
                return session.train(watch)
        except Interrupted as stopped:
            if stop.error:
                raise stop.error from None
            tell(f"{stopped}; saved in {session.run}")
            tell(go_on)
            raise click.exceptions.Exit(stop.exit_code) from None
        except (KeyboardInterrupt, OSError) as error:
            if isinstance(error, KeyboardInterrupt) or has_begun(session.run):
                tell(go_on)
            raise


def _draw(session: Session, result: Result, show: Display) -> None:
    """Plots and report of a run that is over."""
    from netdsl.cli import say
    from netdsl.training.pictures.gallery import draw_all
    from netdsl.training.pictures.kinds import font_note
    from netdsl.training.runs.views import open_run

    with open_run(session.run, data_dir()) as view:
        *_, report = draw_all(view, result.scores)
        if note := font_note(view.task.drawn_classes):
            say(f"note: {note}")
    show.say(f"plots in {session.run / 'plots'}, report: {report}")


def _next(session: Session, result: Result) -> str:
    """The command that shows most of what was learned."""
    from netdsl.training.runs.sampling import why_no_text

    writes = result.task.learns_text and not why_no_text(session.net, session.dataset.classes)
    return "sample" if writes else "eval"


def _say_score(result: Result, show: Display) -> None:
    leading = result.task.leading
    score = f"{leading.title} {leading.shown(result.scores.values[leading.name])}"
    show.say(f"test {score}, weights of {result.used.place}, {result.seconds:.1f} s")
