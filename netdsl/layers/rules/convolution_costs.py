"""How long the ways to compute a convolution take: estimates, so that a compiler that runs nothing can choose.

Fitted to measurements on a 2-core AVX2 machine (OpenBLAS 0.3, float32, one thread); what matters is the ratios, and
those between ways that lie close are left to the measurement of `netdsl.bench.tuning`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from netdsl.graph.types import Sizes

_FLOPS = 80.0  # a nanosecond, of a large product
_BLOCK = 16  # samples of a block, at most
_WINOGRAD = (1.1, 0.8)  # nanoseconds for each point: to points, and back
_FOURIER = (1.6, 1.45)
_ROWS = 0.35  # the same for each point of Winograd's along H alone, there and back
_CACHE, _READ = 1 << 23, 0.4  # bytes; nanoseconds for a number from memory
_COPY, _SCATTER = 0.6, 1.2  # nanoseconds for each number of a patch: gathered, added back


def product_cost(rows: float, inner: float, columns: float) -> float:
    """Nanoseconds of a product (rows, inner) @ (inner, columns); small ones are less efficient."""
    speed = _FLOPS * inner / (inner + 10) * columns / (columns + 10) * rows / (rows + 8)
    return 2 * rows * inner * columns / speed


def bilinear_cost(
    shape: Sequence[int], filters: int, tiles: int, points: int, is_winograd: bool, samples: int, training: bool
) -> float:
    """Nanoseconds for each of so many samples, by constant matrices: `tiles` of `points` each."""
    c, there, back, block = shape[0], *(_WINOGRAD if is_winograd else _FOURIER), min(samples, _BLOCK)
    product = points * product_cost(tiles * block, c, filters) / block
    numbers_in, numbers_out = points * tiles * c, points * tiles * filters
    forward = product + there * numbers_in + back * numbers_out
    weights = points * c * filters / samples
    if 4 * points * c * filters > _CACHE:
        forward += _READ * points * c * filters / min(samples, 4)  # a block reads all of them from memory
    if not training:
        return forward
    return forward + 2 * product + there * numbers_out + 1.5 * back * numbers_in + 2 * weights


def rows_cost(
    shape: Sequence[int],
    filters: int,
    columns: int,
    out_width: int,
    tiles: int,
    points: int,
    samples: int,
    training: bool,
) -> float:
    """Nanoseconds for each of so many samples, by Winograd's algorithm along H, `tiles` of `points` each, `columns`
    taps along W."""
    c, block = shape[0], min(samples, _BLOCK)
    product = points * columns * product_cost(tiles * out_width * block, c, filters) / block
    numbers_in, numbers_out = points * tiles * shape[2] * c, points * tiles * out_width * filters
    weights = points * columns * c * filters / samples
    forward = product + _ROWS * (numbers_in + numbers_out)
    return 3 * product + 2.5 * _ROWS * (numbers_in + numbers_out) + 2 * weights if training else forward


def patch_cost(
    shape: Sequence[int], filters: int, kernel_size: Sizes, out_size: Sizes, samples: int, training: bool
) -> float:
    """Nanoseconds for each of so many samples, as one product over patches."""
    patch, rows, block = shape[0] * prod(kernel_size), prod(out_size), min(samples, _BLOCK)
    product = product_cost(rows * block, patch, filters) / block
    forward = product + _COPY * rows * patch
    return 3 * product + (2 * _COPY + _SCATTER) * rows * patch if training else forward


def fourier_points(lengths: Sizes) -> int:
    """How many products the real Fourier transform of these lengths along H and W needs (stages/bilinear.py)."""
    height, width = lengths
    real = 2 if height % 2 == 0 else 1
    real_of_row = 2 if width % 2 == 0 else 1
    return real * (real_of_row + 3 * ((width - real_of_row) // 2)) + (height - real) // 2 * 3 * width
