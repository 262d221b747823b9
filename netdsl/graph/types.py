"""The types of the values that flow through a network, without the batch axis.

A `Tensor` says what its sizes mean, so that nobody asks how many there are: channels stand first in a map and last in
tokens, and a rule asks for `.channels`, `.space` or `.layout`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from operator import is_
from typing import Literal

from netdsl.ground.symbols import Sized

Layout = Literal["vector", "map", "tokens", "ids"]
Dtype = Literal["float", "whole"]
Sizes = tuple[int, ...]

MOST_AXES = 3
"""A map has one to three axes of space: a signal, an image, a volume."""

_NOUNS = {"vector": "a vector", "map": "a map", "tokens": "tokens", "ids": "ids"}
_KINDS = ("signal", "image", "volume")
_COUNTS = {"vector": (1, 1), "map": (2, 1 + MOST_AXES), "tokens": (2, 2), "ids": (1, 1)}  # of sizes: least and most


def show_sizes(sizes: Sizes) -> str:
    """`1x28x28`, as the language writes it."""
    return "x".join(str(size) for size in sizes)


def show_sized(noun: str, sizes: Sizes, article: str = "a") -> str:
    """`a 3x5 kernel`; along one axis, where a number alone is no size, `a kernel of 3`."""
    if len(sizes) > 1:
        return f"{article} {show_sizes(sizes)} {noun}"
    return f"{'an' if article == 'a' and noun[0] in 'aeiou' else article} {noun} of {sizes[0]}"


@dataclass(frozen=True)
class Tensor(Sized):
    """What a value is: vector (D,), map (C, *space), tokens (T, D), or ids (T,), whole numbers below `limit`.

    Arrays have the batch axis before the sizes. Sizes may hold symbols (netdsl.ground.symbols).
    """

    layout: Layout
    sizes: Sizes
    dtype: Dtype = "float"
    limit: int = 0

    def __post_init__(self) -> None:
        least, most = _COUNTS[self.layout]
        assert least <= len(self.sizes) <= most, f"{self.layout} of sizes {self.sizes}"
        assert (self.dtype == "whole") == (self.layout == "ids") == (self.limit > 0), repr(self)

    @property
    def channels(self) -> int:
        """The channels of a map, the features of tokens or of a vector. Ids have none."""
        assert self.layout != "ids", repr(self)
        return self.sizes[self.channel_axis - 1]

    @property
    def channel_axis(self) -> int:
        """The axis of the channels in arrays, whose axis 0 is the batch: 1, and 2 in tokens (N, T, D)."""
        return 2 if self.layout == "tokens" else 1

    @property
    def space(self) -> Sizes:
        """The sizes along which windows move: (H, W) of an image; () of what is no map."""
        return self.sizes[1:] if self.is_map else ()

    @property
    def axes(self) -> int:
        """How many axes of space it has."""
        return len(self.space)

    @property
    def letters(self) -> str:
        """What the language calls its sizes, a letter each: `chw` of an image, `nc` of tokens."""
        return {"vector": "c", "tokens": "nc", "ids": "n", "map": "c" + "dhw"[MOST_AXES - self.axes :]}[self.layout]

    @property
    def length(self) -> int:
        """How many tokens or ids follow each other."""
        assert self.layout in ("tokens", "ids"), repr(self)
        return self.sizes[0]

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return prod(self.sizes)

    @property
    def place(self) -> str:
        """What one place of a map is called: a step of a signal, a pixel of an image, a voxel of a volume."""
        return {1: "step", 2: "pixel", 3: "voxel"}.get(self.axes, "place")

    @property
    def is_map(self) -> bool:
        return self.layout == "map"

    @property
    def is_image(self) -> bool:
        """True for a map with height and width."""
        return self.axes == 2

    @property
    def is_picture(self) -> bool:
        """True for an image that an image file can hold: grey or coloured."""
        return self.is_image and self.channels in (1, 3)

    @property
    def is_tokens(self) -> bool:
        return self.layout == "tokens"

    @property
    def is_vector(self) -> bool:
        return self.layout == "vector"

    @property
    def is_ids(self) -> bool:
        return self.layout == "ids"

    @property
    def kind(self) -> str:
        """`signal`, `image` or `volume`: what a map of so many axes of space is called."""
        assert self.is_map, repr(self)
        return _KINDS[self.axes - 1]

    @property
    def noun(self) -> str:
        """`a map`, for a message."""
        return _NOUNS[self.layout]

    def show(self) -> str:
        """`1x28x28`, as the language writes it."""
        return show_sizes(self.sizes)

    def show_type(self) -> str:
        """`1x28x28`, `9x128 map`, `64 of 65`, as `input` has it: with what says what the sizes mean, where alone they
        would mean something else."""
        if self.is_ids:
            return f"{self.show()} of {self.limit}"
        return self.show() if from_sizes(self.sizes).layout == self.layout else f"{self.show()} {self.layout}"

    def with_channels(self, channels: int) -> Tensor:
        """The tensor with so many channels or features."""
        assert self.layout != "ids", repr(self)
        at = self.channel_axis - 1
        return self._of_sizes((*self.sizes[:at], channels, *self.sizes[at + 1 :]))

    def with_space(self, space: Sizes) -> Tensor:
        """The map with other sizes along its axes of space, of which it has as many."""
        assert self.is_map and len(space) == self.axes, f"{self!r} with {space}"
        return self._of_sizes((self.channels, *space))

    def map_sizes(self, change: Callable[[int], int]) -> Tensor:
        """The tensor with each size changed."""
        return self._of_sizes(tuple(change(size) for size in self.sizes))

    def _of_sizes(self, sizes: Sizes) -> Tensor:
        """The same of other sizes; itself where they are the very same, so that most questions make nothing new."""
        return self if all(map(is_, sizes, self.sizes)) else Tensor(self.layout, sizes, self.dtype, self.limit)

    def tokens_of_map(self) -> Tensor:
        """The tokens that a map's places make: one for each place, its channels as features."""
        return tokens(prod(self.space), self.channels)


def vector(features: int) -> Tensor:
    """(D,)."""
    return Tensor("vector", (features,))


def map_of(channels: int, *space: int) -> Tensor:
    """(C, *space): `map_of(3, 32, 32)` is a colour image."""
    return Tensor("map", (channels, *space))


def tokens(length: int, features: int) -> Tensor:
    """(T, D)."""
    return Tensor("tokens", (length, features))


def ids(length: int, limit: int) -> Tensor:
    """(T,) whole numbers from 0 to limit - 1."""
    return Tensor("ids", (length,), "whole", limit)


def from_sizes(sizes: Sizes, is_map: bool = False, limit: int | None = None) -> Tensor:
    """What the language means by sizes: `10` a vector, `16x64` tokens, `3x32x32` a map; with is_map, `9x128` too; with
    a limit `64` are ids."""
    if limit is not None:
        return ids(sizes[0], limit)
    layouts: dict[int, Layout] = {1: "vector", 2: "tokens"}
    return Tensor("map" if is_map else layouts.get(len(sizes), "map"), sizes)
