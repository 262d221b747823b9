"""The machine: its processor's name, how busy it is, and where a user's caches are."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from functools import cache
from importlib import import_module
from pathlib import Path

from netdsl.ground import system

CPUINFO = Path("/proc/cpuinfo")
SYSCTL = "/usr/sbin/sysctl"
REGISTRY = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
WORKING = ("user", "nice", "system", "irq", "softirq", "steal")  # psutil's names; Windows' system has interrupts in it


def facts() -> dict[str, object]:
    """What a run writes down of the machine."""
    return {
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": num_cores(),
        "byteorder": sys.byteorder,
    }


def num_cores() -> int | None:
    """How many cores the machine has, those too that this process may not use."""
    return os.cpu_count()


def system_name() -> str:
    """`Linux x86_64`, `Darwin arm64`, `Windows AMD64`."""
    return f"{platform.system()} {platform.machine()}"


def python_version() -> str:
    """`3.12.1`."""
    return platform.python_version()


def cpu_model(default: str = "unknown") -> str:
    """The processor's name, as the system tells it."""
    return _cpu_info().get("model name") or _told() or platform.processor() or platform.machine() or default


def cpu_flags() -> frozenset[str]:
    """What the processor can do, as Linux calls it (`avx512f`); nothing elsewhere."""
    return frozenset(_cpu_info().get("flags", "").split())


@cache
def _cpu_info() -> dict[str, str]:
    """What Linux tells of the last processor that it lists."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


@cache
def _told() -> str:
    """The name that macOS and Windows know beside what Python's `platform` says, as `arm` or `Intel64 Family 6`."""
    try:
        if system.is_macos():
            asked = [SYSCTL, "-n", "machdep.cpu.brand_string"]
            return subprocess.run(asked, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
        if system.is_windows():
            winreg = import_module("winreg")
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, REGISTRY) as key:
                return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    except (OSError, subprocess.SubprocessError):
        pass
    return ""


def busy_seconds() -> float | None:
    """CPU time that all programs together have used on the cores of this process since the start of the machine; with
    what a hypervisor gave to others; None where unknown."""
    import psutil

    try:
        cores = psutil.cpu_times(percpu=True)
        mine = psutil.Process().cpu_affinity() if hasattr(psutil.Process, "cpu_affinity") else range(len(cores))
    except (OSError, psutil.Error):
        return None
    return sum(getattr(cores[i], name, 0.0) for i in mine if i < len(cores) for name in WORKING)


def work_clock() -> float:
    """Seconds that this thread has worked; on Windows, which counts those in steps of 16 ms, the time of day goes on
    instead, and so does what others did."""
    return time.perf_counter() if system.is_windows() else time.thread_time()


def cache_folder() -> Path:
    """Where the system has a user's caches; a folder for temporary files where the user has no home."""
    try:
        if system.is_windows():
            return Path(os.environ.get("LOCALAPPDATA") or Path.home(), "netdsl", "cache")
        return Path.home() / (Path("Library", "Caches") if system.is_macos() else ".cache") / "netdsl"
    except RuntimeError:
        return Path(tempfile.gettempdir(), "netdsl")


def user_cache() -> Path:
    """netdsl's own folder of what can be had again: below NETDSL_CACHE_DIR, or where the system has caches."""
    given = os.environ.get("NETDSL_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    return Path(given, "netdsl") if given else cache_folder()
