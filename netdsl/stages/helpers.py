"""The helpers of a team (stages/workers.py): how they live in threads, what they say of errors, and how they end."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
import weakref
from typing import Any


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


def serve_calls(
    team: weakref.ref[Any], me: int, bell: threading.Lock, posted: memoryview, done: memoryview, closing: memoryview
) -> None:
    """The life of a helper in a thread. `team`: a weak reference, so that it can be collected between calls."""
    while True:
        while posted[0] == done[me]:
            bell.acquire()
        now = team()
        if closing[0] or now is None:
            return
        now.numbers[threading.get_ident()] = me
        now._serve(me)
        del now


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


def end_helpers(
    pid: int,
    counters: tuple[memoryview, memoryview, memoryview],
    bells: list[threading.Lock],
    threads: list[threading.Thread],
    children: dict[int, int],
    pipes: dict[int, tuple[int, int]],
) -> None:
    """End the helpers of process `pid`, those at work when they are done; children are killed after a second."""
    if pid != os.getpid():
        return
    posted, failed, closing = counters
    closing[0], failed[0] = 1, posted[0]
    posted[0] += 1
    for bell in bells:
        ring(bell)
    for _, writing in pipes.values():
        os.write(writing, b"!")
    deadline = time.monotonic() + 1
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(max(0, deadline - time.monotonic()))
    for child in children.values():
        while not exit_of(child):
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.0005)
    for end in [end for ends in pipes.values() for end in ends]:
        os.close(end)
    pipes.clear()
