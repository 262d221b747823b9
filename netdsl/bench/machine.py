"""What the numbers were measured on."""

from __future__ import annotations

import numpy as np

from netdsl.bench.contestants import installed_version
from netdsl.ground.system.machine import cpu_model, python_version, system_name
from netdsl.stages.workers import available_cores


def machine() -> dict[str, object]:
    """The processor, the system and the versions; None for what is not installed."""
    return {
        "cpu": cpu_model(),
        "cores": available_cores(),
        "system": system_name(),
        "python": python_version(),
        "numpy": np.__version__,
        "blas": blas(),
        "torch": installed_version("torch"),
    }


def blas() -> str:
    """Name and version of the library that NumPy multiplies matrices with."""
    library = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return " ".join(str(library[key]) for key in ("name", "version") if library.get(key)) or "unknown"
