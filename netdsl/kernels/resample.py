"""Maps resampled by a matrix along each axis of space: what adaptive pooling and bilinear upsampling share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netdsl.kernels.arrays import Array, Type


def resample(x: Array, matrices: Sequence[Array]) -> Array:
    """x (N, C, H, W), matrices (Ho, H) and (Wo, W) -> y (N, C, Ho, Wo); one matrix for each axis of space.

    Along each axis, y = matrix x: the axis is swapped to the end, multiplied there, and swapped back.
    """
    for axis, matrix in enumerate(matrices, 2):
        x = np.matmul(x.swapaxes(axis, -1), matrix.T).swapaxes(axis, -1)
    return x


def resample_adjoint(dy: Array, matrices: Sequence[Array]) -> Array:
    """dy (N, C, Ho, Wo) -> dx (N, C, H, W): along each axis, dx = matrix^T dy."""
    return resample(dy, [matrix.T for matrix in matrices])


def averaging_matrix(size: int, count: int, dtype: Type) -> Array:
    """(count, size): row i averages the elements floor(i * size / count) <= j < ceil((i + 1) * size / count)."""
    matrix = np.zeros((count, size), dtype)
    for i in range(count):
        first, last = i * size // count, -(-(i + 1) * size // count)
        matrix[i, first:last] = 1 / (last - first)
    return matrix


def bilinear_matrix(size: int, factor: int, dtype: Type) -> Array:
    """(size * factor, size): row i mixes the two elements nearest to (i + 1/2) / factor - 1/2."""
    matrix = np.zeros((size * factor, size), dtype)
    for i in range(size * factor):
        place = max((i + 0.5) / factor - 0.5, 0.0)
        first = min(int(place), size - 1)
        share = place - first
        matrix[i, first] += 1 - share
        matrix[i, min(first + 1, size - 1)] += share
    return matrix


def corner_matrix(size: int, factor: int, dtype: Type) -> Array:
    """(size * factor, size): row i mixes the two elements nearest to i * (size - 1) / (size * factor - 1), so that the
    first is the first and the last the last."""
    count = size * factor
    matrix = np.zeros((count, size), dtype)
    for i in range(count):
        place = i * (size - 1) / max(count - 1, 1)
        first = int(place)
        share = place - first
        matrix[i, first] += 1 - share
        matrix[i, min(first + 1, size - 1)] += share
    return matrix
