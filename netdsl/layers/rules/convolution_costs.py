"""How long the ways to compute a convolution take: estimates, so that a compiler that runs nothing can choose.

Fitted to measurements on two 2-core machines, with AVX2 and with AVX-512 (OpenBLAS 0.3, float32, one thread); what
matters is the ratios, and those between ways that lie close are left to the measurement of `netdsl.bench.tuning`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from netdsl.graph.types import Sizes

if TYPE_CHECKING:
    from netdsl.stages.convolution import ConvGeometry

_FLOPS = 80.0  # a nanosecond, of a large product
_BLOCK = 16  # samples of a block, at most
_WINOGRAD = (1.2, 0.95)  # nanoseconds for each point: to points, and back
_FOURIER = (1.6, 1.45)
_ROWS = 0.35  # the same for each point of Winograd's along H alone, there and back
_CACHE, _READ = 1 << 22, 0.4  # bytes; nanoseconds for a number from memory
_COPY, _SCATTER = 0.6, 1.2  # nanoseconds for each number of a patch: gathered, added back
_LINE = 0.15  # the same, gathered in long lines
_CALL = 4000  # nanoseconds of a call of NumPy and of the Python around it


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
    forward += _weights_cost(points * c * filters, samples)
    if not training:
        return forward + _calls_cost(8, samples)
    forward += _calls_cost(24, samples)
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
    forward = product + _ROWS * (numbers_in + numbers_out) + _weights_cost(points * columns * c * filters, samples)
    rows = tiles if out_width > 1 else 1  # the tiles of a signal go together
    if not training:
        return forward + _calls_cost(rows * 4, samples)
    forward += 2 * product + 1.5 * _ROWS * (numbers_in + numbers_out) + 2 * weights
    return forward + _calls_cost(rows * (11 + 3 * columns), samples)


def patch_cost(g: ConvGeometry, samples: int, training: bool) -> float:
    """Nanoseconds for each of so many samples, as one product over patches."""
    taps, rows, block = prod(g.kernel_size), prod(g.out_size), min(samples, _BLOCK)
    patch = taps * g.shape[0]
    copy = _COPY / 2 if samples == 1 else _COPY  # of one sample the numbers of a row of the window lie together
    product = product_cost(rows * block, patch, g.filters) / block
    forward = product + copy * rows * patch + _weights_cost(patch * g.filters, samples)
    if not training:
        return forward + _calls_cost(3, samples)
    forward += 2 * product + copy * rows * patch
    if max(g.stride) == 1:  # the gradient by x is such a product, too
        return forward + copy * prod(g.shape[1:]) * taps * g.filters + _calls_cost(8, samples)
    return forward + _SCATTER * rows * patch + _calls_cost(8 + taps, samples)


def line_cost(g: ConvGeometry, samples: int, training: bool) -> float:
    """Nanoseconds for each of so many samples, with windows that overlap along W alone copied, those along H not."""
    (_, width), rows, block = g.kernel_size, prod(g.out_size), min(samples, _BLOCK)
    patch, line = g.shape[0] * prod(g.kernel_size), g.padded_size[0] * g.out_size[1] * width * g.shape[0]
    product = product_cost(rows * block, patch, g.filters) / block
    forward = product + _LINE * line + _calls_cost(3, samples)
    return forward + 2 * product + _LINE * line + _calls_cost(5, samples) if training else forward


def point_cost(g: ConvGeometry, samples: int, training: bool) -> float:
    """Nanoseconds for each of so many samples, as one product over the channels of every pixel."""
    rows, block = prod(g.out_size), min(samples, _BLOCK)
    product = product_cost(rows * block, g.shape[0], g.filters) / block
    product += _weights_cost(g.shape[0] * g.filters, samples)
    return 3 * product + _calls_cost(4, samples) if training else product + _calls_cost(2, samples)


def _weights_cost(numbers: int, samples: int) -> float:
    """Nanoseconds for each sample to read so many weights: those that the cache cannot hold, from memory in a block."""
    return _READ * numbers / min(samples, 4) if 4 * numbers > _CACHE else 0.0


def _calls_cost(calls: int, samples: int) -> float:
    """Nanoseconds for each sample of so many calls for every block of samples."""
    return calls * _CALL / min(samples, 2 * _BLOCK)


def fourier_points(lengths: Sizes) -> int:
    """How many products the real Fourier transform of these lengths along H and W needs (stages/bilinear.py)."""
    height, width = lengths
    real = 2 if height % 2 == 0 else 1
    real_of_row = 2 if width % 2 == 0 else 1
    return real * (real_of_row + 3 * ((width - real_of_row) // 2)) + (height - real) // 2 * 3 * width
