"""Sliding windows over maps, and their adjoint: what convolution and pooling share, for any axes of space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netdsl.kernels.arrays import Array, Counts, OneOrSides, OneOrSpatial, Shape, Sides, Spatial

Index = tuple[Any, ...]
"""What takes a part out of an array, along its last axes."""


def window_count(size: int, kernel_size: int, stride: int, dilation: int = 1) -> int:
    """How many windows fit along an axis of `size` elements, padding included."""
    return (size - dilation * (kernel_size - 1) - 1) // stride + 1


def window_counts(space: Spatial, kernel_size: Spatial, stride: OneOrSpatial, dilation: OneOrSpatial) -> list[int]:
    """How many windows fit along each axis of a padded map of the sizes `space`: (H, W), or any other axes.

    stride, dilation: one number for all axes, or one for each.
    """
    return [window_count(*axis) for axis in np.broadcast(space, kernel_size, stride, dilation)]


def window_slices(
    kernel_size: Spatial, stride: OneOrSpatial, dilation: OneOrSpatial, counts: Sequence[int]
) -> list[Index]:
    """For each place of the window, in reading order: the slices that take it out of every window at once."""
    places = []
    for place in np.ndindex(*kernel_size):
        axes = np.broadcast(place, stride, dilation, counts)
        places.append((..., *(slice(u * d, u * d + s * (n - 1) + 1, s) for u, s, d, n in axes)))
    return places


def sides_of(padding: OneOrSides, axes: int) -> Counts:
    """Padding, one number for all sides or (before, after) along each axis of space -> such pairs (axes, 2)."""
    return np.broadcast_to(padding, (axes, 2))


def windows(
    x: Array, kernel_size: Spatial, stride: OneOrSpatial = 1, padding: OneOrSides = 0, dilation: OneOrSpatial = 1
) -> Array:
    """x (N, C, H, W), padded with zeros -> all its windows (C, Kh*Kw, N, Ho, Wo); other axes of space alike.

    padding: one number for all sides, or ((top, bottom), (left, right)).
    """
    sides = sides_of(padding, x.ndim - 2)
    padded = np.pad(x.swapaxes(0, 1), ((0, 0), (0, 0), *sides))  # (C, N, H, W)
    counts = window_counts(padded.shape[2:], kernel_size, stride, dilation)
    return np.stack([padded[place] for place in window_slices(kernel_size, stride, dilation, counts)], axis=1)


def windows_adjoint(
    dwindows: Array,
    x_shape: Shape,
    kernel_size: Spatial,
    stride: OneOrSpatial = 1,
    padding: OneOrSides = 0,
    dilation: OneOrSpatial = 1,
) -> Array:
    """The transpose of `windows`: adds dwindows (C, Kh*Kw, N, Ho, Wo) up to dx (N, C, H, W)."""
    n, c, *space = x_shape
    sides = sides_of(padding, len(space))
    padded = np.zeros((c, n, *(space + sides.sum(axis=1))), dwindows.dtype)
    for k, place in enumerate(window_slices(kernel_size, stride, dilation, dwindows.shape[3:])):
        padded[place] += dwindows[:, k]
    return within(padded, sides, space).swapaxes(0, 1)


def within(padded: Array, sides: Counts | Sides, space: Sequence[int]) -> Array:
    """The map of the sizes `space` in a padded one, which has sides (before, after) on each axis; a view."""
    inside: Index = (..., *(slice(first, first + size) for (first, _), size in zip(sides, space, strict=True)))
    return padded[inside]
