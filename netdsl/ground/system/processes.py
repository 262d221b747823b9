"""Processes: the memory and CPU time of this one and of those that it started, and their end; by psutil."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import psutil

from netdsl.ground import system

KB = 1024
GONE = (psutil.Error, OSError)  # a process that has ended, or is another user's; a system that tells nothing


def descendants(pid: int) -> list[int]:
    """The living processes that a process started, and those that they started."""
    return [process.pid for process in _family(pid)]


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except GONE:
        return []


def end_at_once(code: int) -> NoReturn:
    """Ends this process with that exit code once all that was printed is out, before any library tidies up."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # who read it has gone
            stream.flush()
    os._exit(code)


def is_living(host: str, pid: int) -> bool:
    """Whether a process of a machine is still there; those of other machines are taken to be."""
    if host != socket.gethostname():
        return True
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def peak_bytes() -> int | None:
    """The most memory this process ever held, with what its living children hold for themselves; None: unknown."""
    own: int | None
    try:
        own = _peak(psutil.Process())
    except GONE:
        own = _max_rss()
    return own and own + sum(_unshared_peak(process) for process in _family(os.getpid()))


def forget_peak() -> None:
    """From now on `peak_bytes` tells of this process what it holds from now on; only Linux can do that."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak(process: psutil.Process) -> int:
    """The most memory a process ever held where the system tells (Linux, Windows; macOS of this process), else what it
    holds. Not `ru_maxrss` on Linux: a process inherits that one from the process that started it."""
    now = process.memory_info()
    told = getattr(now, "peak_wset", None) or _high_water(process.pid)
    if told is None and system.is_macos() and process.pid == os.getpid():
        told = _max_rss()
    return max(now.rss, told or 0)


def _unshared_peak(process: psutil.Process) -> int:
    """A forked child shares pages with its parent, where they are counted."""
    try:
        shared = process.memory_info().rss - getattr(process.memory_full_info(), "uss", 0)
        return max(0, _peak(process) - max(0, shared))
    except GONE:
        return 0


def _high_water(pid: int) -> int | None:
    """Bytes, of the line `VmHWM:   123 kB`, which psutil does not read."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * KB for line in lines if line.startswith("VmHWM:")), None)


def _max_rss() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if system.is_macos() else KB)


def cpu_seconds() -> float:
    """CPU time of this process and of its living descendants."""
    return _used(_family(os.getpid()))


def _used(family: Iterable[psutil.Process]) -> float:
    """CPU time of this process and of these."""
    seconds = time.process_time()
    for process in family:
        with contextlib.suppress(*GONE):
            times = process.cpu_times()
            seconds += times.user + times.system
    return seconds


def settle(limit: float = 0.5, pause: float = 0.02) -> None:
    """Wait until the threads of libraries, which spin for a while after their work, sleep; `limit` seconds at most."""
    end, family = time.perf_counter() + limit, _family(os.getpid())
    while time.perf_counter() < end:
        before = _used(family)
        time.sleep(pause)
        if _used(family) - before < pause / 4:
            return


def own_group() -> dict[str, Any]:
    """Options of `subprocess.Popen`: Ctrl-C in the console is not for that process, and it heads a group."""
    new_group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", None)
    return {"process_group": 0} if new_group is None else {"creationflags": new_group}


def kill_all(pids: Iterable[int]) -> None:
    """Kill processes, their groups where there are such, and everything that they started, in other groups and
    sessions too."""
    pids = list(pids)
    for pid in pids:
        family = _family(pid)
        with contextlib.suppress(*GONE):
            family.insert(0, psutil.Process(pid))  # first, so that it starts no more
        for process in family:
            with contextlib.suppress(*GONE):
                process.kill()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg") and pid != os.getpgrp():
                os.killpg(pid, 9)  # the group outlives its first process


def is_alive(pid: int) -> bool:
    """Whether a process, or its group, is there."""
    if psutil.pid_exists(pid):
        return True
    try:
        if hasattr(os, "killpg"):
            os.killpg(pid, 0)
            return True
    except (ProcessLookupError, PermissionError):
        pass
    return False
