"""Names for the types in the headers of kernels and stages. Emitted text has none of them (text/plain_text.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:  # the names are read by type checkers and people: no command imports numpy for them
    import numpy as np

Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[Any]]"
"""An array of the axes that the docstring says; of any, where that says none."""

Maps: TypeAlias = Array
"""(N, C, H, W)."""

Tokens: TypeAlias = Array
"""(N, T, D)."""

Vectors: TypeAlias = Array
"""(N, D). These three say in a header what its docstring does not, where that stands in a module of generated/."""

Counts: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[Any]]"
"""Whole numbers about sizes: NumPy's, also where an Array is CuPy's and lies on a GPU (targets/cupy/spelling.py)."""

Param: TypeAlias = Any
"""An array, or None where a layer has no such param (a convolution without bias). Kernels ask for one of several."""

Saved: TypeAlias = Any
"""What a forward pass keeps for its backward pass, which alone reads it."""

Grads: TypeAlias = dict[str, Array]
"""Name of a param -> the gradient of the loss by it."""

Arrays: TypeAlias = Mapping[Any, Array]
"""Params or their gradients, by name, or by where they begin in a vector of all."""

State: TypeAlias = dict[Any, Any]
"""What an optimizer carries from step to step: `step`, and for each of `Arrays` some of its shape."""

Shape: TypeAlias = tuple[int, ...]
"""Sizes, without the batch axis where they are of a value."""

Spatial: TypeAlias = tuple[int, ...]
"""One number for each axis of space: of maps (C, H, W) for H and for W."""

OneOrSpatial: TypeAlias = int | Spatial
"""A number for all axes of space, or one for each."""

Sides: TypeAlias = tuple[tuple[int, int], ...]
"""For each axis of space what lies before it and what lies behind it."""

OneOrSides: TypeAlias = int | Sides
"""A number for all sides, or what lies before and behind each axis of space."""

Number: TypeAlias = float
"""One number, Python's or NumPy's: a float32 is none to type checkers, and computes as one."""

Type: TypeAlias = "np.dtype[Any] | type[Any] | str"
"""What NumPy takes for a dtype."""
