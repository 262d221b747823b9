"""What computes a run, as it is chosen, and the models it makes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from netdsl.ground.diagnostics import UserError, plain
from netdsl.ground.ranks import ALONE, Ranks
from netdsl.stages.forks import can_fork
from netdsl.targets.contract import Device, Model, Target, Workers
from netdsl.targets.registry import DEFAULT, levels_of, target_of

if TYPE_CHECKING:
    from netdsl.pipeline import Net

WORKERS = ("threads", "processes", "auto")
MOST_WORKERS = 256
FLAGS = {
    "name": "`--device`",
    "amp": "`--amp`",
    "is_compiled": "`--compile`",
    "is_channels_last": "`--channels-last`",
    "is_synced": "`--sync-bn`",
    "is_sharded": "`--fsdp`",
}
"""Field of a Device -> the option that sets it."""
AMP = ("bfloat16", "float16")
DEVICES = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")


@dataclass(frozen=True)
class Engine:
    """What computes a run: the target called `backend`, at that level where it has several.

    threads: workers where the target has some (None: one for each core), else the most threads of BLAS, or of PyTorch
    (None: no bound). workers: what those are, threads or processes. device: where PyTorch computes, and how.
    """

    backend: str = DEFAULT
    level: int = 2
    workers: str = "auto"
    threads: int | None = None
    device: Device = Device()

    @property
    def target(self) -> Target:
        """The target that makes the models. Raises UserError where there is none of that name."""
        levels = levels_of(self.backend)
        return target_of(self.backend, self.level if self.level in levels or not levels else levels[-1])

    @property
    def has_workers(self) -> bool:
        """Whether its models share a batch among workers."""
        return self.target.has_workers

    @property
    def has_devices(self) -> bool:
        """Whether its `device` says where it computes."""
        return self.target.has_devices

    def check(self) -> str:
        """What computes here, `2.13.0 on cpu`; nothing where there is no choice. Raises UserError where it cannot."""
        if self.target.check is None:
            return ""
        try:
            return self.target.check(self.device)
        except UserError as error:
            raise UserError(error.message, help=f"{error.help}; `--backend {DEFAULT}` does without") from None

    @property
    def is_tuned(self) -> bool:
        """Whether the net's choices of algorithms decide what it computes."""
        return self.level in self.target.tuned

    @property
    def kind(self) -> str:
        """What its workers are on this system: a run of processes, where there is no fork, goes on with threads, which
        compute the same."""
        return "threads" if self.workers == "processes" and not can_fork() else self.workers


def changed_engine(engine: Engine, given: Mapping[str, Any]) -> Engine:
    """The engine with what was given of `backend`, `level`, `workers`, `threads` and of the fields of its Device; None
    is not given.

    Another backend starts with its own level and device. Raises UserError where what was given does not fit it.
    """
    asked = {name: value for name, value in given.items() if value is not None}
    backend = asked.pop("backend", engine.backend)
    if backend != engine.backend:
        engine = Engine(backend, max(levels_of(backend)), threads=engine.threads)
    own = {field.name: asked.pop(field.name) for field in fields(Device) if field.name in asked}
    engine = replace(engine, **asked, device=replace(engine.device, **own))
    _check_engine(engine, asked, own)
    return engine


def _check_engine(engine: Engine, asked: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    if asked.get("level") and asked["level"] not in levels_of(engine.backend):
        raise UserError(f"`-O {asked['level']}` is for the compiled module, not for `--backend {engine.backend}`")
    if "workers" in asked and not engine.has_workers:
        raise UserError("`--workers` is for the compiled module at `-O 2`")
    if own and not engine.has_devices:
        text = f"{FLAGS[next(iter(own))]} is for PyTorch, not for `--backend {engine.backend}`"
        raise UserError(text, help="add `--backend torch`")
    if not DEVICES.fullmatch(engine.device.name):
        names = "auto, cpu, cuda, cuda:1 or mps"
        raise UserError(f"there is no device `{plain(engine.device.name)[:40]}`", help=f"use {names}")


def new_model(net: Net, engine: Engine, ranks: Ranks = ALONE) -> Model:
    """The net with its first weights, as the engine's target makes it; `close` ends it. ranks: who shares a batch."""
    workers = Workers(engine.threads, engine.kind, engine.device, ranks)
    levels = engine.target.levels
    return net.model(engine.backend, engine.level if engine.level in levels else max(levels), workers=workers)


def engine_threads(engine: Engine) -> AbstractContextManager[object]:
    """Bounds BLAS's threads while it is open, unless the engine has workers, which are given one each."""
    return nullcontext() if engine.has_workers else blas_threads(engine.threads)


def blas_threads(threads: int | None) -> AbstractContextManager[object]:
    """Bounds BLAS's threads while it is open; None leaves them alone."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it comes without types

    return nullcontext() if threads is None else threadpool_limits(threads, user_api="blas")
