"""Run folders: one training run with all that is needed to understand, evaluate and repeat it.

model.net  config.json  env.json  metrics.csv  checkpoints/{last,prev,best}.safetensors; when it is over result.json,
weights.safetensors (params and buffers alone, for other programs), plots/ and report.html; failure.json if it failed
"""

from __future__ import annotations

import glob
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netdsl import __version__
from netdsl.diagnostics import UserError, plain
from netdsl.files import write_atomic
from netdsl.recipe import LOSSES, OPTIMIZERS, SCHEMES, Recipe
from netdsl.schedules import SCHEDULES
from netdsl.training.checkpoint import checkpoint_path, load_checkpoint
from netdsl.training.datasets import BUILT_IN, Dataset
from netdsl.training.history import read_history
from netdsl.training.idx import reading, shown

if TYPE_CHECKING:
    from netdsl.backends.network import Network
    from netdsl.pipeline import Net

BACKENDS, LEVELS, WORKERS = ("numpy", "interp"), (0, 1, 2), ("threads", "processes", "auto")
LOCK_SECONDS = 2.0  # workers of a killed process hold its lock for half a second
RUNS_HELP = "`netdsl train` makes them, as `runs/lenet-1`"


@dataclass(frozen=True)
class Engine:
    """What computes a run: "interp", layer objects, or "numpy", the emitted module of that level.

    threads: workers above level 0 (None: one for each core), else the most threads of BLAS (None: no bound).
    workers: what those are, threads or processes.
    """

    backend: str = "numpy"
    level: int = 2
    workers: str = "auto"
    threads: int | None = None

    @property
    def is_fast(self) -> bool:
        return self.backend == "numpy" and self.level > 0


@dataclass(frozen=True)
class RunConfig:
    """config.json: how a run was made. `data_path` is None for built-in data, `limit` None for no bound.

    backend, level, workers, threads: its Engine's. choices: the net's, which decide rounding. Runs of netdsl before
    -O2 have no level, workers and choices.
    """

    spec: str
    recipe: Recipe
    backend: str
    data_path: str | None
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_shape: tuple[int, ...]
    threads: int | None = None
    limit: int | None = None
    netdsl: str = __version__
    level: int = 0
    workers: str = "auto"
    choices: Mapping[str, str] = field(default_factory=dict)

    @property
    def engine(self) -> Engine:
        return Engine(self.backend, self.level, self.workers, self.threads)


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


def config_of(net: Net, dataset: Dataset, engine: Engine, limit: int | None) -> RunConfig:
    """What config.json says of a run that is about to start."""
    name = net.recipe.data
    path = None if name in BUILT_IN else os.path.abspath(name)
    return RunConfig(
        net.name,
        net.recipe,
        engine.backend,
        path,
        dataset.classes,
        dataset.mean,
        dataset.std,
        tuple(dataset.input_shape),
        engine.threads,
        limit,
        level=engine.level,
        workers=engine.workers,
        choices=dict(net.choices) if engine.is_fast else {},
    )


def write_setup(run: Path, spec_text: str, config: RunConfig, used: Mapping[str, str] | None = None) -> None:
    """Writes model.net and the files that it uses, config.json and env.json. Raises OSError, and UserError where a used
    file has the name of the spec's own copy."""
    for name, text in (used or {}).items():
        if name == "model.net":
            raise UserError("a used file cannot be called `model.net`, the name of the spec in a run", "rename it")
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(run / name, text)
    write_atomic(run / "model.net", spec_text)
    write_atomic(run / "config.json", _json(asdict(config)))
    write_atomic(run / "env.json", _json(environment()))


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def environment() -> dict[str, object]:
    """What the numbers may depend on beside the config."""
    from threadpoolctl import threadpool_info

    blas = [
        {key: info.get(key) for key in ("internal_api", "version", "architecture", "num_threads")}
        for info in threadpool_info()
        if info["user_api"] == "blas"
    ]
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "byteorder": sys.byteorder,
    }


def new_model(net: Net, engine: Engine) -> Network:
    """The net with its first weights, as emitted NumPy module or as layer objects; `close_model` ends it."""
    assert engine.backend in BACKENDS and engine.level in LEVELS, engine
    if engine.backend == "interp":
        return net.build(seed=net.recipe.seed)
    options = {"workers": engine.threads, "kind": engine.workers} if engine.is_fast else {}
    return net.numpy_model(seed=net.recipe.seed, level=engine.level, **options)


def close_model(model: Network) -> None:
    """Ends the workers of a model that has some."""
    getattr(model, "close", lambda: None)()


def read_run(path: Path) -> Run:
    """The run in the folder `path`. Raises UserError where it is none, or damaged."""
    file = path / "config.json"
    if not path.is_dir():
        raise UserError(f"{shown(path)} is not a folder, expected that of a training run", help=RUNS_HELP)
    if not file.exists() or not (path / "model.net").exists():
        missing = "model.net" if file.exists() else "config.json"
        raise UserError(f"{shown(path)} is not a run folder: it has no `{missing}`", help=RUNS_HELP)
    with reading(file):
        values = json.loads(file.read_text(encoding="utf-8"))
    try:
        return Run(path, _config(values))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{shown(file)} is damaged: {plain(str(error))[:200]}", help="train again") from None


def _config(values: Mapping) -> RunConfig:
    """Raises KeyError, TypeError, ValueError or AttributeError for values that no run has."""
    if not isinstance(values, dict):
        raise TypeError(f"it holds a {type(values).__name__}, expected an object")
    values = {"level": 0, "workers": "auto", "choices": {}, **values}
    missing = [f.name for f in fields(RunConfig) if f.name not in values]
    if missing:
        raise ValueError(f"it has no {', '.join(f'`{name}`' for name in missing)}")
    known = {f.name: values[f.name] for f in fields(RunConfig)}
    known["recipe"] = _recipe(dict(known["recipe"]))
    for name, kind in (("classes", str), ("mean", float), ("std", float), ("input_shape", int)):
        known[name] = tuple(kind(value) for value in known[name])
    if known["backend"] not in BACKENDS or len(known["mean"]) != len(known["std"]) or not known["mean"]:
        raise ValueError("`backend`, `mean` or `std` has a wrong value")
    if known["level"] not in LEVELS or known["workers"] not in WORKERS or not isinstance(known["choices"], dict):
        raise ValueError("`level`, `workers` or `choices` has a wrong value")
    if known["threads"] is not None and not (isinstance(known["threads"], int) and known["threads"] > 0):
        raise ValueError("`threads` has a wrong value")
    return RunConfig(**known)


def _recipe(values: dict) -> Recipe:
    for key in ("options", "loss_options", "schedule_options", "augment"):
        given = dict(values.get(key, {}))
        values[key] = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
    recipe, options = Recipe(**values), values["options"]
    if recipe.loss not in LOSSES or recipe.optimizer not in OPTIMIZERS:
        raise ValueError("`recipe` names an unknown loss or optimizer")
    if recipe.init not in SCHEMES or recipe.schedule not in SCHEDULES:
        raise ValueError("`recipe` names an unknown initialisation or schedule")
    numbers = (recipe.clip, recipe.ema, recipe.patience)
    if not all(value is None or (isinstance(value, int | float) and value > 0) for value in numbers):
        raise ValueError("`clip`, `ema` or `patience` has a wrong value")
    if not isinstance(recipe.seed, int) or recipe.seed < 0 or not isinstance(recipe.data, str) or "lr" not in options:
        raise ValueError("`recipe` has a wrong value")
    return recipe


def load_run(
    run: Run, which: str | None = None, on_note: Callable[[str], None] = lambda _: None
) -> tuple[Net, Network, str]:
    """-> the run's net, its model with the weights of checkpoint `which`, and which it was.

    None takes the best, or the last where there is no best (no validation set). Where the last is damaged the one
    before it is taken, and `on_note` told. Raises UserError, SpecError.
    """
    net, which = run_net(run), which or ("best" if checkpoint_path(run.path, "best").exists() else "last")
    there = [
        name for name in {"last": ("last", "prev")}.get(which, (which,)) if checkpoint_path(run.path, name).exists()
    ]
    if not there:
        text = f"the run {shown(run.path)} has no checkpoint `{which}`"
        why = "it was made without validation data: use `last`" if which == "best" else "no epoch was finished"
        raise UserError(text, help=why)
    model = new_model(net, run.config.engine)
    for name in there:
        try:
            load_checkpoint(checkpoint_path(run.path, name), model)
        except UserError as error:
            if name == there[-1]:
                raise
            on_note(f"{error.message}; `{there[-1]}`, the one before it, is used")
            continue
        break
    return net, model, name


def run_net(run: Run) -> Net:
    """The net that a run trains, with its recipe and its choices."""
    from netdsl.pipeline import compile_file

    return compile_file(run.path / "model.net").with_recipe(run.config.recipe).with_choices(run.config.choices)


# ------------------------------------------------------------------------------------------------ going on with a run


def latest_run(spec_name: str) -> Path:
    """The run of that spec with the highest number. Raises UserError where there is none."""
    numbers = [path.name.removeprefix(f"{spec_name}-") for path in Path("runs").glob(f"{glob.escape(spec_name)}-*")]
    found = [int(number) for number in numbers if number.isascii() and number.isdigit()]
    if not found:
        raise UserError(
            f"there is no run `runs/{spec_name}-<n>` to go on with", help="name its folder after `--resume`"
        )
    return Path("runs") / f"{spec_name}-{max(found)}"


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """While it is open no other process trains this run; what a killed one left half written is removed.

    Raises UserError where another one does. The lock ends with the process, however it ends.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(run / ".lock")
    try:
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout:
        text = f"another process trains {shown(run)}"
        raise UserError(text, help="wait for its end, or start a run of its own without `--resume`") from None
    try:
        for leftover in (
            path for folder in (run, run / "checkpoints", run / "plots") for path in folder.glob(".*.tmp")
        ):
            leftover.unlink()
        yield
    finally:
        lock.release()


def result_path(run: Path) -> Path:
    """What a run came to; a run without one is not over."""
    return run / "result.json"


def extended(run: Run, epochs: int | None) -> Run:
    """The run to go on with, up to so many epochs (None: its own). Raises UserError where it is over by then."""
    recipe, done = run.config.recipe, len(read_history(run.path))
    if epochs is not None and epochs < done:
        text = f"the run {shown(run.path)} has {done} epochs behind it, more than {epochs}"
        raise UserError(text, help=f"use `--epochs {done + recipe.epochs}`, or another run")
    if result_path(run.path).exists() and (epochs is None or epochs <= recipe.epochs):
        text = f"the run {shown(run.path)} is over after {done} epochs"
        raise UserError(text, help=f"`--epochs {done + recipe.epochs}` makes it longer")
    if epochs is None or epochs == recipe.epochs:
        return run
    longer = replace(run, config=replace(run.config, recipe=replace(recipe, epochs=epochs)))
    write_atomic(run.path / "config.json", _json(asdict(longer.config)))
    result_path(run.path).unlink(missing_ok=True)
    return longer
