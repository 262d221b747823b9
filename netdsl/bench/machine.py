"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

import numpy as np

from netdsl.bench.contestants import installed_version


def machine() -> dict[str, object]:
    """The processor, the system and the versions; None for what is not installed."""
    return {
        "cpu": cpu_model(),
        "cores": num_cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "blas": blas(),
        "torch": installed_version("torch"),
    }


def cpu_model() -> str:
    """The processor's name, as the system tells it."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine() or "unknown"


def num_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def busy_seconds() -> float | None:
    """CPU time that all programs together have used on the cores of this process since the start of the machine; with
    what a hypervisor gave to others; None where unknown."""
    try:
        lines = [line.split() for line in Path("/proc/stat").read_text().splitlines() if re.match(r"cpu\d", line)]
    except OSError:
        return None
    ours = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    ticks = [[int(field) for field in fields] for name, *fields in lines if name in ours]
    return sum(sum(fields[:8]) - fields[3] - fields[4] for fields in ticks) / os.sysconf("SC_CLK_TCK")


def blas() -> str:
    """Name and version of the library that NumPy multiplies matrices with."""
    found = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return " ".join(str(found[key]) for key in ("name", "version") if found.get(key)) or "unknown"
