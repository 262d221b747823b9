"""Where data sets are looked for."""

from __future__ import annotations

import os
from pathlib import Path


def data_dir() -> Path | None:
    """The folder NETDSL_DATA_DIR, where the files of `mnist` and `cifar10` are."""
    folder = os.environ.get("NETDSL_DATA_DIR")
    return Path(folder) if folder else None
