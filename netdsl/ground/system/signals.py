"""Signals that ask a program to end. Which there are, and who gets them, differs from system to system."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

ASKING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # Ctrl-C, kill, a closed terminal, Ctrl-Break on Windows
INTERRUPT = int(signal.SIGINT)


@contextmanager
def on_signals(act: Callable[[int], None], names: Sequence[str] = ASKING, once: bool = False) -> Iterator[None]:
    """While it is open, signals of these names have `act` called with their number; `once`: only the first of all, and
    whatever comes next acts as ever.

    Those that the process was started to ignore, as a shell's background jobs do with Ctrl-C, are still ignored, and
    so are names that the system has not. Without effect outside of the main thread, where Python has no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers(names)}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}

    def handle(number: int, frame: FrameType | None) -> None:
        if once:
            restore()
        act(number)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        restore()


def numbers(names: Sequence[str] = ASKING) -> list[int]:
    """The numbers of those that the system has."""
    return [int(getattr(signal, name)) for name in names if hasattr(signal, name)]


def ignore_signals(names: Sequence[str] = ASKING) -> None:
    """Nothing of that kind ends this process any more."""
    for number in numbers(names):
        signal.signal(number, signal.SIG_IGN)


def exit_text(code: int) -> str:
    """`exit code -9 (SIGKILL)` of how a process ended; the system's number alone where a signal has no name."""
    known = {int(number): number.name for number in signal.Signals}
    return f"exit code {code}{f' ({known[-code]})' if -code in known else ''}"
