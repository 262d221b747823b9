"""Takes from its process, and from those that it starts, what macOS or Windows have not.

A copy of this text is called `sitecustomize.py`, which Python runs first. There is no fork, no process group, no
affinity, no hard link and no SIGHUP. Only psutil and threadpoolctl, which read other places elsewhere, find /proc.
"""

import builtins
import io
import os
import signal
import sys

FUNCTIONS = (
    "fork",
    "forkpty",
    "killpg",
    "getpgrp",
    "sched_getaffinity",
    "sched_yield",
    "link",
    "symlink",
)
SIGNALS = ("SIGHUP", "SIGQUIT", "pthread_sigmask", "set_wakeup_fd")


def without_proc(real):
    """`real`, which opens or lists a path, for a system without /proc."""

    def call(path, *args, **kwargs):
        is_proc = isinstance(path, str | bytes | os.PathLike) and os.fspath(path)[:5] in ("/proc", b"/proc")
        if is_proc and not sys._getframe(1).f_globals.get("__name__", "").startswith(("psutil", "threadpoolctl")):
            raise FileNotFoundError(2, "No such file or directory", os.fspath(path))
        return real(path, *args, **kwargs)

    return call


for name in FUNCTIONS:
    delattr(os, name)
for name in SIGNALS:
    delattr(signal, name)
builtins.open = io.open = without_proc(open)
os.scandir, os.listdir, os.open = without_proc(os.scandir), without_proc(os.listdir), without_proc(os.open)
