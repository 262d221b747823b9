"""config.json and env.json: how a run was made, and on what."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl import __version__
from netdsl.graph.recipe import DATASETS, Recipe
from netdsl.ground.diagnostics import UserError, plain
from netdsl.ground.files import read_json, write_atomic
from netdsl.ground.names import identifier
from netdsl.ground.reading import reading, shown
from netdsl.ground.samples import SAMPLES
from netdsl.ground.system.disk import name_in_letters, name_on_disk
from netdsl.ground.system.machine import facts, python_version
from netdsl.targets.contract import Device
from netdsl.targets.registry import levels, runners
from netdsl.training.data.dataset import Dataset
from netdsl.training.data.wavs import MAX_RATE
from netdsl.training.runs.engine import AMP, DEVICES, MOST_WORKERS, WORKERS, Engine
from netdsl.training.runs.recipe_values import recipe_of

if TYPE_CHECKING:
    from netdsl.pipeline import Net

Check = Callable[[str, object], Any]
"""(field, its value in JSON) -> the field's own value, of the type that the field has. Raises ValueError."""

MOST_TEXT, MOST_VALUES, MOST_NUMBER = 10_000, 100_000, 1e100  # characters, items, and how large, in config.json


@dataclass(frozen=True)
class RunConfig:
    """config.json: how a run was made. `data_path` is None for built-in data, `limit` None for no bound.

    backend, level, workers, threads: its Engine's. choices, samples: the net's, which decide rounding. digest: that of
    the data it learned from. bits: how many of their bits its 16-bit images use, None without such. rate: that of its
    recordings, numbers a second. device: its Engine's. Older runs have no level, workers, choices, samples, digest,
    bits, rate and device.
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
    samples: int = SAMPLES
    digest: str | None = None
    bits: int | None = None
    rate: int | None = None
    device: Device = Device()

    @property
    def engine(self) -> Engine:
        return Engine(self.backend, self.level, self.workers, self.threads, self.device)

    def with_engine(self, engine: Engine) -> RunConfig:
        """The config of the same run, computed by that engine."""
        backend, level, workers = engine.backend, engine.level, engine.workers
        return replace(
            self, backend=backend, level=level, workers=workers, threads=engine.threads, device=engine.device
        )


def config_of(net: Net, dataset: Dataset, engine: Engine, limit: int | None) -> RunConfig:
    """What config.json says of a run that is about to start."""
    name = net.recipe.data
    path = None if name in DATASETS else name_in_letters(os.path.abspath(name_on_disk(name)))
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
        choices=dict(net.choices) if engine.has_workers else {},
        samples=net.samples,
        digest=dataset.digest(),
        bits=dataset.bits,
        rate=dataset.rate,
        device=engine.device,
    )


def what_changed(run: Path, processes: int = 1, packages: Sequence[str] = ()) -> list[str]:
    """What the numbers may depend on and is another now than when the run began, in words. packages: as `environment`
    has them."""
    try:
        stored: Any = read_json(run / "env.json")
        now = _decisive(environment(processes, packages), packages)
        then = _decisive(stored, [name for name in packages if name in stored])  # another backend may have begun it
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # training does not need it
        return ["env.json of the run cannot be read"]
    both = [(key, then[key], now[key]) for key in then if not then[key] <= now[key]]
    return [f"{key} was {', '.join(sorted(a))[:200]}, is {', '.join(sorted(b))}" for key, a, b in both]


def _decisive(environment: Any, packages: Sequence[str] = ()) -> dict[str, set[str]]:
    """What of env.json, which may hold anything, decides the last bits of the weights; packages: those that compute.

    Several for BLAS: other libraries may bring one of their own with them."""
    blas = {f"{info['internal_api']} {info['version']} for {info['architecture']}" for info in environment["blas"]}
    return {
        "numpy": {str(environment["numpy"])},
        "BLAS": blas,
        "machine": {str(environment["machine"])},
        "the number of processes": {str(environment.get("processes", 1))},
        **{name: {str(environment[name])} for name in packages},
    }


def write_setup(
    run: Path, spec_text: str, config: RunConfig, used: Mapping[str, str] | None = None, processes: int = 1
) -> None:
    """Writes model.net and the files that it uses, config.json and, last, env.json. Raises OSError, and UserError where
    a used file has the name of the spec's own copy. processes: how many share a batch."""
    for name, text in (used or {}).items():
        if name == "model.net":
            raise UserError("a used file cannot be called `model.net`, the name of the spec in a run", "rename it")
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(run / name, text)
    write_atomic(run / "model.net", spec_text)
    write_config(run, config)
    write_atomic(run / "env.json", _json(environment(processes, config.engine.target.needs)))


def write_config(run: Path, config: RunConfig) -> None:
    """Writes config.json. Raises OSError."""
    write_atomic(run / "config.json", _json(asdict(config)))


def _json(value: object) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if any("\ud800" <= c <= "\udfff" for c in text):  # the name of a folder that is no UTF-8
        text = json.dumps(value, indent=2)
    return text + "\n"


def environment(processes: int = 1, packages: Sequence[str] = ()) -> dict[str, object]:
    """What the numbers may depend on beside the config; of a process alone it does not say that it is. packages: those
    that compute, beside NumPy."""
    from threadpoolctl import threadpool_info  # type: ignore[import-untyped]  # it comes without types

    blas = [
        {key: info.get(key) for key in ("internal_api", "version", "architecture", "num_threads")}
        for info in threadpool_info()
        if info["user_api"] == "blas"
    ]
    return {
        "python": python_version(),
        "numpy": np.__version__,
        "blas": blas,
        **{name: _version_of(name) for name in packages},
        **({"processes": processes} if processes > 1 else {}),
        **facts(),
    }


def _version_of(package: str) -> str:
    """The version of a package, which is not imported for it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def read_config(run: Path) -> RunConfig:
    """What config.json of the run says. Raises UserError where it is damaged: nothing that no run has comes through."""
    file = run / "config.json"
    with reading(file):
        values = read_json(file)
    try:
        return _config(values)
    except ValueError as error:
        raise UserError(f"{shown(file)} is damaged: {plain(str(error))[:200]}", help="train again") from None


def _config(values: object) -> RunConfig:
    """Raises ValueError for values that no run has."""
    if not isinstance(values, dict):
        raise ValueError(f"it holds a {type(values).__name__}, expected an object")
    unknown = [key for key in values if key not in _CHECKS]
    if unknown:
        raise ValueError(f"it has the unknown key `{unknown[0][:80]}`")
    values = {
        "level": 0,
        "workers": "auto",
        "choices": {},
        "samples": SAMPLES,
        "digest": None,
        "bits": 16,
        "rate": None,
        "device": {},
        **values,
    }
    missing = [f.name for f in fields(RunConfig) if f.name not in values]
    if missing:
        raise ValueError(f"it has no {', '.join(f'`{name}`' for name in missing)}")
    config = RunConfig(**{name: check(name, values[name]) for name, check in _CHECKS.items()})
    if len(config.mean) != len(config.std) or not config.mean:
        raise ValueError(f"`mean` has {len(config.mean)} numbers, `std` {len(config.std)}")
    if config.data_path is None and config.recipe.data not in DATASETS:
        raise ValueError("`data_path` has no path, but `data` is no name of data that netdsl has")
    return config


def _wrong(name: str) -> ValueError:
    return ValueError(f"`{name}` has a wrong value")


def _one_of(known: Sequence[object]) -> Check:
    def check(name: str, value: object) -> object:
        if isinstance(value, bool | float) or value not in known:
            raise _wrong(name)
        return value

    return check


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > MOST_TEXT or "\0" in value:
        raise _wrong(name)
    return value


def _whole(most: int) -> Check:
    def check(name: str, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
            raise _wrong(name)
        return value

    return check


def _number(name: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= MOST_NUMBER:
        raise _wrong(name)
    return float(value)


def _above_0(name: str, value: object) -> float:
    if _number(name, value) <= 0:
        raise _wrong(name)
    return _number(name, value)


def _or_none(check: Check) -> Check:
    return lambda name, value: None if value is None else check(name, value)


def _each(check: Check) -> Check:
    def checked(name: str, value: object) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) > MOST_VALUES:
            raise _wrong(name)
        return tuple(check(name, part) for part in value)

    return checked


def _spec(name: str, value: object) -> str:
    if not isinstance(value, str) or identifier(value) != value:
        raise _wrong(name)
    return value


def _path(name: str, value: object) -> str:
    """The path as `config_of` writes it, absolute; not one of another machine (`//server/share`), which even to ask for
    would tell it who asks."""
    text = _text(name, value)
    parts = text.replace("\\", "/").split("/")
    if not text or ".." in parts or parts[:2] == ["", ""] or not (parts[0] == "" or parts[0][1:] == ":"):
        raise _wrong(name)
    return text


def _choices(name: str, value: object) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > MOST_VALUES:
        raise _wrong(name)
    return {_text(name, key): _text(name, answer) for key, answer in value.items()}


def _device(name: str, value: object) -> Device:
    if not isinstance(value, dict) or not set(value) <= {f.name for f in fields(Device)}:
        raise _wrong(name)
    device = Device(**value)
    words = device.name, device.amp
    flags = device.is_compiled, device.is_channels_last, device.is_synced, device.is_sharded
    if not isinstance(words[0], str) or not DEVICES.fullmatch(words[0]) or words[1] not in (None, *AMP):
        raise _wrong(name)
    if not all(isinstance(flag, bool) for flag in flags):
        raise _wrong(name)
    return device


_CHECKS: Mapping[str, Check] = {
    "spec": _spec,
    "recipe": lambda name, value: recipe_of(value),
    "backend": lambda name, value: _one_of(runners())(name, value),
    "data_path": _or_none(_path),
    "classes": _each(_text),
    "mean": _each(_number),
    "std": _each(_above_0),
    "input_shape": _each(_whole(2**31)),
    "threads": _or_none(_whole(MOST_WORKERS)),
    "limit": _or_none(_whole(2**53)),
    "netdsl": _text,
    "level": lambda name, value: _one_of(levels())(name, value),
    "workers": _one_of(WORKERS),
    "choices": _choices,
    "samples": _whole(2**31),
    "digest": _or_none(_text),
    "bits": _or_none(_one_of(range(8, 17))),
    "rate": _or_none(_whole(MAX_RATE)),
    "device": _device,
}
"""Field of a RunConfig -> what checks its value in JSON, and gives the field's."""
