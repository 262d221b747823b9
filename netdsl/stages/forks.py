"""Workers that are forked processes, with what they share in shared memory; the text is copied into modules that ask
for them.

All that these need of the operating system stands here, since they know no netdsl: elsewhere than on Linux there may be
no fork (Windows), none that is safe (macOS, whose own libraries have threads), no SIGHUP.
"""

from __future__ import annotations

import mmap
import os
import select
import signal
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, MutableSequence, Sequence
from typing import Any, NoReturn

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Type
from netdsl.stages.blas import blas_threads
from netdsl.stages.workers import Team

Counters = MutableSequence[int] | memoryview
"""Whole numbers that only grow, so that nothing of a failed call need be taken back."""


def auto_kind() -> str:
    """`processes` where a fork is safe: on Linux, if the only Python thread is the one that asks; else `threads`."""
    alone = threading.active_count() == 1 and threading.current_thread() is threading.main_thread()
    return "processes" if sys.platform == "linux" and can_fork() and alone else "threads"


def can_fork() -> bool:
    """Whether the system has what processes are made with; Windows has not."""
    return hasattr(os, "fork")


class ForkedTeam(Team):
    """A team whose helpers are forked children. Who waits looks at counters in shared memory; of all that `shared` did
    not make, children see copies.

    A counter is an aligned int64. Relied upon is that its load and its store are one access each, and that what comes
    before the release and the acquire of a lock (`fence`) is seen before what comes after: both hold on x86 and on ARM.
    """

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.close.detach()
        words = memoryview(mmap.mmap(-1, 64 * (count + 1))).cast("q")  # a cache line for all, then one for each worker
        self.posted, self.failed, self.closing = words[0:1], words[1:2], words[2:3]  # last call, last failed, 0 or 1
        self.arrived, self.done, self.asleep = words[8::8], words[9::8], words[10::8]  # asleep: 0 or 1
        self.leader, self.number = words[8:9], words[3:4]
        self.me, self.lock, self.next_check = 0, threading.Lock(), 0.0
        self.order, self.errors = self.shared(8, np.float64), self.shared(count, "S16384")
        self.children: dict[int, int] = {}
        self.pipes: dict[int, tuple[int, int]] = {}
        counters = self.posted, self.failed, self.closing
        self.close: Any = weakref.finalize(self, end_children, self.pid, counters, self.children, self.pipes)

    def shared(self, shape: int | Shape, dtype: Type) -> Array:
        """-> zeros that every worker sees, at the start of a page. Raises RuntimeError after `start`."""
        if self.count == 1:
            return np.zeros(shape, dtype)
        if self.work is not None:
            raise RuntimeError("what the workers share must be made before they start")
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.ndarray(shape, dtype, mmap.mmap(-1, max(size, 1)))

    def start(self, work: Callable[[int, Any], object]) -> None:
        """Fork the helpers. `work(index, order)` does one worker's part; `order`: up to 8 numbers."""
        assert self.work is None, "a team starts once"
        self.work, threads = work, blas_threads(1)  # a child keeps that; to set it there would start a pool of its own
        try:
            for me in range(1, self.count):
                self.pipes[me] = os.pipe()
            for me in self.pipes:
                self.fork(me)
        except BaseException:
            self.close()
            raise
        finally:
            blas_threads(threads)

    def lead(self, order: Any) -> None:
        """Worker 0's part of a call. A helper that has died is a RuntimeError and ends the team."""
        self.check(0)
        self.settle()  # a second Ctrl-C may have cut that short
        step = self.posted[0] + 1
        if self.failed[0] == self.posted[0]:
            self.errors[:] = b""
        self.order[: len(order)] = order
        self.arrived[0] = step << 32
        try:
            self.tell(self.posted, 0, step)
            self.work(0, self.order)
            self.tell(self.done, 0, step)
            self.wait(0, self.done, step, -1)
        except threading.BrokenBarrierError:
            self.settle()
        except BaseException:
            self.settle()
            raise
        if self.failed[0] == step or self.closing[0]:
            self.raise_error()

    def settle(self) -> None:
        """Let the helpers out of the last call and wait until they are."""
        step = self.posted[0]
        if not self.closing[0] and any(done < step for done in self.done):
            self.done[0] = step
            self.tell(self.failed, 0, step)
            self.wait(0, self.done, step, -1)

    def sync(self) -> None:
        """Wait until every worker has come to as many of these in this call as this one."""
        if self.active > 1:
            turn = self.arrived[self.me] + 1
            self.tell(self.arrived, self.me, turn)
            self.wait(self.me, self.arrived, turn, turn >> 32)

    def hand_over(self, number: int) -> None:
        """Worker 0 gives all others a number."""
        self.number[0] = number
        self.tell(self.arrived, 0, self.arrived[0] + 1)

    def receive(self, me: int) -> int:
        """The next number that worker 0 gives."""
        turn = self.arrived[me] + 1
        self.wait(me, self.leader, turn, turn >> 32)
        return self.number[0]

    def report(self, me: int) -> None:
        """A helper has done what the number stands for."""
        self.tell(self.arrived, me, self.arrived[me] + 1)

    def collect(self) -> None:
        """Worker 0 waits until all others have."""
        turn = self.arrived[0]
        self.wait(0, self.arrived, turn, turn >> 32)

    def fork(self, me: int) -> None:
        """Start child `me`, which never comes back from here; signals wait until it has set what they do to it."""
        asking = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
        before = signal.pthread_sigmask(signal.SIG_BLOCK, asking)
        try:
            self.children[me] = os.fork()
            if self.children[me] == 0:
                self.live(me, asking, before)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def live(self, me: int, asking: Sequence[signal.Signals], before: Any) -> NoReturn:
        """The life of child `me`."""
        self.me = me
        try:
            for number in asking:  # a whole group may get them: worker 0 decides, and may want to save first
                signal.signal(number, signal.SIG_IGN)
            signal.set_wakeup_fd(-1)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            for _, writing in self.pipes.values():
                os.close(writing)
            while True:
                self.wait(me, self.posted, self.done[me] + 1, -1)
                if self.closing[0]:
                    os._exit(0)
                self.serve(me)
        finally:
            os._exit(1)

    def serve(self, me: int) -> None:
        """A child's part of a call."""
        step = self.posted[0]
        self.arrived[me] = step << 32
        try:
            self.work(me, self.order)
        except threading.BrokenBarrierError:
            pass
        except BaseException as error:
            self.errors[me] = error_text(error)
            self.tell(self.failed, 0, step)
        self.tell(self.done, me, step)

    def fence(self) -> None:
        """Loads and stores before this are seen before those after it (0.2 us); Ctrl-C may cut it in two."""
        self.lock.acquire(blocking=False)
        try:
            self.lock.release()
        except RuntimeError:  # Ctrl-C came between, and what handles it has released it
            return

    def tell(self, counters: Counters, which: int, value: int) -> None:
        """Set a counter, and wake who sleeps until there is a call."""
        self.fence()
        counters[which] = value
        if counters is self.posted:
            self.fence()
            for other, (_, writing) in self.pipes.items():
                if self.asleep[other]:
                    os.write(writing, b"!")

    def wait(self, me: int, counters: Counters, target: int, step: int) -> None:
        """Until all `counters` are at `target` or beyond; raises BrokenBarrierError once `step` has failed.

        Workers only look for some 10 us, then yield the core between looks: with a core each, a wait ends 1 us after
        what it waits for. Threads do not: holding the GIL while looking slowed the others by a quarter.
        """
        began, spins = 0.0, 0
        for i in range(len(counters)):
            while counters[i] < target:
                if self.failed[0] == step:
                    self.fence()
                    raise threading.BrokenBarrierError
                if spins < 50:
                    spins += 1
                else:
                    began = began or time.monotonic()
                    self.pause(me, time.monotonic() - began, counters is self.posted)
        self.fence()

    def pause(self, me: int, waited: float, idle: bool) -> None:
        """Yield the core; in a step naps follow, so that on a busy machine the others come to it: 28 ms became 20."""
        if idle and waited > 0.005:
            self.sleep(me)
        elif idle or waited < 0.0003:
            yield_core()
        else:
            time.sleep(0.00005 if waited < 1 else 0.001)
        if time.monotonic() > self.next_check:
            self.check(me)

    def sleep(self, me: int) -> None:
        """Until there is a call or worker 0 ends; for half a second at most, as a fork of it may hold the pipe open."""
        reading = select.poll()
        reading.register(self.pipes[me][0], select.POLLIN)
        self.asleep[me] = 1
        self.fence()
        if self.posted[0] == self.done[me] and reading.poll(500) and not os.read(self.pipes[me][0], 64):
            os._exit(0)
        self.asleep[me] = 0

    def check(self, me: int) -> None:
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

    def raise_error(self) -> NoReturn:
        """Raise what the first helper in trouble met, as the plain built-in error."""
        helper, error = next(((i, error) for i, error in enumerate(self.errors) if error), (0, None))
        if error is None:
            raise RuntimeError(f"the workers have ended: {self.why}")
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


def error_text(error: BaseException) -> bytes:
    """The error being handled -> its name, message and traceback with zeros between, in at most 16,384 bytes."""
    name = "MemoryError" if isinstance(error, MemoryError) else type(error).__name__  # numpy has one of its own
    parts = name, str(error)[:2000], traceback.format_exc()
    return "\0".join(part.replace("\0", " ") for part in parts).encode(errors="replace")[:16384]


def exit_of(pid: int) -> str | None:
    """How a child ended, None while it runs."""
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return "has ended"
    if not ended:
        return None
    code = os.waitstatus_to_exitcode(status)
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"


def end_children(
    pid: int,
    counters: tuple[memoryview, memoryview, memoryview],
    children: dict[int, int],
    pipes: dict[int, tuple[int, int]],
) -> None:
    """End the helpers of process `pid`, those at work when they are done; they are killed after a second."""
    if pid != os.getpid():
        return
    posted, failed, closing = counters
    closing[0], failed[0] = 1, posted[0]
    posted[0] += 1
    for _, writing in pipes.values():
        os.write(writing, b"!")
    deadline = time.monotonic() + 1
    for child in children.values():
        while not exit_of(child):
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.0005)
    for end in [end for ends in pipes.values() for end in ends]:
        os.close(end)
    pipes.clear()
