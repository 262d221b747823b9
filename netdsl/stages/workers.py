"""The workers that share a batch, as threads or as forked processes; the text is copied into emitted modules.

All that these need of the operating system stands here, in helpers.py and in blas.py, since they know no netdsl:
elsewhere than on Linux there may be no fork (Windows), none that is safe (macOS, whose own libraries have threads), no
SIGHUP and no affinity.
"""

from __future__ import annotations

import mmap
import os
import select
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Type
from netdsl.stages.blas import blas_threads
from netdsl.stages.helpers import end_helpers, error_text, exit_of, held_lock, ring, serve_calls


def auto_kind() -> str:
    """`processes` where a fork is safe: on Linux, if the only Python thread is the one that asks; else `threads`."""
    alone = threading.active_count() == 1 and threading.current_thread() is threading.main_thread()
    return "processes" if sys.platform == "linux" and can_fork() and alone else "threads"


def can_fork() -> bool:
    """Whether the system has what `processes` are made with; Windows has not."""
    return hasattr(os, "fork")


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Team:
    """`count` workers that do the same work at the same time, each its part of it; worker 0 is whoever calls.

    kind `threads`: the helpers are daemon threads, and who waits blocks on a lock, its bell. kind `processes`: they are
    forked children, and who waits looks at counters in shared memory; beside what `shared` made they see copies.

    A counter is an aligned int64 that only grows, so that nothing of a failed step need be taken back. Relied upon is
    that its load and its store are one access each, and that what comes before the release and the acquire of a lock
    (`_fence`) is seen before what comes after: both hold on x86 and on ARM.
    """

    def __init__(self, count: int, kind: str) -> None:
        self.count, self.kind, self.pid = count, kind, os.getpid()
        self.work: Any = None  # what `start` is given
        words = memoryview(mmap.mmap(-1, 64 * (count + 1))).cast("q")  # a cache line for all, then one for each worker
        self.posted, self.failed, self.closing = words[0:1], words[1:2], words[2:3]  # last step, last that failed, 0/1
        self.arrived, self.done, self.asleep = words[8::8], words[9::8], words[10::8]  # of each: turn, step, 0/1
        self.command = self.shared(8, np.float64)
        self.errors: Any = [b""] * count if kind == "threads" else self.shared(count, "S16384")
        self.fences, self.busy = [held_lock() for _ in range(count)], threading.Lock()
        self.bells = [held_lock() for _ in range(count)] if kind == "threads" else []
        self.turns, self.next_check, self.why = [0] * count, 0.0, "they were closed"
        self.numbers: dict[int, int] = {}  # of threads, by what Python calls them
        self.threads: list[threading.Thread] = []
        self.children: dict[int, int] = {}
        self.pipes: dict[int, tuple[int, int]] = {}
        counters = self.posted, self.failed, self.closing
        helpers = self.bells, self.threads, self.children, self.pipes
        self.end = weakref.finalize(self, end_helpers, self.pid, counters, *helpers)  # at exit, too

    def shared(self, shape: int | Shape, dtype: Type) -> Array:
        """-> zeros that every worker sees; of processes, at the start of a page. Raises RuntimeError after `start`."""
        if self.kind == "threads" or self.count == 1:
            return np.zeros(shape, dtype)
        if self.work is not None:
            raise RuntimeError("what the workers share must be made before they start")
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.ndarray(shape, dtype, mmap.mmap(-1, max(size, 1)))

    def start(self, work: Callable[[int, Array], object]) -> None:
        """Start the helpers. `work(index, command)` does one worker's part; `command` is what `call` is given."""
        assert self.work is None, "a team starts once"
        self.work, threads = work, blas_threads(1)  # a child keeps that; to set it there would start a pool of its own
        try:
            for me in range(1, self.count):
                if self.kind == "processes":
                    self.pipes[me] = os.pipe()
                else:
                    given = weakref.ref(self), me, self.bells[me], self.posted, self.done, self.closing
                    thread = threading.Thread(target=serve_calls, args=given, daemon=True)
                    thread.start()
                    self.threads.append(thread)
            for me in self.pipes:
                self._fork(me)
        except BaseException:
            self.close()
            raise
        finally:
            if threads is not None:
                blas_threads(threads)

    def call(self, command: Sequence[float] = ()) -> None:
        """Every worker does its work on `command`, up to 8 numbers; raises what one of them raised.

        A helper that has died is a RuntimeError and ends the team. After anything else, Ctrl-C too, all others are let
        out of `sync` and awaited, and the next call finds them ready.
        """
        if self.closing[0]:
            raise RuntimeError(f"the workers have ended: {self.why}")
        if self.busy.locked():
            raise RuntimeError("the workers are at work: one call at a time")
        with self.busy:
            if self.count == 1:
                self.command[: len(command)] = command
                self.work(0, self.command)
            elif self.pid != os.getpid():
                raise RuntimeError("the workers serve the process that started them, not a fork of it")
            else:
                self._settle()  # a second Ctrl-C may have cut that short
                self._check(0)
                self.command[: len(command)] = command
                self._lead(self.posted[0] + 1)

    def sync(self) -> None:
        """Wait until every worker has come to as many of these in this call as this one."""
        if self.count == 1:
            return
        me = self.numbers.get(threading.get_ident(), 0)
        turn = self.turns[me] = self.turns[me] + 1
        self._fence(me)
        self.arrived[me] = turn
        if self.bells:
            self._wake(me)
        self._wait(me, self.arrived, turn, turn >> 32)

    def close(self) -> None:
        """End the helpers; done also when the team is collected and when the interpreter exits."""
        self.end()

    def _lead(self, step: int) -> None:
        """Worker 0's part of a call."""
        threads = None
        if self.failed[0] == step - 1:
            self.errors[:] = [b""] * self.count
        try:
            threads = blas_threads(1)
            self.turns[0] = step << 32
            self._fence(0)
            self.posted[0] = step
            self._wake(0)
            self.work(0, self.command)
            self.done[0] = step
            self._wait(0, self.done, step, -1)
        except threading.BrokenBarrierError:
            self._settle()
        except BaseException:
            self._settle()
            raise
        finally:
            if threads is not None:
                blas_threads(threads)
        if self.failed[0] == step:
            self._raise_error()

    def _serve(self, me: int) -> None:
        """A helper's part of a call."""
        step = self.done[me] + 1
        self._fence(me)
        self.turns[me] = step << 32
        try:
            self.work(me, self.command)
        except threading.BrokenBarrierError:
            self._fence(me)
        except BaseException as error:
            self.errors[me] = error if self.bells else error_text(error)
            self._fail(me, step)
        self._fence(me)
        self.done[me] = step
        if self.bells:
            ring(self.bells[0])

    def _fork(self, me: int) -> None:
        """Start child `me`, which never comes back from here; signals wait until it has set what they do to it."""
        asking = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
        before = signal.pthread_sigmask(signal.SIG_BLOCK, asking)
        try:
            self.children[me] = os.fork()
            if self.children[me] == 0:
                try:
                    for number in asking:  # a whole group may get them: worker 0 decides, and may want to save first
                        signal.signal(number, signal.SIG_IGN)
                    signal.set_wakeup_fd(-1)
                    signal.pthread_sigmask(signal.SIG_SETMASK, before)
                    for _, writing in self.pipes.values():
                        os.close(writing)
                    self.numbers[threading.get_ident()] = me
                    while True:
                        self._wait(me, self.posted, self.done[me] + 1, -1)
                        if self.closing[0]:
                            os._exit(0)
                        self._serve(me)
                finally:
                    os._exit(1)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _fence(self, me: int) -> None:
        """Loads and stores before this are seen before those after it (0.2 us); Ctrl-C may cut it in two."""
        ring(self.fences[me])
        self.fences[me].acquire(blocking=False)

    def _wake(self, me: int) -> None:
        """Have every other worker that blocks look at the counters."""
        self._fence(me)
        for other, bell in enumerate(self.bells):
            if other != me:
                ring(bell)
        for other, (_, writing) in self.pipes.items():
            if me == 0 and self.asleep[other]:
                os.write(writing, b"!")

    def _wait(self, me: int, counters: memoryview, target: int, step: int) -> None:
        """Until all `counters` are at `target` or beyond; raises BrokenBarrierError once `step` has failed.

        Processes only look for some 10 us, then yield the core between looks: with a core each, a wait ends 1 us after
        what it waits for. Threads do not: holding the GIL while looking slowed the others by a quarter.
        """
        began, spins = 0.0, 0
        for i in range(len(counters)):
            while counters[i] < target:
                if self.failed[0] == step:
                    raise threading.BrokenBarrierError
                if self.bells:
                    self.bells[me].acquire()
                elif spins < 50:
                    spins += 1
                else:
                    began = began or time.monotonic()
                    self._pause(me, time.monotonic() - began, counters is self.posted)
        self._fence(me)

    def _pause(self, me: int, waited: float, idle: bool) -> None:
        """Yield the core; in a step naps follow, so that on a busy machine the others come to it: 28 ms became 20."""
        if idle and waited > 0.005:
            self._sleep(me)
        elif idle or waited < 0.0003:
            yield_core()
        else:
            time.sleep(0.00005 if waited < 1 else 0.001)
        if time.monotonic() > self.next_check:
            self._check(me)

    def _sleep(self, me: int) -> None:
        """Until there is a call or worker 0 ends; for half a second at most, as a fork of it may hold the pipe open."""
        reading = select.poll()
        reading.register(self.pipes[me][0], select.POLLIN)
        self.asleep[me] = 1
        self._fence(me)
        if self.posted[0] == self.done[me] and reading.poll(500) and not os.read(self.pipes[me][0], 64):
            os._exit(0)
        self.asleep[me] = 0

    def _check(self, me: int) -> None:
        """A child whose parent has ended ends; worker 0 raises RuntimeError if a child has ended."""
        self.next_check = time.monotonic() + 0.001
        if me and os.getppid() != self.pid:
            os._exit(0)
        for child, pid in [] if me else list(self.children.items()):
            how = exit_of(pid)
            if how:
                del self.children[child]
                self.why = f"worker {child} of {self.count} {how}"
                self.close()
                raise RuntimeError(f"{self.why}; params and buffers may be half updated, and the other workers ended")

    def _fail(self, me: int, step: int) -> None:
        """Let all others out of `sync`."""
        self._fence(me)
        self.failed[0] = step
        self._wake(me)

    def _settle(self) -> None:
        """Let the helpers out of the last step and wait until they are."""
        step = self.posted[0]
        if not self.closing[0] and any(done < step for done in self.done):
            self.done[0] = step
            self._fail(0, step)
            self._wait(0, self.done, step, -1)

    def _raise_error(self) -> NoReturn:
        """Raise what the first helper in trouble met; from a child, as the plain built-in error."""
        helper, error = next(((i, error) for i, error in enumerate(self.errors) if error), (0, None))
        if error is None:
            raise RuntimeError(f"the workers have ended: {self.why}")
        if self.bells:
            raise error
        name, message, lines = error.decode(errors="replace").split("\0")
        plain = ArithmeticError, AssertionError, FloatingPointError, IndexError, KeyError, MemoryError, OverflowError
        kept = {kind.__name__: kind for kind in (*plain, TypeError, ValueError, ZeroDivisionError)}
        cause = RuntimeError(f"in worker {helper} of {self.count}:\n{lines}")
        if name in kept:
            raise kept[name](message) from cause
        raise RuntimeError(f"worker {helper} of {self.count}: {name}: {message}") from cause


def yield_core() -> None:
    """Let another program have the core, if one waits for it."""
    if hasattr(os, "sched_yield"):
        os.sched_yield()
    else:
        time.sleep(0)
