"""The threads that share a batch; the text is copied into emitted modules. stages/forks.py has processes instead."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, MutableSequence, Sequence
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Type
from netdsl.stages.blas import blas_threads

Counters = MutableSequence[int] | memoryview
"""Whole numbers that only grow, so that nothing of a failed call need be taken back."""


class Team:
    """`count` workers that do the same work at the same time, each its part of it: threads, and worker 0, who calls.

    Who waits blocks on a lock, its bell, and is rung when a counter changes. Counters only grow, so that nothing of a
    failed call need be taken back.
    """

    no_error: bytes | None = None
    work: Any  # what `start` is given; None before
    posted: Counters
    failed: Counters
    closing: Counters
    arrived: Counters
    done: Counters
    errors: Any
    order: Any
    end: Any

    def __init__(self, count: int) -> None:
        self.count, self.pid, self.work, self.why = count, os.getpid(), None, "they were closed"
        self.active = count  # how many have a part in the call
        self.posted, self.failed, self.closing = [0], [0], [0]  # the last call, the last that failed, 0 or 1
        self.arrived, self.done = [0] * count, [0] * count  # of each worker: its turn in `sync`, its last call
        self.bells, self.busy = [held_lock() for _ in range(count)], threading.Lock()
        self.order, self.errors = (), [None] * count
        self.numbers: dict[int, int] = {}  # of threads, by what Python calls them
        self.threads: list[threading.Thread] = []
        self.end = weakref.finalize(self, end_threads, self.closing, self.bells, self.threads)  # at exit, too

    def shared(self, shape: int | Shape, dtype: Type) -> Array:
        """-> zeros that every worker sees."""
        return np.zeros(shape, dtype)

    def start(self, work: Callable[[int, Any], object]) -> None:
        """Start the helpers. `work(index, order)` does one worker's part; `order` is what `call` is given."""
        self.work = work
        for me in range(1, self.count):
            given = weakref.ref(self), me, self.bells[me], self.closing
            self.threads.append(threading.Thread(target=serve_calls, args=given, daemon=True))
        try:
            for thread in self.threads:
                thread.start()
        except BaseException:
            self.close()
            raise

    def call(self, order: Sequence[float] = (), is_alone: bool = False) -> None:
        """Every worker does its work on `order`, or the first one alone; raises what one of them raised.

        After an error, Ctrl-C too, all others are let out of `sync` and awaited, and the next call finds them ready.
        """
        if self.closing[0]:
            raise RuntimeError(f"the workers have ended: {self.why}")
        if self.busy.locked():
            raise RuntimeError("the workers are at work: one call at a time")
        with self.busy:
            self.active = 1 if is_alone else self.count
            if self.count == 1:
                self.work(0, order)
            elif is_alone:
                threads = blas_threads(1)  # more would not share what is this small, but wait for it
                try:
                    self.work(0, order)
                finally:
                    if threads is not None:
                        blas_threads(threads)
            elif self.pid != os.getpid():
                raise RuntimeError("the workers serve the process that started them, not a fork of it")
            else:
                self.settle()  # a second Ctrl-C may have cut that short
                self.lead(order)

    def sync(self) -> None:
        """Wait until every worker has come to as many of these in this call as this one."""
        if self.active == 1:
            return
        me = self.numbers.get(threading.get_ident(), 0)
        turn = self.arrived[me] + 1
        self.tell(self.arrived, me, turn)
        self.wait(me, self.arrived, turn, turn >> 32)

    def close(self) -> None:
        """End the helpers; done also when the team is collected and when the interpreter exits."""
        self.end()

    def lead(self, order: Any) -> None:
        """Worker 0's part of a call, with one thread of BLAS for each worker."""
        step, threads = self.posted[0] + 1, None
        try:
            threads = blas_threads(1)
            if self.failed[0] == self.posted[0]:
                self.errors[:] = [self.no_error] * self.count
            self.order = order
            self.arrived[0] = step << 32
            self.tell(self.posted, 0, step)
            self.work(0, order)
            self.tell(self.done, 0, step)
            self.wait(0, self.done, step, -1)
        except threading.BrokenBarrierError:
            self.settle()
        except BaseException:
            self.settle()
            raise
        finally:
            if threads is not None:
                blas_threads(threads)
        if self.failed[0] == step or self.closing[0]:
            self.raise_error()

    def serve(self, me: int) -> None:
        """A helper's part of a call, if there is a new one."""
        step = self.posted[0]
        if self.done[me] == step:
            return
        self.numbers[threading.get_ident()] = me
        self.arrived[me] = step << 32
        try:
            self.work(me, self.order)
        except threading.BrokenBarrierError:
            pass
        except BaseException as error:
            self.fail(me, error, step)
        self.tell(self.done, me, step)

    def tell(self, counters: Counters, which: int, value: int) -> None:
        """Set a counter and ring for all who may wait for it."""
        counters[which] = value
        for bell in self.bells:
            ring(bell)

    def wait(self, me: int, counters: Counters, target: int, step: int) -> None:
        """Until all `counters` are at `target` or beyond; raises BrokenBarrierError once `step` has failed."""
        while min(counters) < target:
            if self.failed[0] == step or self.closing[0]:
                raise threading.BrokenBarrierError
            self.bells[me].acquire()

    def fail(self, me: int, error: Any, step: int) -> None:
        """Keep a helper's error and let all others out of `sync`."""
        self.errors[me] = error
        self.tell(self.failed, 0, step)

    def settle(self) -> None:
        """Let the helpers out of the last call and wait until they are."""
        step = self.posted[0]
        if not self.closing[0] and min(self.done) < step:
            self.done[0] = step
            self.tell(self.failed, 0, step)
            self.wait(0, self.done, step, -1)

    def raise_error(self) -> None:
        """Raise what the first helper in trouble met."""
        raise next(filter(None, self.errors), RuntimeError(f"the workers have ended: {self.why}"))


def serve_calls(team: weakref.ref[Any], me: int, bell: threading.Lock, closing: Sequence[int]) -> None:
    """The life of a helper. `team`: a weak reference, so that it can be collected between calls."""
    while not closing[0]:
        bell.acquire()
        now = team()
        if now is None:
            return
        now.serve(me)
        del now


def end_threads(closing: MutableSequence[int], bells: list[threading.Lock], threads: list[threading.Thread]) -> None:
    """End the helpers; those at work get a second."""
    closing[0] = 1
    for bell in bells:
        ring(bell)
    for thread in threads:
        if thread.is_alive() and thread is not threading.current_thread():
            thread.join(1)


def held_lock() -> threading.Lock:
    """-> a lock that is taken."""
    lock = threading.Lock()
    lock.acquire()
    return lock


def ring(bell: threading.Lock) -> None:
    """Release a lock unless someone else just has."""
    try:
        bell.release()
    except RuntimeError:
        return


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
