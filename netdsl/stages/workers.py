"""The threads that share a batch; the text is copied into emitted modules. stages/forks.py has processes instead."""

from __future__ import annotations

import ctypes
import os
import queue
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Type
from netdsl.stages.blas import blas_threads

Calls = queue.SimpleQueue[Callable[[], object] | None]
"""What a helper is to do, one call after the other; None: nothing more."""


class Team:
    """`count` workers that do the same work at the same time, each its part of it: threads, and worker 0, who calls.
    After an error, Ctrl-C too, all others are let out of `sync` and awaited, and the next call finds them ready."""

    work: Any = None  # what `start` is given
    is_cut = False  # whether helpers may be at work without a call

    def __init__(self, count: int) -> None:
        self.count, self.active, self.pid, self.why = count, count, os.getpid(), "they were closed"
        self.barrier, self.busy = threading.Barrier(count), threading.Lock()
        self.calls: list[Calls] = [queue.SimpleQueue() for _ in range(1, count)]  # what each helper is to do
        self.threads: list[threading.Thread] = []
        self.close: Any = weakref.finalize(self, end_threads, self.calls, self.threads)  # at exit, too

    def shared(self, shape: int | Shape, dtype: Type) -> Array:
        """-> zeros that every worker sees."""
        return np.zeros(shape, dtype)

    def start(self, work: Callable[[int, Any], object]) -> None:
        """Start the helpers. `work(index, order)` does one worker's part; `order` is what `call` is given."""
        for calls in self.calls:
            thread = threading.Thread(target=serve, args=(calls,), daemon=True)
            thread.start()
            self.threads.append(thread)
        self.work = work

    def call(self, order: Sequence[float] = (), is_alone: bool = False) -> None:
        """Every worker does its work on `order`, or the first one alone; raises what one of them raised."""
        if not self.close.alive:
            raise RuntimeError(f"the workers have ended: {self.why}")
        if self.busy.locked():
            raise RuntimeError("the workers are at work: one call at a time")
        with self.busy:
            if self.is_cut:
                self.settle()
            self.active, threads = 1 if is_alone else self.count, None
            try:
                threads = blas_threads(1 if self.count > 1 else None)  # of each worker
                if self.active == 1:
                    self.work(0, order)
                elif self.pid != os.getpid():
                    raise RuntimeError("the workers serve the process that started them, not a fork of it")
                else:
                    self.lead(order)
            finally:
                blas_threads(threads)

    def lead(self, order: Any) -> None:
        """Worker 0's part of a call, with all others'."""
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.barrier, self.is_cut = threading.Barrier(self.count), True
        try:
            for me, calls in enumerate(self.calls, 1):
                calls.put(lambda me=me: ended.put(self.help(me, order)))  # type: ignore[misc]
            self.work(0, order)
            errors = [ended.get() for _ in self.calls]
        except BaseException as error:
            self.settle()
            errors = [error, *(ended.get() for _ in range(ended.qsize()))]
        self.is_cut = False
        for failure in errors:
            if failure is not None and not isinstance(failure, threading.BrokenBarrierError):
                raise failure

    def help(self, me: int, order: Any) -> BaseException | None:
        """A helper's part of a call -> its error."""
        try:
            self.work(me, order)
        except BaseException as error:
            self.barrier.abort()
            return error
        return None

    def settle(self) -> None:
        """Let the helpers out of the last call and wait until they are; a second Ctrl-C may cut that short."""
        self.barrier.abort()
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for calls in self.calls:
            calls.put(lambda: ended.put(None))
        for _ in self.calls:
            ended.get()
        self.is_cut = False

    def sync(self) -> None:
        """Wait until every worker has come to as many of these in this call as this one."""
        if self.active > 1:
            self.barrier.wait()


class HelpingTeam(Team):
    """A team of threads that take numbers from a queue each. The barrier of a call says which call a number is of."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.given: list[queue.SimpleQueue[Any]] = [queue.SimpleQueue() for _ in range(1, count)]
        self.done: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def hand_over(self, number: int) -> None:
        """Worker 0 gives all others a number."""
        for numbers in self.given:
            numbers.put((self.barrier, number))

    def receive(self, me: int) -> int:
        """The next number that worker 0 gives; raises BrokenBarrierError once the call has failed."""
        return self.next_of(self.given[me - 1])

    def report(self, me: int) -> None:
        """A helper has done what the number stands for."""
        self.done.put((self.barrier, me))

    def collect(self) -> None:
        """Worker 0 waits until all others have; raises BrokenBarrierError once the call has failed."""
        for _ in self.given:
            self.next_of(self.done)

    def next_of(self, numbers: queue.SimpleQueue[Any]) -> int:
        while not self.barrier.broken:
            try:
                call, number = numbers.get(timeout=0.02)
            except queue.Empty:
                continue
            if call is self.barrier:
                return int(number)
        raise threading.BrokenBarrierError


def serve(calls: Calls) -> None:
    """The life of a helper, which holds nothing between calls, so that the team can be collected."""
    while (call := calls.get()) is not None:
        call()
        del call


def end_threads(calls: Sequence[Calls], threads: Sequence[threading.Thread]) -> None:
    """End the helpers; those at work get a second."""
    for one in calls:
        one.put(None)
    for thread in {*threads} - {threading.current_thread()}:
        thread.join(1)


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def trim_heap() -> None:
    """Have the C library give freed memory back to the system, if it can be asked: glibc keeps arrays below 32 MB."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim:
        trim(0)
