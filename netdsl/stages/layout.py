"""How numbers lie in memory: maps as (H, W, n, C), n the samples of a block; tokens as (n, T, D); vectors as (n, D).

A signal (C, L) is a map one number wide, (L, 1, n, C). Of a volume (C, D, H, W) the slices stand on each other,
(D*H, W, n, C): what no window moves over takes it for an image, and the rest sees (D, H, W, n, C) in the same memory.
"""

from __future__ import annotations

import math

import numpy as np

from netdsl.kernels.arrays import Array, Shape, Sides


def is_map(shape: Shape) -> bool:
    """Whether a value of these sizes is a map, (C, H, W) or (C, D, H, W); signals are (C, L, 1) here."""
    return len(shape) >= 3


def plane(space: Shape) -> Shape:
    """The height and width of a map as it lies: (L,) -> (L, 1), (H, W) as it is, (D, H, W) -> (D*H, W)."""
    *rows, width = space if len(space) > 1 else (*space, 1)
    return math.prod(rows), width


def inside(shape: Shape, n: int) -> Shape:
    """The sizes of n samples as stages keep them: (H, W, n, C) of maps, else (n, *shape)."""
    return (*plane(shape[1:]), n, shape[0]) if is_map(shape) else (n, *shape)


def long_rows(x: Array) -> Array:
    """x (..., n, C) -> a view (..., n*C): samples and channels become one axis."""
    return x.reshape(*x.shape[:-2], -1)


def to_textbook(x: Array, space: Shape = ()) -> Array:
    """(H, W, n, C) -> (n, C, H, W), or (n, C, *space); tokens and vectors stay."""
    if x.ndim != 4:
        return x
    y = np.ascontiguousarray(x.transpose(2, 3, 0, 1))
    return y.reshape(*y.shape[:2], *space) if space else y


def from_textbook(x: Array, is_map: bool | None = None) -> Array:
    """(n, C, *space) -> (H, W, n, C); tokens and vectors stay. is_map: None where it can be no signal, so that a map
    has the most axes."""
    if not (x.ndim >= 4 if is_map is None else is_map):
        return x
    return np.ascontiguousarray(x.reshape(*x.shape[:2], *plane(x.shape[2:])).transpose(2, 3, 0, 1))


def unfolded(x: Array, space: Shape) -> Array:
    """x (H, W, n, C) -> a view (*space, n, C), that of a volume (D, H, W, n, C)."""
    return x.reshape(*space, *x.shape[2:])


def folded(x: Array) -> Array:
    """x (*space, n, C) -> (H, W, n, C), a volume's slices on each other; a copy where they lie apart."""
    return x.reshape(-1, *x.shape[-3:])


def inner(x: Array, sides: Sides, space: Shape) -> Array:
    """x (*space with its sides, n, C) -> a view (*space, n, C)."""
    return x[tuple(slice(before, before + size) for (before, _), size in zip(sides, space, strict=True))]
