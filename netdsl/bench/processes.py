"""Memory and CPU time of this process and of those it started, from /proc where there is one."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

KB = 1024


def peak_bytes() -> int | None:
    """The most memory this process ever held, with what its living children hold for themselves; None: unknown.

    Where /proc tells it, not `ru_maxrss`: a process inherits that one from the process that started it.
    """
    own = _field(os.getpid(), "status", "VmHWM")
    if own is None:
        return _max_rss()
    return own + sum(_unshared_peak(pid) for pid in descendants(os.getpid()))


def _max_rss() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else KB)


def _unshared_peak(pid: int) -> int:
    """A forked child shares pages with its parent, where they are counted."""
    shared = sum(_field(pid, "smaps_rollup", name) or 0 for name in ("Shared_Clean", "Shared_Dirty"))
    return max(0, (_field(pid, "status", "VmHWM") or 0) - shared)


def _field(pid: int, file: str, name: str) -> int | None:
    """Bytes from a line `name:   123 kB`."""
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * KB for line in lines if line.startswith(f"{name}:")), None)


def descendants(pid: int) -> list[int]:
    """The living processes that a process started, and those that they started."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except OSError:
        return []
    return [found for child in children for found in (child, *descendants(child))]


def cpu_seconds() -> float:
    """CPU time of this process and of its living descendants."""
    return time.process_time() + sum(_cpu_seconds(pid) for pid in descendants(os.getpid()))


def _cpu_seconds(pid: int) -> float:
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def settle(limit: float = 0.5, pause: float = 0.02) -> None:
    """Wait until the threads of libraries, which spin for a while after their work, sleep; `limit` seconds at most."""
    end = time.perf_counter() + limit
    while time.perf_counter() < end:
        before = cpu_seconds()
        time.sleep(pause)
        if cpu_seconds() - before < pause / 4:
            return
