"""config.json and env.json: how a run was made, and on what."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netdsl import __version__
from netdsl.diagnostics import UserError, plain
from netdsl.files import write_atomic
from netdsl.recipe import FITS, LOSSES, MONITORS, OPTIMIZERS, SCHEMES, Recipe
from netdsl.schedules import SCHEDULES
from netdsl.training.datasets import BUILT_IN, Dataset
from netdsl.training.engine import BACKENDS, LEVELS, WORKERS, Engine
from netdsl.training.idx import reading, shown

if TYPE_CHECKING:
    from netdsl.pipeline import Net


@dataclass(frozen=True)
class RunConfig:
    """config.json: how a run was made. `data_path` is None for built-in data, `limit` None for no bound.

    backend, level, workers, threads: its Engine's. choices: the net's, which decide rounding. digest: that of
    the data it learned from. bits: how many of their bits its 16-bit images use, None without such. Older runs have no
    level, workers, choices, digest and bits.
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
    digest: str | None = None
    bits: int | None = None

    @property
    def engine(self) -> Engine:
        return Engine(self.backend, self.level, self.workers, self.threads)


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
        digest=dataset.digest(),
        bits=dataset.bits,
    )


def what_changed(run: Path) -> list[str]:
    """What the numbers may depend on and is another now than when the run began, in words."""
    try:
        before = json.loads((run / "env.json").read_text(encoding="utf-8"))
        then, now = _decisive(before), _decisive(environment())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # lost or damaged: training does not need it
        return []
    both = [(key, then[key], now[key]) for key in then if not then[key] <= now[key]]
    return [f"{key} was {', '.join(sorted(a))}, is {', '.join(sorted(b))}" for key, a, b in both]


def _decisive(environment: Mapping) -> dict[str, set[str]]:
    """What decides the last bits of the weights. Other libraries may bring a BLAS of their own into the process."""
    blas = {f"{info['internal_api']} {info['version']} for {info['architecture']}" for info in environment["blas"]}
    return {"numpy": {str(environment["numpy"])}, "BLAS": blas, "machine": {str(environment["machine"])}}


def write_setup(run: Path, spec_text: str, config: RunConfig, used: Mapping[str, str] | None = None) -> None:
    """Writes model.net and the files that it uses, config.json and env.json. Raises OSError, and UserError where a used
    file has the name of the spec's own copy."""
    for name, text in (used or {}).items():
        if name == "model.net":
            raise UserError("a used file cannot be called `model.net`, the name of the spec in a run", "rename it")
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(run / name, text)
    write_atomic(run / "model.net", spec_text)
    write_config(run, config)
    write_atomic(run / "env.json", _json(environment()))


def write_config(run: Path, config: RunConfig) -> None:
    """Writes config.json. Raises OSError."""
    write_atomic(run / "config.json", _json(asdict(config)))


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


def read_config(run: Path) -> RunConfig:
    """What config.json of the run says. Raises UserError where it is damaged."""
    file = run / "config.json"
    with reading(file):
        values = json.loads(file.read_text(encoding="utf-8"))
    try:
        return _config(values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{shown(file)} is damaged: {plain(str(error))[:200]}", help="train again") from None


def _config(values: Mapping) -> RunConfig:
    """Raises KeyError, TypeError, ValueError or AttributeError for values that no run has."""
    if not isinstance(values, dict):
        raise TypeError(f"it holds a {type(values).__name__}, expected an object")
    values = {"level": 0, "workers": "auto", "choices": {}, "digest": None, "bits": 16, **values}
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
    if known["bits"] is not None and not (type(known["bits"]) is int and 8 <= known["bits"] <= 16):
        raise ValueError("`bits` has a wrong value")
    if known["threads"] is not None and not (isinstance(known["threads"], int) and known["threads"] > 0):
        raise ValueError("`threads` has a wrong value")
    return RunConfig(**known)


def _recipe(values: dict) -> Recipe:
    for key in ("options", "loss_options", "schedule_options", "augment"):
        given = dict(values.get(key, {}))
        values[key] = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
    values.setdefault("monitor", "val_accuracy")  # as runs had it before they could say so
    recipe, options = Recipe(**values), values["options"]
    if recipe.loss not in LOSSES or recipe.optimizer not in OPTIMIZERS:
        raise ValueError("`recipe` names an unknown loss or optimizer")
    if recipe.monitor not in MONITORS:
        raise ValueError("`recipe` names an unknown monitor")
    if recipe.init not in SCHEMES or recipe.schedule not in SCHEDULES:
        raise ValueError("`recipe` names an unknown initialisation or schedule")
    if recipe.fit not in (None, *FITS):
        raise ValueError("`recipe` names an unknown fit")
    numbers = (recipe.clip, recipe.ema, recipe.patience)
    if not all(value is None or (isinstance(value, int | float) and value > 0) for value in numbers):
        raise ValueError("`clip`, `ema` or `patience` has a wrong value")
    if not isinstance(recipe.seed, int) or recipe.seed < 0 or not isinstance(recipe.data, str) or "lr" not in options:
        raise ValueError("`recipe` has a wrong value")
    return recipe
