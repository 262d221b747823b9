"""Shape rules of the pooling layers: where their windows stand, with PyTorch's ceil mode."""

from __future__ import annotations

from collections.abc import Mapping

from netdsl.diagnostics import SpecProblem
from netdsl.ir import Shape, show_shape
from netdsl.kernels.pooling import window_count
from netdsl.symbols import pair_text

Sides = tuple[tuple[int, int], tuple[int, int]]


def pooling_sides(attrs: Mapping, x: Shape) -> Sides:
    """Padding ((top, bottom), (left, right)); with `ceil` also what the last, incomplete windows reach over.

    Raises SpecProblem where PyTorch refuses: padding over half a window, a window larger than the padded input.
    """
    k, s, p, d = (attrs.get(name, (1, 1)) for name in ("kernel_size", "stride", "padding", "dilation"))
    if any(2 * p[i] > k[i] for i in range(2)):
        text = f"padding {_one_or_both(p)} is more than half of a {show_shape(k)} window"
        raise SpecProblem("N304", text, "padding", "the padding", help=(f"use p{min(k) // 2} or less",))
    return _axis_sides(x, k, s, p, d, bool(attrs["ceil"]), 0), _axis_sides(x, k, s, p, d, bool(attrs["ceil"]), 1)


def pooling_options(attrs: Mapping) -> dict[str, object]:
    """The keyword arguments of PyTorch's pooling modules that are not at their defaults."""
    padding = tuple(before for before, _ in attrs["padding"])
    usual = {"stride": attrs["kernel_size"], "padding": (0, 0), "dilation": (1, 1)}
    given = {"stride": attrs["stride"], "padding": padding, "dilation": attrs.get("dilation", (1, 1))}
    options: dict[str, object] = {name: pair_text(pair) for name, pair in given.items() if pair != usual[name]}
    return {**options, "ceil_mode": True} if attrs["ceil"] else options


def _one_or_both(pair: Shape) -> str:
    """`1`, or `1x2` where the axes differ: as a person would write it."""
    return str(pair[0]) if pair[0] == pair[1] else show_shape(pair)


def _axis_sides(x: Shape, k: Shape, s: Shape, p: Shape, d: Shape, ceil: bool, i: int) -> tuple[int, int]:
    """(before, after) along one axis."""
    reach, room = d[i] * (k[i] - 1) + 1, x[1 + i] + 2 * p[i]
    dilated = f" with dilation {d[i]}" if d[i] > 1 else ""
    if reach > room:
        padded = f" with padding {_one_or_both(p)}" if p != (0, 0) else ""
        text = f"a {show_shape(k)} window{dilated} does not fit a {show_shape(x[1:])} input{padded}"
        fits = (room - 1) // d[i] + 1
        raise SpecProblem("N201", text, "kernel_size", "the window", help=(f"use a window of {fits} or less",))
    extra = -(room - reach) % s[i] if ceil else 0
    if extra and (room - reach + extra) // s[i] * s[i] >= x[1 + i] + p[i]:
        extra = 0  # PyTorch: the last window must start inside the input or the padding before it
    if _sees_only_padding(x[1 + i], k[i], s[i], (p[i], p[i] + extra), d[i]):
        text = f"a {show_shape(k)} window{dilated} sees only padding at an edge of a {show_shape(x[1:])} input"
        raise SpecProblem("N201", text, "dilation", "the dilation", help=("use less padding or less dilation",))
    return p[i], p[i] + extra


def _sees_only_padding(size: int, k: int, s: int, sides: tuple[int, int], d: int) -> bool:
    """True if the first or last window along an axis holds no element of the input: its maximum would be -inf."""
    last = window_count(size, k, s, sides, d) - 1
    starts = (-sides[0], s * last - sides[0])
    return d > 1 and any(not any(0 <= start + u * d < size for u in range(k)) for start in starts)
