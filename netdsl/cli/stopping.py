"""Ctrl-C, the polite way: the first one asks, the second one ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

ASKED = b"\nstopping after this step, and saving; Ctrl-C again quits at once\n"


@dataclass
class StopRequest:
    """Which signal asked for a stop, None as long as there was none."""

    signal: int | None = None

    def is_made(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """As a shell counts: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + (self.signal or signal.SIGINT)


@contextmanager
def stop_on_signals(quiet: bool = False) -> Iterator[StopRequest]:
    """While it is open the first Ctrl-C or SIGTERM is noted, and whatever comes next acts as ever.

    Signals that the process was started to ignore, as a shell's background jobs do with Ctrl-C, are still ignored.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}

    def note(number: int, frame: FrameType | None) -> None:
        request.signal = number
        for other, handler in before.items():
            signal.signal(other, handler)
        if not quiet:
            os.write(2, ASKED)

    for number in before:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
