"""A data set as it was read: up to three parts, before the test and validation parts that are missing are split off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from netdsl.training.data.stored import Samples

PART_NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Part -> what folders and arrays of it are called."""


def counted(count: int, noun: str) -> str:
    """`1 image`, `2 images`."""
    return f"{count} {noun}{'s' * (count != 1)}"


@dataclass(frozen=True)
class Parts:
    """x (N, *input_shape) and y (N, ...) of `train`, perhaps of `val` and `test`, as in `Dataset`.

    notes: what was changed on reading, in words. bits: how many 16-bit images use, None without such.
    are_sorted: by class, so that the first ones are not like the others. rate: of recordings, numbers a second.
    units: of each training sample the number of what must not be torn apart between parts; None: each is one. limit: of
    samples that are whole numbers of a vocabulary, all of which are below it; 0: they are others.
    """

    x: Mapping[str, Samples]
    y: Mapping[str, Samples]
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    bits: int | None = None
    are_sorted: bool = False
    rate: int | None = None
    units: np.ndarray | None = None
    limit: int = 0
