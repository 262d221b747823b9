"""The numbers that augmentation draws, each a function of the seed, the epoch and the sample.

They are made here, since NumPy keeps its bit streams from release to release but not its distributions.
"""

from __future__ import annotations

import numpy as np

AUGMENT, MIXUP, ALONG, NOISE = 4, 5, 9, 10  # purposes of random streams, beside those of training.loop
VIEW, COLOUR, ERASE, STEPS, CUTMIX = 21, 22, 23, 24, 25  # more of them, so that the older ones stay as they are
DRAWS = 8  # numbers that a sample has in an epoch, of each purpose
GAMMA, MIX_1, MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def uniforms(seed: int, epoch: int, rows: np.ndarray, purpose: int = AUGMENT) -> np.ndarray:
    """rows (N,) -> (DRAWS, N) float64, 0 <= u < 1: the numbers of these samples in this epoch.

    SplitMix64 (Steele, Lea & Flood 2014), whose i-th number needs none before it, from a start that NumPy's
    SeedSequence makes of the seed and the epoch.
    """
    place = rows.astype(np.uint64) * np.uint64(DRAWS) + np.arange(1, DRAWS + 1, dtype=np.uint64)[:, None]
    u: np.ndarray = (_bits(seed, epoch, purpose, place) >> np.uint64(11)) * 2.0**-53  # the upper 53 bits, exact
    return u


def normals(seed: int, epoch: int, rows: np.ndarray, count: int) -> np.ndarray:
    """rows (N,) -> (N, count) float32, normal with mean 0 and standard deviation 1: the numbers of these samples in
    this epoch.

    Two of 64 bits of the same generator (Box & Muller 1958): half of them are the radius, half of them the angle.
    """
    pairs = -(-count // 2)
    place = rows.astype(np.uint64)[:, None] * np.uint64(pairs) + np.arange(1, pairs + 1, dtype=np.uint64)
    bits = _bits(seed, epoch, NOISE, place)
    upper, lower = (half.astype(np.float32) for half in (bits >> np.uint64(32), bits & np.uint64(2**32 - 1)))
    radius = np.sqrt(-2 * np.log((upper + np.float32(0.5)) * np.float32(2.0**-32)))
    angle = lower * np.float32(2 * np.pi * 2.0**-32)
    numbers: np.ndarray = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :count]
    return numbers


def _bits(seed: int, epoch: int, purpose: int, place: np.ndarray) -> np.ndarray:
    """place uint64 -> the 64 bits that a stream has there."""
    start = np.random.SeedSequence([seed, purpose, epoch]).generate_state(1, np.uint64)
    z = place * np.uint64(GAMMA) + start
    z = (z ^ (z >> np.uint64(30))) * np.uint64(MIX_1)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(MIX_2)
    bits: np.ndarray = z ^ (z >> np.uint64(31))
    return bits


def whole(u: np.ndarray, low: int, high: int) -> np.ndarray:
    """u (N,), 0 <= u < 1 -> whole numbers, low to high equally often."""
    steps: np.ndarray = np.floor(u * (high - low + 1)).astype(np.int64)
    return low + steps


def between(u: np.ndarray, most: float, middle: float = 0.0) -> np.ndarray:
    """u (N,), 0 <= u < 1 -> numbers from middle - most to middle + most, all alike."""
    return middle + most * (2 * u - 1)


def beta(u: float, v: float, alpha: float) -> float:
    """Two uniform numbers -> one of Beta(alpha, alpha), (1 + s) / 2 (Devroye 1996, from Bailey's polar method).

    s = t / sqrt(1 + t^2), t^2 = (u^(-1/alpha) - 1) cos^2(2 pi v), written so that nothing overflows for small alpha.
    """
    c, w = np.cos(2 * np.pi * v), u ** (1 / alpha)
    return float(0.5 + 0.5 * c * np.sqrt(1 - w) / np.sqrt(w + (1 - w) * c * c))
