"""A contestant's process, seen from the one that runs the match."""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from netdsl.bench.contestants import Job
from netdsl.bench.guard import Guard
from netdsl.ground.system.processes import kill_all, own_group
from netdsl.ground.system.signals import exit_text

THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    "NPROC",  # JAX's
)
LAST_LINES = 5
PHASES = {
    "start": "starting",
    "base": "starting",
    "build": "making its network",
    "load": "reading weights",
    "output": "making its first output",
    "losses": "making its first steps",
    "warm_up": "warming up",
    "turn": "being measured",
    "used": "being measured",
    "subnormals": "counting subnormal numbers",
}
"""What a contestant is asked -> what it does then."""


class ContestantFailed(Exception):
    """A contestant raised an exception or its process died. details: what it printed or its traceback."""

    def __init__(self, name: str, message: str, details: str = "") -> None:
        super().__init__(message)
        self.name, self.message, self.details = name, message, details


def environment(threads: int, folder: Path) -> dict[str, str]:
    """This process's environment with as many threads for every library, and nothing left outside the folder."""
    return {
        **os.environ,
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",  # else it keeps a pool of processes
        "JAX_PLATFORMS": "cpu",  # a device is for PyTorch's contestants
    }


class ContestantLeftOut(ContestantFailed):
    """A contestant cannot take the network. message: why."""


class Child:
    """Starts a contestant, asks it, ends it. `name` is the contestant's."""

    def __init__(
        self,
        name: str,
        job: Job,
        folder: Path,
        guard: Guard,
        limit: float = math.inf,
        words: Mapping[str, str] = PHASES,
        on_wait: Callable[[float], None] = lambda _: None,
    ) -> None:
        """limit: seconds that its answers may take, all together; words: as PHASES; on_wait is told now and then for
        how many seconds an answer has been waited for."""
        self.name, self.left, self._limit, self._guard = name, limit, limit, guard
        self._words, self._on_wait = words, on_wait
        self._asked = ""
        self._errors = (folder / f"{name}.stderr").open("w+b")  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "netdsl.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment(job.threads, folder),
            **own_group(),  # Ctrl-C is for the parent, which ends the group
        )
        guard.watch(self._process.pid)
        assert self._process.stdin and self._process.stdout
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._replies: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.send("start", job)

    def send(self, method: str, *arguments: object) -> None:
        """Request something; every request must be followed by `receive`."""
        self._asked = self.doing(method)
        with contextlib.suppress(OSError):  # `receive` tells why
            pickle.dump((method, arguments), self._requests, pickle.HIGHEST_PROTOCOL)
            self._requests.flush()

    def doing(self, method: str) -> str:
        """What it does when it is asked that."""
        return self._words.get(method, method)

    def receive(self) -> object:
        """The answer to the oldest request. Raises ContestantFailed."""
        began = time.monotonic()
        reply = self._next_reply(began, began + self.left)
        self.left -= time.monotonic() - began
        if self.left <= 0:
            took = f"it took longer than {self._limit:g} s, its limit (`--limit`), and was ended while {self._asked}"
            raise ContestantFailed(self.name, took, self._last_lines())
        if reply is None:
            raise ContestantFailed(self.name, self._obituary(), self._last_lines())
        if reply[0] == "left out":
            raise ContestantLeftOut(self.name, reply[1])
        if reply[0] == "failed":
            raise ContestantFailed(self.name, reply[1], reply[2])
        return reply[1]

    def ask(self, method: str, *arguments: object) -> object:
        """`send` and `receive`."""
        self.send(method, *arguments)
        return self.receive()

    def end(self) -> None:
        """Kill the process and those it started."""
        kill_all([self._process.pid])
        self._process.kill()
        self._process.wait()
        self._guard.forget(self._process.pid)
        self._reader.join()
        for file in (self._requests, self._answers, self._errors):
            with contextlib.suppress(OSError):
                file.close()

    def _read(self) -> None:
        try:
            while True:
                self._replies.put(pickle.load(self._answers))
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            self._replies.put(None)

    def _next_reply(self, began: float, end: float) -> tuple[Any, ...] | None:
        """None: the process is dead, even if one that it started still holds the pipe, or its time is over."""
        while True:
            try:
                return self._replies.get(timeout=max(0.01, min(0.5, end - time.monotonic())))
            except queue.Empty:
                if self._process.poll() is not None or time.monotonic() >= end:
                    return None
                self._on_wait(time.monotonic() - began)

    def _obituary(self) -> str:
        return f"its process ended with {exit_text(self._process.wait())}"

    def _last_lines(self) -> str:
        self._errors.seek(0)
        return "\n".join(self._errors.read().decode(errors="replace").splitlines()[-LAST_LINES:])
