"""Run folders: one training run with all that is needed to understand, evaluate and repeat it.

model.net  config.json  env.json  metrics.csv  checkpoints/{last,prev,best}.safetensors, of a network that writes
samples.jsonl (what it wrote at each row of metrics.csv); when it is over result.json, weights.safetensors (params and
buffers alone, for other programs), plots/ and report.html; failure.json if it failed
"""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netdsl.graph.types import show_sizes
from netdsl.ground.diagnostics import UserError
from netdsl.ground.files import read_json
from netdsl.ground.reading import shown
from netdsl.training.runs.checkpoint import checkpoint_path, load_checkpoint
from netdsl.training.runs.config import RunConfig, read_config, write_config
from netdsl.training.runs.engine import Engine, new_model
from netdsl.training.runs.history import read_history
from netdsl.training.runs.run_files import check_files

if TYPE_CHECKING:
    from netdsl.pipeline import Net
    from netdsl.targets.contract import Model

LOCK_SECONDS = 2.0  # workers of a killed process hold its lock for half a second
OTHERS = {"best": "`--checkpoint last` takes the weights of the last epoch"}
RUNS_HELP = "`netdsl train` makes them, as `runs/lenet-1`"


@dataclass(frozen=True)
class Run:
    """A run folder that was read."""

    path: Path
    config: RunConfig

    @property
    def data(self) -> str:
        """The name or path of the data it was trained on."""
        return self.config.data_path or self.config.recipe.data


def new_run(spec_name: str, out: Path | None) -> Path:
    """Makes the folder of a run: `out`, new or empty, or the first free `runs/<spec_name>-<n>`.

    Raises UserError, OSError. Two runs that start at once get two folders.
    """
    if out is None:
        return _first_free(Path("runs"), spec_name)
    if out.exists() and not out.is_dir():
        raise UserError(f"{shown(out)} is a file, expected a folder for the run")
    out.mkdir(parents=True, exist_ok=True)
    try:
        if not os.listdir(out):
            (out / "checkpoints").mkdir()  # who makes it owns the folder
            return out
    except FileExistsError:
        pass
    raise UserError(f"the folder {shown(out)} is not empty", help="choose another `--out`; a run never overwrites one")


@contextmanager
def starting(spec_name: str, out: Path | None) -> Iterator[Path]:
    """The folder that `new_run` makes; what fails before there is anything to go on with leaves nothing of it."""
    above = out or Path("runs")
    missing = [path for path in (above, *above.parents) if not path.exists()]
    run = new_run(spec_name, out)
    try:
        yield run
    except Exception:
        if not has_begun(run):
            _remove(run, missing if out else [run, *missing])
        raise


def has_begun(run: Path) -> bool:
    """Whether there is anything in the run that training made: a checkpoint, metrics, or what failed."""
    return any((run / "checkpoints").glob("*.safetensors")) or any(
        (run / name).exists() for name in ("metrics.csv", "failure.json")
    )


def discard(run: Path) -> None:
    """Removes the folder of a run that was killed before it began, if it is there."""
    if run.is_dir():
        check_files(run)
        _remove(run, [run])


def _remove(run: Path, made: list[Path]) -> None:
    """Empties the folder of a run, and removes those of the folders that were made for it, the innermost first."""
    for path in run.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    for path in made:
        try:
            path.rmdir()
        except OSError:  # another run is in it
            return


def _first_free(folder: Path, spec_name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for n in count(1):
        run = folder / f"{spec_name}-{n}"
        try:
            run.mkdir()
        except FileExistsError:
            continue
        (run / "checkpoints").mkdir()
        return run
    raise AssertionError("count() ended")


def read_run(path: Path) -> Run:
    """The run in the folder `path`. Raises UserError where it is none, or damaged, or leads out of the folder."""
    file = path / "config.json"
    if not path.is_dir():
        raise UserError(f"{shown(path)} is not a folder, expected that of a training run", help=RUNS_HELP)
    check_files(path)
    if not file.exists() or not (path / "model.net").exists():
        missing = "model.net" if file.exists() else "config.json"
        raise UserError(f"{shown(path)} is not a run folder: it has no `{missing}`", help=RUNS_HELP)
    return Run(path, read_config(path))


def load_run(
    run: Run, which: str | None = None, on_note: Callable[[str], None] = lambda _: None, engine: Engine | None = None
) -> tuple[Net, Model, str]:
    """-> the run's net, its model with the weights of checkpoint `which`, and which it was.

    None takes the best, or the last where there is no best (no validation set). Where the last is damaged the one
    before it is taken, and `on_note` told. engine: what computes; None is the run's own. Raises UserError, SpecError.
    """
    net, which = run_net(run), which or ("best" if checkpoint_path(run.path, "best").exists() else "last")
    _check_agrees(run, net)
    there = [
        name for name in {"last": ("last", "prev")}.get(which, (which,)) if checkpoint_path(run.path, name).exists()
    ]
    if not there:
        text = f"the run {shown(run.path)} has no checkpoint `{which}`"
        why = "it was made without validation data: use `last`" if which == "best" else "no epoch was finished"
        raise UserError(text, help=why)
    engine = engine or run.config.engine
    engine.check()
    model = new_model(net, engine)
    try:
        name = _loaded(run, there, model, on_note)
    except BaseException:
        model.close()
        raise
    return net, model, name


def _loaded(run: Run, there: Sequence[str], model: Model, on_note: Callable[[str], None]) -> str:
    """Loads the first of the run's checkpoints that can be read -> its name. Raises UserError where none can."""
    for name in there:
        try:
            load_checkpoint(checkpoint_path(run.path, name), model)
        except UserError as error:
            if name == there[-1]:
                raise UserError(error.message, help=error.help or OTHERS.get(name, "")) from None
            on_note(f"{error.message}; `{there[-1]}`, the one before it, is used")
            continue
        return name
    raise AssertionError("there is a checkpoint at least")


def _check_agrees(run: Run, net: Net) -> None:
    """Raises UserError where config.json speaks of another network than model.net."""
    config, shape, gives = run.config, net.graph.input_shape, net.graph.output_type
    wants = 1 if config.recipe.targets == "truth" else len(config.classes)
    if config.input_shape != shape:
        what = f"samples of {show_sizes(config.input_shape)}, `model.net` of {show_sizes(shape)}"
    elif len(config.mean) not in (1, shape[0]):
        what = f"{len(config.mean)} means, `model.net` an input of {show_sizes(shape)}"
    elif config.classes and (gives.channels < wants if gives.is_tokens else gives.sizes[0] != wants):
        what = f"{len(config.classes)} classes, `model.net` an output of {gives.show()}"
    else:
        return
    raise UserError(f"{shown(run.path)} is damaged: `config.json` has {what}", help="train again")


def run_net(run: Run) -> Net:
    """The net that a run trains, with its recipe and its choices."""
    from netdsl.pipeline import compile_file

    net = compile_file(run.path / "model.net").with_recipe(run.config.recipe)
    return net.with_choices(run.config.choices).for_samples(run.config.samples)


# ------------------------------------------------------------------------------------------------ going on with a run


def latest_run(spec_name: str) -> Path:
    """The run of that spec with the highest number. Raises UserError where there is none."""
    numbers = [path.name.removeprefix(f"{spec_name}-") for path in Path("runs").glob(f"{glob.escape(spec_name)}-*")]
    taken = [int(number) for number in numbers if number.isascii() and number.isdigit()]
    if not taken:
        raise UserError(
            f"there is no run `runs/{spec_name}-<n>` to go on with", help="name its folder after `--resume`"
        )
    return Path("runs") / f"{spec_name}-{max(taken)}"


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """While it is open no other process trains this run; what a killed one left half written is removed.

    Raises UserError where another one does. The lock ends with the process, however it ends.
    """
    from filelock import FileLock, Timeout

    check_files(run)
    lock = FileLock(run / ".lock")
    try:
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout:
        text = f"another process trains {shown(run)}"
        raise UserError(text, help="wait for its end, or start a run of its own without `--resume`") from None
    except NotImplementedError:
        text = f"the file system of {shown(run)} has no locks, so that two processes could train it at once"
        raise UserError(text, help="choose a folder on another disk by `--out`") from None
    try:
        for leftover in (
            path for folder in (run, run / "checkpoints", run / "plots") for path in folder.glob(".*.tmp")
        ):
            leftover.unlink()  # in a folder that has no links
        yield
    finally:
        lock.release()


def result_path(run: Path) -> Path:
    """What a run came to; a run without one is not over."""
    return run / "result.json"


def _done(run: Path, unit: str) -> int:
    """How many epochs or steps a run has behind it."""
    try:
        result = read_json(result_path(run))
        done = result[unit] if isinstance(result, dict) else None
        if isinstance(done, int) and 0 <= done < 2**53:
            return int(done)
    except (OSError, ValueError, KeyError, TypeError):  # it is not over
        pass
    history = read_history(run)
    return len(history) if unit == "epochs" or not history else history[-1].step or 0


def extended(run: Run, epochs: int | None, steps: int | None = None) -> Run:
    """The run to go on with, up to so many epochs, or steps where it is counted in these (None: its own). Raises
    UserError where it is over by then."""
    recipe = run.config.recipe
    unit, other = ("epochs", "steps") if recipe.steps is None else ("steps", "epochs")
    length, until, wrong = (recipe.steps or recipe.epochs), *((epochs, steps) if unit == "epochs" else (steps, epochs))
    done = _done(run.path, unit)
    if wrong is not None:
        text = f"the run {shown(run.path)} is counted in {unit}, not in {other}"
        raise UserError(text, help=f"`--{unit} {done + length}` makes it longer")
    if until is not None and until < done:
        text = f"the run {shown(run.path)} has {done} {unit} behind it, more than {until}"
        raise UserError(text, help=f"use `--{unit} {done + length}`, or another run")
    if result_path(run.path).exists() and (until is None or until <= length):
        text = f"the run {shown(run.path)} is over after {done} {unit}"
        raise UserError(text, help=f"`--{unit} {done + length}` makes it longer")
    if until is None or until == length:
        return run
    changed: dict[str, Any] = (
        {"epochs": until} if unit == "epochs" else {"steps": until, "every": min(recipe.steps_a_row or 1, until)}
    )
    longer = replace(run, config=replace(run.config, recipe=replace(recipe, **changed)))
    write_config(run.path, longer.config)
    result_path(run.path).unlink(missing_ok=True)
    return longer


def with_engine(run: Run, engine: Engine) -> Run:
    """The run to go on with by that engine, which its config.json names from here on."""
    if engine == run.config.engine:
        return run
    changed = replace(run, config=run.config.with_engine(engine))
    write_config(run.path, changed.config)
    return changed
