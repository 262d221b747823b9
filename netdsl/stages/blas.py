"""How many threads the BLAS of numpy uses; the text is copied into emitted modules."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

import numpy as np


def blas_threads(count: int | None) -> int | None:
    """Set how many threads the BLAS of numpy uses; returns how many it did, None where it cannot be asked (0.5 us)."""
    known = vars(blas_threads)
    get, put = known.get("controls") or known.setdefault("controls", blas_controls())
    if put is None or count is None:
        return None
    previous = get()
    put(count)
    return previous


def blas_controls() -> tuple[Any, Any]:
    """-> the functions that get and set the number of threads in the BLAS that numpy's own library links, or Nones.
    Windows knows a function only by the file that defines it, so what numpy's wheel brings along is asked as well."""
    forms = [f"{front}openblas_%s_num_threads{end}" for front in ("scipy_", "") for end in ("64_", "")]
    names = [(form % "get", form % "set") for form in [*forms, "bli_thread_%s_num_threads"]]
    for path in blas_libraries():
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        for get, put in [*names, ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads")]:
            if hasattr(library, get):
                return library[get], library[put]
    return None, None


def blas_libraries() -> list[str]:
    """-> the paths of numpy's own library, which links a BLAS, and of those that its wheel brings along."""
    modules = "numpy._core._multiarray_umath", "numpy.core._multiarray_umath"  # numpy 2, numpy 1
    own = [str(sys.modules[name].__file__) for name in modules if name in sys.modules][:1]
    folder = os.path.join(os.path.dirname(os.path.dirname(np.__file__)), "numpy.libs")
    brought = [name for _, _, names in os.walk(folder) for name in sorted(names) if "openblas" in name]
    return [*own, *(os.path.join(folder, name) for name in brought)]
