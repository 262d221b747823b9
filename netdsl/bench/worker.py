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
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO

from netdsl.ground.system.processes import cpu_seconds, descendants, kill_all, peak_bytes, settle

if TYPE_CHECKING:
    import numpy as np

    from netdsl.bench.contestants import Contestant, Job

WARM_UP, MOST_WARM_UP, WARM_UP_SECONDS, CLOSE = 3, 10, 20.0, 0.1
QUICK = 0.1  # seconds; before such steps are counted, a turn begins with WARM seconds of them
WARM = 0.03


class Worker:
    """What a contestant can be asked for, in this order. Times are seconds, memory is bytes."""

    def __init__(self, job: Job) -> None:
        module, _, attribute = job.factory.partition(":")
        self.job = job
        self.contestant: Contestant = getattr(import_module(module), attribute)(job)
        self.slept_from = (0.0, 0.0)

    def base(self) -> int | None:
        """The memory before there is a network."""
        return peak_bytes()

    def build(self) -> None:
        """Make the network and the batch, the same in every process."""
        from netdsl.verify.batches import random_batch

        self.contestant.build(*random_batch(self.job.net, self.job.batch, self.job.seed))

    def save(self, path: str) -> None:
        """Write the weights for the others."""
        self.contestant.save(path)

    def load(self, path: str) -> None:
        """Read the weights that every contestant starts with."""
        self.contestant.load(path)

    def output(self) -> np.ndarray:
        """What inference makes of the batch."""
        array: np.ndarray = self.contestant.as_array(self.contestant.inference()())
        return array

    def losses(self, steps: int) -> list[float] | None:
        """The loss before each of the first steps; None if it does not train."""
        step = self.contestant.training()
        return step and [float(step()) for _ in range(steps)]

    def warm_up(self) -> dict[str, float]:
        """About how long a step takes, for each kind of step it can make."""
        estimates = {kind: warm_up(step) for kind, start in self._kinds().items() if (step := start())}
        self._rest()
        return estimates

    def turn(self, counts: Mapping[str, int]) -> tuple[dict[str, list[float]], float]:
        """Times of so many steps of each kind; the share of one processor that it used while it should have slept."""
        idle = self._idle_share()
        times = {kind: turn(self._kinds()[kind](), count) for kind, count in counts.items()}
        self._rest()
        return times, idle

    def used(self) -> tuple[int | None, float]:
        """The most memory it ever took, and the CPU time."""
        return peak_bytes(), cpu_seconds()

    def _kinds(self) -> dict[str, Callable[[], Any]]:
        return {"train": self.contestant.training, "inference": self.contestant.inference}

    def _rest(self) -> None:
        settle()
        self.slept_from = (time.perf_counter(), cpu_seconds())

    def _idle_share(self) -> float:
        start, used = self.slept_from
        return (cpu_seconds() - used) / max(time.perf_counter() - start, 1e-3)


def timed(step: Callable[[], object], count: int, clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Seconds of each of `count` steps."""
    times = []
    for _ in range(count):
        start = clock()
        step()
        times.append(clock() - start)
    return times


def warm_up(step: Callable[[], object]) -> float:
    """Steps until two in a row take about as long, within bounds -> seconds of the last one."""
    times = timed(step, WARM_UP)
    while abs(times[-1] - times[-2]) > CLOSE * times[-1] and len(times) < MOST_WARM_UP and sum(times) < WARM_UP_SECONDS:
        times += timed(step, 1)
    return times[-1]


def turn(step: Callable[[], object], count: int) -> list[float]:
    """Seconds of each of `count` steps, in the midst of others, as in training: where that costs little, others come
    first, until the caches hold this contestant's numbers again and its helpers are awake."""
    first = timed(step, 1)
    if first[0] >= QUICK:
        return first + timed(step, count - 1)
    until = time.perf_counter() + WARM
    while time.perf_counter() < until:
        step()
    return timed(step, count)


def serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer until there are no more requests."""
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
