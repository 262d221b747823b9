"""Ctrl-C, the polite way: the first one asks, the second one ends. SIGTERM and a closed terminal ask as well."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import TypeVar

T = TypeVar("T")
ASKED = b"\nstopping after this step, and saving; Ctrl-C again quits at once\n"


@dataclass
class StopRequest:
    """Which signal asked for a stop, or what went wrong with the display, as when its terminal was closed."""

    signal: int | None = None
    error: OSError | None = None

    def is_made(self) -> bool:
        return self.signal is not None or self.error is not None

    def unless_made(self, show: Callable[[T], None]) -> Callable[[T], None]:
        """As `show`, until there is a request; a failure to show is one."""

        def careful(event: T) -> None:
            if not self.is_made():
                try:
                    show(event)
                except OSError as error:
                    self.error = error

        return careful

    @property
    def exit_code(self) -> int:
        """As a shell counts: 130 for Ctrl-C, 143 for SIGTERM, 129 for a closed terminal."""
        return 128 + (self.signal or signal.SIGINT)


@contextmanager
def stop_on_signals(quiet: bool = False) -> Iterator[StopRequest]:
    """While it is open the first Ctrl-C, SIGTERM or SIGHUP is noted, and whatever comes next acts as ever.

    Signals that the process was started to ignore, as a shell's background jobs do with Ctrl-C, are still ignored.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}

    def note(number: int, frame: FrameType | None) -> None:
        request.signal = number
        for other, handler in before.items():
            signal.signal(other, handler)
        if not quiet:
            with suppress(OSError):  # a terminal that was closed
                os.write(2, ASKED)

    for number in before:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
