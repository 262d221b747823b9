"""Where the time of a fast NumPy network goes: each stage of one worker, timed in its place."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from netdsl.analysis.batches import batch_mistake
from netdsl.analysis.plain import require_plain
from netdsl.bench.samples import Samples
from netdsl.pipeline import Net
from netdsl.stages.blas import blas_threads

STEPS, WARM_UP = 10, 3
_TIMES = {"forward": 1, "backward": 2}  # the multiply-adds of a pass, in those of a layer
_SHOWN = 0.001  # the smallest share that the table tells
_PEAK_SIZE = 1024  # of the product that shows what the processor can do


@dataclass(frozen=True)
class Row:
    """One method of one stage: milliseconds a step, their share, and the megabytes that go in and come out.

    gflops: a second, of the products that the layer means, however they are computed; None for stages without.
    of_peak: their share of what one thread can do.
    """

    stage: str
    kernel: str
    method: str
    ms: float
    share: float
    gflops: float | None
    of_peak: float | None
    mb: float


@dataclass(frozen=True)
class Profile:
    """kind: `train` or `inference`; step_ms: of a step, of which the rows are worker 0's part; peak: GFLOP/s of a large
    product on one thread."""

    kind: str
    step_ms: float
    peak: float
    rows: tuple[Row, ...]

    def as_dict(self) -> dict[str, object]:
        rows = [{key: _short(value) for key, value in vars(row).items()} for row in self.rows]
        return {"step_ms": _short(self.step_ms), "peak_gflops": _short(self.peak), "stages": rows}

    def __str__(self) -> str:
        head = ("stage", "kernel", "method", "ms", "share", "GFLOP/s", "of peak", "MB")
        lines = [head, *(_cells(row) for row in self.rows if row.share >= _SHOWN)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        table = [
            "  ".join(cell.ljust(width) if i < 3 else cell.rjust(width) for i, (cell, width) in pairs).rstrip()
            for pairs in (enumerate(zip(line, widths, strict=True)) for line in lines)
        ]
        table.insert(1, "-" * len(table[0]))
        rest = self.step_ms - sum(row.ms for row in self.rows)
        foot = [
            f"{self.kind}: {self.step_ms:.3g} ms a step, {rest:.3g} of them outside the stages of this worker",
            f"GFLOP/s: as if computed directly; peak {self.peak:.3g}: a large product, one thread",
        ]
        return "\n".join([*table, "", *foot])


def profile(net: Net, samples: Samples, threads: int) -> list[Profile]:
    """A training step, where the batch can be trained on, and inference of the net's -O2 module, whose stages are timed
    one by one."""
    require_plain(net.graph, "the profile")
    model = net.numpy_model(level=2, workers=threads, kind="threads")
    peak = _peak()
    steps: dict[str, Callable[[int], Callable[[], object]]] = {
        "train": lambda step: partial(model.train_step, *samples.batch(step)),
        "inference": lambda step: partial(model.forward, samples.x(step)),
    }
    if batch_mistake(net.graph, len(samples.x(0))) is not None:
        del steps["train"]
    try:
        return [_measured(net, model, ready, kind, samples, peak) for kind, ready in steps.items()]
    finally:
        model.close()


def _peak() -> float:
    """GFLOP/s of a large product on one thread."""
    a = np.ones((_PEAK_SIZE, _PEAK_SIZE), np.float32)
    before = blas_threads(1)
    seconds = min(_seconds(lambda: a @ a) for _ in range(5))
    blas_threads(before)
    return 2 * _PEAK_SIZE**3 / seconds / 1e9


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _measured(
    net: Net,
    model: Any,
    ready: Callable[[int], Callable[[], object]],
    kind: str,
    given: Samples,
    peak: float,
) -> Profile:
    """ready: draws the samples of a step, and gives the step."""
    for step in range(WARM_UP):
        ready(step)()
    batch = len(given.x(0))
    workers = [w for known in model.workers.values() for w in known.values()]
    (worker,) = [w for w in workers if (w.index, w.n, w.training) == (0, batch, kind == "train")]
    clock = _Clock(worker)
    steps = [_seconds(ready(step)) for step in range(WARM_UP, WARM_UP + STEPS)]
    clock.stop()
    macs = {node.name: node.macs for node in net.graph.nodes}
    samples = sum(worker.sizes)
    rows = [_row(call, samples * macs.get(call.layer, 0), sum(steps), peak) for call in clock.calls.values()]
    rows.sort(key=lambda row: -row.ms)
    return Profile(kind, sum(steps) / STEPS * 1e3, peak, tuple(row for row in rows if row.ms > 0))


@dataclass
class _Call:
    """What one method of a stage took in all steps."""

    stage: str
    layer: str
    kernel: str
    method: str
    seconds: float = 0.0
    bytes: int = 0


class _Clock:
    """Stands in for the methods of a worker's stages, and times them."""

    def __init__(self, worker: Any) -> None:
        self.calls: dict[tuple[str, str], _Call] = {}
        self._stages = dict(vars(worker.s))
        for name, stage in self._stages.items():
            for method in ("refresh", "forward", "backward"):
                if hasattr(stage, method):
                    call = _Call(name, str(getattr(stage, "name", name)), type(stage).__name__, method)
                    self.calls[name, method] = call
                    setattr(stage, method, self._timed(getattr(stage, method), call))

    def stop(self) -> None:
        """The stages work as they did."""
        for name, method in self.calls:
            delattr(self._stages[name], method)

    def _timed(self, run: Callable[..., Any], call: _Call) -> Callable[..., Any]:
        def count(result: object, given: Sequence[object], start: float) -> None:
            call.seconds += time.perf_counter() - start
            arrays = [*given, *(result if isinstance(result, tuple) else (result,))]
            call.bytes += sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))

        def timed(*given: object) -> object:
            start = time.perf_counter()
            result = run(*given)
            count(result, given, start)
            return result

        def timed_in_parts(*given: object) -> Generator[None, None, Any]:
            parts = run(*given)
            while True:
                start = time.perf_counter()
                try:
                    next(parts)
                except StopIteration as end:
                    count(end.value, given, start)
                    return end.value
                call.seconds += time.perf_counter() - start
                yield

        return timed_in_parts if inspect.isgeneratorfunction(run) else timed


def _row(call: _Call, macs: int, seconds: float, peak: float) -> Row:
    flops = 2 * macs * _TIMES.get(call.method, 0) * STEPS
    gflops = flops / call.seconds / 1e9 if flops and call.seconds else None
    return Row(
        call.stage,
        call.kernel,
        call.method,
        call.seconds / STEPS * 1e3,
        call.seconds / seconds,
        gflops,
        gflops / peak if gflops else None,
        call.bytes / STEPS / 1e6,
    )


def _cells(row: Row) -> tuple[str, ...]:
    speed = ("", "") if row.gflops is None or row.of_peak is None else (f"{row.gflops:.0f}", f"{row.of_peak:.0%}")
    return (row.stage, row.kernel, row.method, f"{row.ms:.3f}", f"{row.share:.1%}", *speed, f"{row.mb:.2f}")


def _short(value: object) -> object:
    return float(f"{value:.4g}") if isinstance(value, float) else value
