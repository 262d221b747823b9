"""What a place of a map is made of: along each axis, which places of the input a layer reads for places of its output.

Each rule takes attrs, places of the output along an axis, the axis (0: the first of space), and the sizes of input and
output along it; it gives the places of the input that those read, in any order. Places below 0 and from the size on lie
in padding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Places = np.ndarray
    """Indices along one axis."""

Attrs = Mapping[str, Any]
Reads = Callable[[Attrs, "Places", int, int, int], "Places"]


def same_place(attrs: Attrs, places: Places, axis: int, size: int, out: int) -> Places:
    """The same places; all of an axis along which the input is repeated (batch norm: out of training)."""
    return places if size == out else everywhere(attrs, places, axis, size, out)


def everywhere(attrs: Attrs, places: Places, axis: int, size: int, out: int) -> Places:
    """All places."""
    import numpy as np

    return np.arange(size)


def under_the_window(attrs: Attrs, places: Places, axis: int, size: int, out: int) -> Places:
    """Place i reads i * stride - padding + u * dilation, 0 <= u < kernel_size."""
    return places[:, None] * attrs["stride"][axis] - attrs["padding"][axis][0] + _taps(attrs, axis)


def windows_above(attrs: Attrs, places: Places, axis: int, size: int, out: int) -> Places:
    """Place i, of a transposed convolution, reads j where i = j * stride - padding + u * dilation."""
    scaled = places[:, None] + attrs["padding"][axis] - _taps(attrs, axis)
    return scaled[scaled % attrs["stride"][axis] == 0] // attrs["stride"][axis]


def _taps(attrs: Attrs, axis: int) -> Places:
    """How far each tap of the window lies behind the first one."""
    import numpy as np

    dilation = attrs["dilation"][axis] if "dilation" in attrs else 1
    return dilation * np.arange(attrs["kernel_size"][axis])
