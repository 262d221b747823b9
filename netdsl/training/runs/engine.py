"""What computes a run, as it is chosen, and the models it makes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netdsl.stages.workers import can_fork

if TYPE_CHECKING:
    from netdsl.targets.numpy.network import Network
    from netdsl.pipeline import Net

BACKENDS, LEVELS, WORKERS = ("numpy", "interp"), (0, 1, 2), ("threads", "processes", "auto")
MOST_WORKERS = 256


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

    @property
    def kind(self) -> str:
        """What its workers are on this system: a run of processes, where there is no fork, goes on with threads, which
        compute the same."""
        return "threads" if self.workers == "processes" and not can_fork() else self.workers


def new_model(net: Net, engine: Engine) -> Network:
    """The net with its first weights, as emitted NumPy module or as layer objects; `close_model` ends it."""
    assert engine.backend in BACKENDS and engine.level in LEVELS, engine
    if engine.backend == "interp":
        return net.build(seed=net.recipe.seed)
    options = {"workers": engine.threads, "kind": engine.kind} if engine.is_fast else {}
    return net.numpy_model(seed=net.recipe.seed, level=engine.level, **options)


def close_model(model: Network) -> None:
    """Ends the workers of a model that has some."""
    getattr(model, "close", lambda: None)()


def engine_threads(engine: Engine) -> AbstractContextManager:
    """Bounds BLAS's threads while it is open, unless the engine has workers, which are given one each."""
    return nullcontext() if engine.is_fast else blas_threads(engine.threads)


def blas_threads(threads: int | None) -> AbstractContextManager:
    """Bounds BLAS's threads while it is open; None leaves them alone."""
    from threadpoolctl import threadpool_limits

    return nullcontext() if threads is None else threadpool_limits(threads, user_api="blas")
