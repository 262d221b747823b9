"""A process that outlives the bench for a moment, so that no contestant does: when the bench has ended, in whatever
way, it kills what is left of the contestants and of all that they started.

The bench writes `+PID` and `-PID` into its stdin; the end of the bench, a SIGKILL too, ends that stdin.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time

from netdsl.ground.system.processes import is_alive, kill_all, own_group
from netdsl.ground.system.signals import ignore_signals

ROUNDS, PAUSE = 20, 0.05  # of killing, while something is left: what is being started meanwhile is found then


class Guard:
    """The guard, seen from the bench."""

    def __init__(self, folder: str) -> None:
        """folder: what goes with the contestants, where the bench cannot remove it any more."""
        path = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "netdsl.bench.guard", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path},
            **own_group(),  # what ends the bench does not end its guard
        )

    def watch(self, pid: int) -> None:
        """From now on this process must not outlive the bench."""
        self._tell(f"+{pid}\n")

    def forget(self, pid: int) -> None:
        """It has ended, and its number may be another one's."""
        self._tell(f"-{pid}\n")

    def end(self) -> None:
        """There is nothing left to guard."""
        with contextlib.suppress(OSError):
            self._process.communicate()

    def _tell(self, line: str) -> None:
        assert self._process.stdin
        with contextlib.suppress(OSError):
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()


def main() -> None:
    """Read until the bench ends, and kill what it left."""
    ignore_signals()
    watched: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        watched = watched | {pid} if line[0] == "+" else watched - {pid}
    for _ in range(ROUNDS if watched else 0):
        alive = [pid for pid in watched if is_alive(pid)]
        if not alive:
            break
        kill_all(alive)
        time.sleep(PAUSE)
    if watched:
        shutil.rmtree(sys.argv[1], ignore_errors=True)


if __name__ == "__main__":
    main()
