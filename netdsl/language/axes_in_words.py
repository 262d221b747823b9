"""What settings along axes of space look like, in words: for a signal, an image and a volume."""

from __future__ import annotations

from netdsl.graph.types import Tensor

_EXAMPLES = {1: "`3`", 2: "`3` or `3x5`", 3: "`3` or `3x5x5`"}
_SIDES = {
    1: "`1` or `2x0` (before, behind)",
    2: "`1`, `1x2` (H and W) or `0x1x0x0` (top, left, bottom, right)",
    3: "`1`, `1x2x3` (D, H and W) or `1x0x0x0x0x0` (front, top, left, back, bottom, right)",
}
_ORDERS = {
    1: "before, behind: `2x0` is two before",
    2: "top, left, bottom, right: `0x1x0x0` is one on the left",
    3: "front, top, left, back, bottom, right: `1x0x0x0x0x0` is one in front",
}
_KINDS = {1: "a signal", 2: "an image", 3: "a volume"}
_AXES = {1: "its length", 2: "height and width", 3: "depth, height and width"}


def kind_of(axes: int) -> str:
    """`a signal`, `an image` or `a volume`: a map of so many axes of space."""
    return _KINDS[axes]


def axes_text(axes: int) -> str:
    """`height and width`: what the axes of space are called."""
    return _AXES[axes]


def sizes_example(axes: int) -> str:
    """What a setting along the axes may be."""
    return _EXAMPLES[axes]


def sides_example(axes: int) -> str:
    """What a setting for each side may be."""
    return _SIDES[axes]


def sides_order(axes: int) -> str:
    """In which order the sides stand."""
    return _ORDERS[axes]


def size_letters(given: Tensor) -> list[str]:
    """What a spec calls the sizes of what arrives: `in.c`, `in.h`, `in.w`, `in.space`."""
    return [f"in.{letter}" for letter in given.letters] + (["in.space"] if given.is_map else [])
