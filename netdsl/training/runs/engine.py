"""What computes a run, as it is chosen, and the models it makes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netdsl.stages.workers import can_fork
from netdsl.targets.contract import Model, Target, Workers
from netdsl.targets.registry import DEFAULT, levels_of, target_of

if TYPE_CHECKING:
    from netdsl.pipeline import Net

WORKERS = ("threads", "processes", "auto")
MOST_WORKERS = 256


@dataclass(frozen=True)
class Engine:
    """What computes a run: the target called `backend`, at that level where it has several.

    threads: workers where the target has some (None: one for each core), else the most threads of BLAS (None: no
    bound). workers: what those are, threads or processes.
    """

    backend: str = DEFAULT
    level: int = 2
    workers: str = "auto"
    threads: int | None = None

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
    def is_tuned(self) -> bool:
        """Whether the net's choices of algorithms decide what it computes."""
        return self.level in self.target.tuned

    @property
    def kind(self) -> str:
        """What its workers are on this system: a run of processes, where there is no fork, goes on with threads, which
        compute the same."""
        return "threads" if self.workers == "processes" and not can_fork() else self.workers


def new_model(net: Net, engine: Engine) -> Model:
    """The net with its first weights, as the engine's target makes it; `close` ends it."""
    workers = Workers(engine.threads, engine.kind)
    levels = engine.target.levels
    return net.model(engine.backend, engine.level if engine.level in levels else max(levels), workers=workers)


def engine_threads(engine: Engine) -> AbstractContextManager[object]:
    """Bounds BLAS's threads while it is open, unless the engine has workers, which are given one each."""
    return nullcontext() if engine.has_workers else blas_threads(engine.threads)


def blas_threads(threads: int | None) -> AbstractContextManager[object]:
    """Bounds BLAS's threads while it is open; None leaves them alone."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it comes without types

    return nullcontext() if threads is None else threadpool_limits(threads, user_api="blas")
