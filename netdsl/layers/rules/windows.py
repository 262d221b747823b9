"""Where the windows of convolutions and poolings stand: `same`, padding by side, PyTorch's ceil mode."""

from __future__ import annotations

from math import gcd

from netdsl.graph.ir import show_shape
from netdsl.graph.types import Sizes, Tensor, show_sized
from netdsl.ground.diagnostics import SpecProblem
from netdsl.ground.symbols import is_all, plain_value, spatial_text, value_text
from netdsl.kernels.windows import window_count
from netdsl.layers.rules.places import Attrs

Sides = tuple[tuple[int, int], ...]
"""Padding before and behind each axis of space: ((top, bottom), (left, right)) of an image."""


def given_sides(attrs: Attrs, x: Tensor) -> Sides:
    """The padding as it is written, or that of `same`."""
    padding: Sides = attrs["padding"]
    if not attrs["same"]:
        return padding
    if not is_all(padding, 0):
        raise SpecProblem("N313", "`same` already sets the padding", attr="padding", help=("leave out one of the two",))
    totals = [_same_total(*axis) for axis in zip(x.space, *_window(attrs, x.axes), strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)


def _window(attrs: Attrs, axes: int) -> tuple[Sizes, Sizes, Sizes]:
    """Window, stride and dilation along the axes."""
    return attrs["kernel_size"], attrs["stride"], attrs.get("dilation", (1,) * axes)


def _same_total(size: int, k: int, s: int, d: int) -> int:
    """What ceil(size / s) windows need beyond `size`: TensorFlow's `SAME`, and at stride 1 PyTorch's `padding="same"`.

    d * (k - 1) at stride 1, in the terms of a block where it has some; else a number, as it depends on the size.
    """
    if plain_value(s) == 1:
        return d * (k - 1)
    size, k, s, d = (plain_value(n) for n in (size, k, s, d))
    return max(0, (-(-size // s) - 1) * s + d * (k - 1) + 1 - size)


def are_even(sides: Sides) -> bool:
    """True if there is as much before each axis as behind it: PyTorch's modules then take it as their `padding`."""
    return all(before == after for before, after in sides)


def torch_sides(sides: Sides) -> tuple[int, ...]:
    """(left, right, top, bottom), as PyTorch's F.pad takes it: the last axis first."""
    return tuple(number for side in reversed(sides) for number in side)


def helpers_for_axes(text: str) -> tuple[str, ...]:
    """The text of a class for images, and those for signals and volumes."""
    around = "left, right", "top, bottom", "front, back"
    return tuple(
        text.replace("2d", f"{axes}d").replace(", ".join(around[:2]), ", ".join(around[:axes])) for axes in (2, 1, 3)
    )


def pooling_sides(attrs: Attrs, x: Tensor) -> Sides:
    """Padding ((top, bottom), (left, right)); with `ceil` also what the last, incomplete windows reach over.

    Raises SpecProblem where PyTorch refuses: even padding over half a window, a window larger than the padded input;
    and where a window would hold nothing but padding.
    """
    k, s, d = _window(attrs, x.axes)
    sides, ceil = given_sides(attrs, x), bool(attrs["ceil"])
    if ceil and attrs["same"]:
        raise SpecProblem("N313", "`same` already rounds up", attr="ceil", help=("leave out `ceil`",))
    if ceil and not are_even(sides):
        message = f"`ceil` needs the same padding before and behind, not {sides_text(sides)}"
        raise SpecProblem("N313", message, attr="padding", help=("write what is missing behind as padding, too",))
    if (
        are_even(sides)
        and not attrs["same"]
        and any(2 * before > size for (before, _), size in zip(sides, k, strict=True))
    ):
        text = f"padding {sides_text(sides)} is more than half of {show_sized('window', k)}"
        raise SpecProblem("N304", text, "padding", "the padding", help=(f"use p{min(k) // 2} or less",))
    return tuple(_axis_sides(x, k, s, sides, d, ceil, axis) for axis in range(x.axes))


def pooling_text(name: str, attrs: Attrs, padded_with: str, **options: object) -> str:
    """The constructor of a pooling module of PyTorch; behind one that pads, where it takes no such padding itself."""
    sides = attrs["padding"]
    padding = tuple(before for before, _ in sides)
    kernel_size, stride, dilation = _window(attrs, len(sides))
    zeros = (0,) * len(sides)
    usual = {"stride": kernel_size, "padding": zeros, "dilation": (1,) * len(sides)}
    pads_itself = needs_own_padding(attrs)
    given = {"stride": stride, "padding": zeros if pads_itself else padding, "dilation": dilation}
    written: dict[str, object] = {name: spatial_text(sizes) for name, sizes in given.items() if sizes != usual[name]}
    written |= {"ceil_mode": True} if attrs["ceil"] else {}
    arguments = [
        value_text(spatial_text(kernel_size)),
        *(f"{key}={value_text(v)}" for key, v in (written | options).items()),
    ]
    pool = f"{name}({', '.join(arguments)})"
    return f"nn.Sequential({padded_with.format(torch_sides(sides))}, {pool})" if pads_itself else pool


def needs_own_padding(attrs: Attrs) -> bool:
    """True where PyTorch's pooling modules do not take the padding: it is uneven, or more than half of a window."""
    sides = attrs["padding"]
    if attrs["ceil"]:
        return False
    return not are_even(sides) or any(2 * side[0] > k for side, k in zip(sides, attrs["kernel_size"], strict=True))


def sides_text(sides: Sides) -> str:
    """As a person would write it: `1`, `1x2` where the axes differ, `0x1x0x0` (top, left, bottom, right)."""
    before, after = zip(*sides, strict=True)
    if before != after:
        return show_shape((*before, *after))
    return str(before[0]) if len(set(before)) == 1 else show_shape(before)


def _axis_sides(x: Tensor, k: Sizes, s: Sizes, sides: Sides, d: Sizes, ceil: bool, i: int) -> tuple[int, int]:
    """(before, after) along one axis."""
    (before, after), size = sides[i], x.space[i]
    reach, room = d[i] * (k[i] - 1) + 1, size + before + after
    dilated = f" with dilation {d[i]}" if d[i] > 1 else ""
    if reach > room:
        padded = f" with padding {sides_text(sides)}" if not is_all(sides, 0) else ""
        text = f"{show_sized('window', k)}{dilated} does not fit {show_sized('input', x.space)}{padded}"
        fits = (room - 1) // d[i] + 1
        raise SpecProblem("N201", text, "kernel_size", "the window", help=(f"use a window of {fits} or less",))
    extra = -(room - reach) % s[i] if ceil else 0
    if extra and (room - reach + extra) // s[i] * s[i] >= size + before:
        extra = 0  # PyTorch: the last window must start inside the input or the padding before it
    if _sees_only_padding(size, k[i], s[i], (before, after + extra), d[i]):
        text = f"{show_sized('window', k)}{dilated} sees only padding at an edge of {show_sized('input', x.space)}"
        what = "dilation" if d[i] > 1 else "padding"
        help_text = "use less padding or less dilation" if d[i] > 1 else "use less padding"
        raise SpecProblem("N201", text, what, f"the {what}", help=(help_text,))
    return before, after + extra


def _sees_only_padding(size: int, k: int, s: int, sides: tuple[int, int], d: int) -> bool:
    """True if a window along an axis holds no element of the input: its maximum would be -inf.

    The first element it meets is the first place from 0 on that is a multiple of d from its start. Only those that
    start in the padding may miss; where the input is shorter than d, that depends on the start modulo d.
    """
    last = window_count(size + sum(sides), k, s, d) - 1
    count = min(last, d // gcd(s, d)) if size < d else 0

    def misses(start: int) -> bool:
        first = start % d if start < 0 else start
        return first >= size or (first - start) // d >= k

    return misses(s * last - sides[0]) or any(misses(s * j - sides[0]) for j in range(count + 1))
