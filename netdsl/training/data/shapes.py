"""`shapes`: pictures of discs, squares and triangles on noise, with a mask of each; the same for everybody."""

from __future__ import annotations

import numpy as np

CLASSES = ("background", "disc", "square", "triangle")
SIDE = 32  # pixels
TRAIN, TEST = 800, 200
MOST = 2  # shapes in a picture
NOISE = 12.0  # standard deviation in grey levels of 256


def shapes(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """-> x (N, 1, SIDE, SIDE) uint8, masks (N, SIDE, SIDE) int64 of the CLASSES, N = TRAIN + TEST.

    One to MOST shapes of any place, size and grey, lighter or darker than their ground; a later one covers an earlier
    one. RandomState, as for `spiral`: its stream is frozen by NumPy's policy.
    """
    rng = np.random.RandomState(seed)
    n = TRAIN + TEST
    x, masks = np.empty((n, 1, SIDE, SIDE), np.uint8), np.zeros((n, SIDE, SIDE), np.int64)
    for i in range(n):
        ground = rng.randint(60, 196)
        picture = np.full((SIDE, SIDE), float(ground))
        for _ in range(rng.randint(1, MOST + 1)):
            kind, place = rng.randint(1, len(CLASSES)), _inside(rng.randint(5, 10), *rng.randint(6, SIDE - 6, 2))
            where = place[kind - 1]
            picture[where] = ground + rng.choice((-1, 1)) * rng.randint(40, 60)
            masks[i][where] = kind
        x[i, 0] = np.clip(np.rint(picture + NOISE * rng.randn(SIDE, SIDE)), 0, 255)
    return x, masks


def _inside(size: int, row: int, column: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which pixels lie in a disc, a square and a triangle of that size about a pixel: booleans (SIDE, SIDE)."""
    down, right = np.arange(SIDE)[:, None] - row, np.arange(SIDE) - column
    disc = down * down + right * right <= size * size
    square = np.maximum(np.abs(down), np.abs(right)) <= size - 1
    triangle = (down <= size - 1) & (2 * np.abs(right) <= down + size)
    return disc, square, triangle
