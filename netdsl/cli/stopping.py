"""Ctrl-C, the polite way: the first one asks, the second one ends. SIGTERM and a closed terminal ask as well."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from netdsl.ground.system.signals import INTERRUPT, on_signals

T = TypeVar("T")
ECHO = 3.0  # seconds in which a launcher hands on what all of its processes have got already
ASKED = b"\nstopping after this step, and saving; Ctrl-C again quits at once\n"
ASKED_BY_TORCHRUN = b"stopping after this step, and saving\n"


@dataclass
class StopRequest:
    """Which signal asked for a stop, or what went wrong with the display, as when its terminal was closed."""

    signal: int | None = None
    error: OSError | None = None

    def is_made(self) -> bool:
        return self.signal is not None or self.error is not None

    def unless_made(self, show: Callable[[T], None]) -> Callable[[T], None]:
        """A function that shows an event until there is a request; a failure to show is one."""

        def careful(event: T) -> None:
            if not self.is_made():
                try:
                    show(event)
                except OSError as error:
                    self.error = error

        return careful

    @property
    def exit_code(self) -> int:
        """The exit code as a shell counts: 130 for Ctrl-C, 143 for SIGTERM, 129 for a closed terminal."""
        return 128 + (self.signal or INTERRUPT)


@contextmanager
def stop_on_signals(quiet: bool = False, is_launched: bool = False) -> Iterator[StopRequest]:
    """While it is open the first Ctrl-C, SIGTERM or SIGHUP is noted, and whatever comes next acts as ever.

    is_launched: by torchrun, which gets Ctrl-C as its processes do, hands it on to them and kills them after 30
    seconds: what comes next is no wish of the user's, but for a Ctrl-C a while later. Signals that the process was
    started to ignore, as a shell's background jobs do with Ctrl-C, are still ignored.
    """
    request, noted = StopRequest(), 0.0

    def note(number: int) -> None:
        nonlocal noted
        if request.signal is not None:
            if number == INTERRUPT and time.monotonic() - noted > ECHO:
                raise KeyboardInterrupt
            return
        request.signal, noted = number, time.monotonic()
        if not quiet:
            with suppress(OSError):  # a terminal that was closed
                os.write(2, ASKED if number == INTERRUPT or not is_launched else ASKED_BY_TORCHRUN)

    with on_signals(note, once=not is_launched):
        yield request
