"""A process that outlives the bench for a moment, so that no contestant does: when the bench has ended, in whatever
way, it kills what is left of the contestants and of all that they started.

The bench writes `+PID` and `-PID` into its stdin; the end of the bench, a SIGKILL too, ends that stdin.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable

from netdsl.bench.processes import descendants

ROUNDS, PAUSE = 20, 0.05  # of killing, while something is left: what is being started meanwhile is found then


def kill_all(pids: Iterable[int]) -> None:
    """Kill processes, their groups, and everything that they started, in other groups and sessions too."""
    pids = list(pids)
    for each in {found for pid in pids for found in (pid, *descendants(pid))}:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(each, signal.SIGKILL)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg") and pid != os.getpgrp():
                os.killpg(pid, signal.SIGKILL)  # the group outlives its first process


class Guard:
    """The guard, seen from the bench; without effect where there are no process groups."""

    def __init__(self, folder: str) -> None:
        """folder: what goes with the contestants, where the bench cannot remove it any more."""
        self._process: subprocess.Popen[bytes] | None = None
        if hasattr(os, "killpg"):
            path = os.pathsep.join(path for path in sys.path if path)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "netdsl.bench.guard", folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path},
                process_group=0,  # what ends the bench does not end its guard
            )

    def watch(self, pid: int) -> None:
        """From now on this process must not outlive the bench."""
        self._tell(f"+{pid}\n")

    def forget(self, pid: int) -> None:
        """It has ended, and its number may be another one's."""
        self._tell(f"-{pid}\n")

    def end(self) -> None:
        """There is nothing left to guard."""
        if self._process is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.communicate()

    def _tell(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(line.encode())
                self._process.stdin.flush()


def _is_alive(pid: int) -> bool:
    """Whether a process, or its group, is there."""
    for probe in (os.kill, os.killpg):
        with contextlib.suppress(ProcessLookupError):
            try:
                probe(pid, 0)
            except PermissionError:
                continue
            return True
    return False


def main() -> None:
    """Read until the bench ends, and kill what it left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watched: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        watched = watched | {pid} if line[0] == "+" else watched - {pid}
    for _ in range(ROUNDS if watched else 0):
        alive = [pid for pid in watched if _is_alive(pid)]
        if not alive:
            break
        kill_all(alive)
        time.sleep(PAUSE)
    if watched:
        shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()
