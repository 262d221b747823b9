"""`netdsl train`: train a network and keep the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from netdsl.cli.options import autotune_option, data_dir, level_option

if TYPE_CHECKING:
    from netdsl.pipeline import Net
    from netdsl.recipe import Recipe
    from netdsl.training.datasets import Dataset
    from netdsl.training.history import Epoch
    from netdsl.training.loop import Progress, Result
    from netdsl.training.runs import Engine


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--data", help="mnist-mini, mnist, cifar10, spiral, a .npz file, or a folder of class folders.")
@click.option(
    "--backend",
    type=click.Choice(["numpy", "interp"]),
    default="numpy",
    show_default=True,
    help="The compiled module, or layer objects.",
)
@level_option(None, "Of the compiled module: 2 is fast, and the default; 0 is the textbook; 1 as `compile` says.")
@autotune_option()
@click.option(
    "--workers",
    type=click.Choice(["threads", "processes", "auto"]),
    help="Who shares a batch at -O2. auto, the default: forked processes on Linux, else threads.",
)
@click.option("--epochs", type=click.IntRange(1))
@click.option("--batch", type=click.IntRange(1), help="Samples a step.")
@click.option("--lr", type=click.FloatRange(0, min_open=True), help="Learning rate.")
@click.option("--opt", type=click.Choice(["sgd", "adam", "adamw", "rmsprop"]), help="Optimizer, with its defaults.")
@click.option(
    "--val", type=click.FloatRange(0, 1, max_open=True), help="Share of the training data to choose the best epoch by."
)
@click.option("--loss", type=click.Choice(["ce", "bce", "mse", "nll"]))
@click.option("--schedule", type=click.Choice(["const", "cosine"]), help="How the learning rate changes.")
@click.option("--init", type=click.Choice(["he", "xavier", "torch"]), help="How weights start.")
@click.option("--seed", type=click.IntRange(0), help="Decides weights, split, order and dropout.")
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="How many workers, by default one for each core; without -O2, most threads of BLAS.",
)
@click.option("--limit", type=click.IntRange(1), help="Use only the first samples of each part of the data.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run; runs/<spec>-<n> by default.")
@click.option("--json", "as_json", is_flag=True, help="Nothing but the JSON line on stdout; that is so anyway.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def command(
    spec: Path,
    backend: str,
    level: int | None,
    autotune: bool,
    workers: str | None,
    threads: int | None,
    limit: int | None,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    **flags: str | int | float | None,
) -> None:
    """Train SPEC as its train block says; options given here win over it.

    Makes a run folder with metrics and checkpoints. Progress goes to stderr; stdout gets one line of JSON at the end:
    test_accuracy, val_accuracy (0 to 1; null if there is none), epochs, seconds, run. `mnist` and `cifar10` are read
    from the folder NETDSL_DATA_DIR. Exit code 3: the loss became NaN or infinite.

    \b
    Examples:
      netdsl train lenet.net
      netdsl train lenet.net --epochs 10 --lr 3e-4 --out runs/slow
      netdsl train lenet.net --threads 2 --workers processes
      netdsl train net.net --data cats-and-dogs/ --opt adamw
    """
    engine = _engine(backend, level, workers, threads)
    from netdsl.pipeline import compile_file
    from netdsl.training.evaluation import check_fits
    from netdsl.training.runs import config_of, new_run, write_setup
    from netdsl.tuning import tuned

    net = compile_file(spec)
    net = net.with_recipe(_overridden(net.recipe, flags))
    dataset = load_data(net.recipe.data, limit)
    check_fits(net, dataset)
    if engine.level == 2 and autotune:
        net = tuned(net, net.recipe.batch, engine.threads)
    run = new_run(net.name, out)
    write_setup(run, net.source.text, config_of(net, dataset, engine, limit), net.used)
    _say_start(net, dataset, engine, run, quiet)
    _finish(_train(net, dataset, engine, run, quiet), quiet)


def _engine(backend: str, level: int | None, workers: str | None, threads: int | None) -> Engine:
    """What the flags ask for; raises UsageError where they contradict each other."""
    from netdsl.kernels.workers import available_cores
    from netdsl.training.runs import Engine

    if backend == "interp" and level:
        raise click.UsageError(f"`-O {level}` is for the compiled module, not for `--backend interp`")
    engine = Engine(backend, 0 if backend == "interp" else 2 if level is None else level, workers or "auto", threads)
    if workers and not engine.is_fast:
        raise click.UsageError("`--workers` is for the compiled module at `-O 2`")
    return replace(engine, threads=threads or available_cores()) if engine.is_fast else engine


def load_data(name: str, limit: int | None) -> Dataset:
    """The data called `name`; files of `mnist` and `cifar10` come from NETDSL_DATA_DIR."""
    from netdsl.training.datasets import load_dataset

    return load_dataset(name, data_dir(), limit)


def _overridden(recipe: Recipe, flags: dict[str, str | int | float | None]) -> Recipe:
    """The recipe with what the flags say. Another optimizer starts from its own defaults."""
    from math import isfinite

    from netdsl.recipe import OPTIMIZERS

    given = {name: value for name, value in flags.items() if value is not None}
    for name, value in given.items():
        if isinstance(value, float) and not isfinite(value):
            raise click.BadParameter(f"{value} is not a finite number.", param_hint=f"--{name}")
    optimizer, options = given.pop("opt", recipe.optimizer), dict(recipe.options)
    if optimizer != recipe.optimizer:
        options = {"lr": OPTIMIZERS[optimizer].lr}
    options["lr"] = given.pop("lr", options["lr"])
    return replace(recipe, **given, optimizer=optimizer, options=options)


def _say_start(net: Net, dataset: Dataset, engine: Engine, run: Path, quiet: bool) -> None:
    from netdsl.cli import say, wants_color
    from netdsl.diagnostics import render_all

    if net.warnings:
        click.echo(render_all(net.warnings, wants_color()), err=True)
    if not quiet:
        samples = f"{len(dataset.x_train)} + {len(dataset.x_test)} samples of {dataset.name}"
        say(f"{run}: {net.name}, {net.graph.num_params:_} params, {samples}, {_described(engine)}")


def _described(engine: Engine) -> str:
    """`numpy -O2, 2 processes`."""
    from netdsl.kernels.workers import auto_kind

    if not engine.is_fast:
        return "layer objects" if engine.backend == "interp" else f"numpy -O{engine.level}"
    kind = auto_kind() if engine.workers == "auto" else engine.workers
    return f"numpy -O2, {f'{engine.threads} {kind}' if engine.threads > 1 else '1 worker'}"


def _train(net: Net, dataset: Dataset, engine: Engine, run: Path, quiet: bool) -> Result:
    """Trains under the display that fits; on Ctrl-C says what is saved."""
    from netdsl.cli import say
    from netdsl.cli.progress import progress_display
    from netdsl.training.history import Epoch
    from netdsl.training.loop import train

    finished = 0

    def on_progress(event: Progress | Epoch) -> None:
        nonlocal finished
        finished = event.epoch if isinstance(event, Epoch) else finished
        show(event)

    try:
        with progress_display(net.recipe.epochs, quiet) as show:
            return train(net, dataset, engine, run, on_progress)
    except KeyboardInterrupt:
        saved = f"epoch {finished} is saved, see {run}" if finished else f"no epoch was finished, {run} has no weights"
        say(f"stopped: {saved}")
        raise


def _finish(result: Result, quiet: bool) -> None:
    """The last lines: for people on stderr, for programs on stdout."""
    import json

    from netdsl.cli import say

    if not quiet:
        accuracy = result.test_accuracy
        score = f"loss {result.test_loss:.4g}" if accuracy is None else f"accuracy {accuracy:.2%}"
        say(f"test {score}, weights of epoch {result.epoch}, {result.seconds:.1f} s")
        say(f"saved in {result.run}; next: netdsl eval {result.run}")
    values = {
        "test_accuracy": result.test_accuracy,
        "val_accuracy": result.val_accuracy,
        "epochs": result.epochs,
        "seconds": round(result.seconds, 3),
        "run": str(result.run),
    }
    click.echo(json.dumps(values))
