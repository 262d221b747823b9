"""What netdsl needs of an operating system, and what it does where a system has none of it.

Only the modules here, and `workers`, `helpers` and `blas` of stages/, whose text stands alone in emitted modules, ask
which system this is, or name what not every system has: fork, /proc, signals, process groups, hard links, how a file
is opened. tests/ground/test_system.py holds that.
"""

from __future__ import annotations

import os
import sys


def is_windows() -> bool:
    """Whether files, pipes and processes are Windows' own."""
    return os.name == "nt"


def is_macos() -> bool:
    """Whether this is macOS, which has forks and signals as Linux, but no /proc."""
    return sys.platform == "darwin"
