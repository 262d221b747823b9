"""`mnist1d`: the ten digits as signals of 40 numbers, drawn from templates; the same for everybody.

After Greydanus & Kobak 2020, "Scaling down deep learning" (github.com/greydanus/mnist1d), whose numbers these are.
"""

from __future__ import annotations

import numpy as np

TRAIN, TEST = 4000, 1000
LENGTH = 40  # numbers in a signal
DRAWN = 72  # numbers in a signal before the last step
MOST_SHIFT = 48
MARK = 1e-8  # added to a digit, so that none of its own numbers is the 0 of its padding
SCALE, SHEAR = 0.4, 0.75  # widths of the ranges that are drawn from, about 1 and about 0
SMOOTH_NOISE, NOISE = 0.25, 0.02  # standard deviations, the first before it is smoothed
BLUR, REACH = 2, 8  # of the Gaussian window: its standard deviation, and how many numbers it has on either side

CURVES = (  # drawn by hand: how far each digit's line is to the right, from its top to its bottom
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)


def mnist1d(seed: int = 42, samples: int = TRAIN + TEST) -> tuple[np.ndarray, np.ndarray]:
    """-> x (N, 1, LENGTH) float32 with mean 0 and standard deviation 1, y (N,) int64, as many of each digit, shuffled.

    RandomState, as the authors have it: its stream is frozen by NumPy's policy.
    """
    rng = np.random.RandomState(seed)
    y = np.repeat(np.arange(10), samples // 10)
    digits = templates()
    x = np.stack([_signal(digits[label], rng) for label in y])
    order = rng.permutation(len(y))
    x, y = x[order], y[order]
    x = (x - x.mean()) / x.std()
    return x[:, None].astype(np.float32), y.astype(np.int64)


def templates() -> np.ndarray:
    """-> (10, 12): CURVES with one standard deviation, each starting and ending at 0."""
    x = np.array(CURVES)
    x /= x.std(axis=1, keepdims=True)
    x -= x[:, :1]
    x /= 6
    return x


def _signal(digit: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """(12,) -> (LENGTH,): the digit padded, scaled and shifted, with noise in its place and about it, and tilted."""
    x = np.concatenate([digit + MARK, np.zeros(36 + int(25 * rng.rand()))])
    x = _stretched(x, DRAWN)
    x *= 1 + SCALE * (rng.rand() - 0.5)
    x = np.roll(x, rng.randint(MOST_SHIFT))
    x = np.where(x == 0, _smoothed(SMOOTH_NOISE * rng.randn(DRAWN)), x)
    x += NOISE * rng.randn(DRAWN)
    x -= SHEAR * (rng.rand() - 0.5) * np.linspace(-0.5, 0.5, DRAWN)
    return _stretched(x, LENGTH)


def _stretched(x: np.ndarray, length: int) -> np.ndarray:
    """x (L,) -> (length,), with straight lines between its numbers."""
    stretched: np.ndarray = np.interp(np.linspace(0, 1, length), np.linspace(0, 1, len(x)), x)
    return stretched


def _smoothed(x: np.ndarray) -> np.ndarray:
    """x (L,) -> (L,): the means under a Gaussian window of BLUR; past its ends x goes on as in a mirror."""
    window = np.exp(-0.5 * (np.arange(-REACH, REACH + 1) / BLUR) ** 2)
    return np.convolve(np.pad(x, REACH, mode="symmetric"), window / window.sum(), mode="valid")
