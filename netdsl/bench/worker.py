"""The process of one contestant: reads requests from stdin, answers on stdout, and sleeps in between.

A request is a pickled (method of Worker, arguments), an answer ("done", value) or ("failed", line, traceback).
"""

from __future__ import annotations

import os
import pickle
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO

from netdsl.ground.system.processes import cpu_seconds, descendants, forget_peak, kill_all, peak_bytes, settle

if TYPE_CHECKING:
    import numpy as np

    from netdsl.bench.contestants import Contestant, Job

WARM_UP, MOST_WARM_UP, WARM_UP_SECONDS, CLOSE = 3, 10, 20.0, 0.1
QUICK = 0.1  # seconds; before such steps are counted, a turn begins with WARM seconds of them
WARM = 0.03
KINDS = ("train", "inference")

Ready = Callable[[], Callable[[], Any]]
"""Draws the samples of the next step and gives that step, which is all that is timed."""


class Worker:
    """What a contestant can be asked for, in this order. Times are seconds, memory is bytes."""

    def __init__(self, job: Job) -> None:
        module, _, attribute = job.factory.partition(":")
        self.job = job
        self.contestant: Contestant = getattr(import_module(module), attribute)(job)
        self.steps_made = dict.fromkeys(KINDS, 0)
        self.slept_from = (0.0, 0.0)

    def base(self) -> int | None:
        """The memory before there is a network, with the samples."""
        from netdsl.bench.samples import Samples

        self.samples = Samples(self.job.net, self.job.batch, self.job.seed)
        forget_peak()  # that of drawing the samples and of writing code
        return peak_bytes()

    def build(self) -> None:
        """Make the network."""
        self.contestant.build()
        self.samples.place(self.contestant.placed)

    def load(self, path: str) -> None:
        """Read the weights that every contestant starts with."""
        self.contestant.load(path)

    def output(self) -> np.ndarray:
        """What inference makes of the first batch."""
        array: np.ndarray = self.contestant.as_array(self.contestant.inference()(self.samples.x(0)))
        return array

    def losses(self, steps: int) -> list[float] | None:
        """The loss of the first batch before each of so many steps on it; None if it does not train."""
        step = self._step("train")
        return step and [float(step(*self.samples.batch(0))) for _ in range(steps)]

    def warm_up(self) -> dict[str, float]:
        """About how long a step takes, for each kind of step it can make."""
        estimates = {kind: warm_up(self._ready(kind)) for kind in KINDS if self._step(kind)}
        self._rest()
        return estimates

    def turn(self, counts: Mapping[str, int]) -> tuple[dict[str, list[float]], list[float], float]:
        """Times of so many steps of each kind; the losses of those of training; the share of one processor that it used
        while it should have slept."""
        idle, losses = self._idle_share(), list[float]()
        note = {"train": losses.append, "inference": _forget}
        times = {kind: turn(self._ready(kind), count, note[kind]) for kind, count in counts.items()}
        self._rest()
        return times, [float(loss) for loss in losses], idle

    def used(self) -> tuple[int | None, float]:
        """The most memory it ever took, and the CPU time."""
        return peak_bytes(), cpu_seconds()

    def subnormals(self) -> dict[str, float]:
        """The share of subnormal numbers among params, gradients, and what else a step leaves."""
        from netdsl.bench.subnormals import Subnormals

        counter = Subnormals()
        if not self.job.trains:
            return {}
        self.contestant.show_numbers(*self.samples.batch(self.steps_made["train"]), counter.count)
        return counter.shares()

    def _ready(self, kind: str) -> Ready:
        """What makes the next step of that kind ready, on the next samples."""
        step = self._step(kind)
        assert step, kind

        def ready() -> Callable[[], object]:
            number = self.steps_made[kind]
            self.steps_made[kind] += 1
            return partial(step, *(self.samples.batch(number) if kind == "train" else (self.samples.x(number),)))

        return ready

    def _step(self, kind: str) -> Callable[..., Any] | None:
        """A step of that kind; None if the contestant makes none."""
        if kind == "inference":
            return self.contestant.inference()
        return self.contestant.training() if self.job.trains else None

    def _rest(self) -> None:
        settle()
        self.slept_from = (time.perf_counter(), cpu_seconds())

    def _idle_share(self) -> float:
        start, used = self.slept_from
        return (cpu_seconds() - used) / max(time.perf_counter() - start, 1e-3)


def _forget(result: object) -> None:
    """What a step gives is of no use."""


def timed(
    ready: Ready,
    count: int,
    note: Callable[[Any], object] = _forget,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Seconds of each of `count` steps, which are made ready before the clock runs. note is told what each gives."""
    times = []
    for _ in range(count):
        step = ready()
        start = clock()
        result = step()
        times.append(clock() - start)
        note(result)
        del result, step  # before the next one takes memory
    return times


def warm_up(ready: Ready) -> float:
    """Steps until two in a row take about as long, within bounds -> seconds of the last one."""
    times = timed(ready, WARM_UP)
    while abs(times[-1] - times[-2]) > CLOSE * times[-1] and len(times) < MOST_WARM_UP and sum(times) < WARM_UP_SECONDS:
        times += timed(ready, 1)
    return times[-1]


def turn(ready: Ready, count: int, note: Callable[[Any], object] = _forget) -> list[float]:
    """Seconds of each of `count` steps, in the midst of others, as in training: where that costs little, others come
    first, until the caches hold this contestant's numbers again and its helpers are awake."""
    first = timed(ready, 1, note)
    if first[0] >= QUICK:
        return first + timed(ready, count - 1, note)
    until = time.perf_counter() + WARM
    while time.perf_counter() < until:
        ready()()
    return timed(ready, count, note)


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer until there are no more requests."""
    from netdsl.bench.contestants import LeftOut

    worker: Worker | None = None
    while True:
        try:
            name, arguments = pickle.load(requests)
        except EOFError:
            return
        reply: tuple[Any, ...]
        try:
            if worker is None:
                worker = Worker(*arguments)
                reply = ("done", None)
            else:
                reply = ("done", getattr(worker, name)(*arguments))
        except LeftOut as why:
            reply = ("left out", str(why))
        except Exception as error:
            line = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
            reply = ("failed", line, traceback.format_exc())
        pickle.dump(reply, replies, pickle.HIGHEST_PROTOCOL)
        replies.flush()


def main() -> None:
    """Serve the process that started this one; whatever else is printed goes to stderr."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, replies)
    kill_all(descendants(os.getpid()))  # the bench has gone


if __name__ == "__main__":
    main()
