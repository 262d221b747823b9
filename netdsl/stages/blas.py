"""How many threads the BLAS of numpy uses; the text is copied into emitted modules."""

from __future__ import annotations

import ctypes
import inspect
import os
import sys
from typing import Any

import numpy as np


def blas_threads(count: int) -> int | None:
    """Set how many threads the BLAS of numpy uses; returns how many it did, None where it cannot be asked (0.5 us)."""
    known = vars(blas_threads)
    if "controls" not in known:
        known["controls"] = blas_controls()
    get, put = known["controls"]
    if put is None:
        return None
    previous = get()
    put(count)
    return previous


def blas_controls() -> tuple[Any, Any]:
    """-> the functions that get and set the number of threads in the BLAS that numpy's own library links, or Nones.

    Windows knows a function only by the file that defines it, so the libraries that come with numpy are asked as well.
    """
    forms = [f"{front}openblas_%s_num_threads{end}" for front in ("scipy_", "") for end in ("64_", "")]
    names = [(form % "get", form % "set") for form in [*forms, "bli_thread_%s_num_threads"]]
    for path in blas_libraries():
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        for get, put in [*names, ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads")]:
            try:
                return library[get], library[put]
            except AttributeError:
                continue
    return None, None


def blas_libraries() -> list[str]:
    """-> the paths of numpy's own library, which links a BLAS, and of those that its wheel brings along."""
    modules = "numpy._core._multiarray_umath", "numpy.core._multiarray_umath"  # numpy 2, numpy 1
    own = [inspect.getfile(sys.modules[name]) for name in modules if name in sys.modules]
    folder = os.path.join(os.path.dirname(os.path.dirname(np.__file__)), "numpy.libs")
    brought = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [*own, *(os.path.join(folder, name) for name in brought if "openblas" in name)]
