"""Augmentation: training images, signals and volumes changed at random, and batches mixed.

Every number drawn is a function of the seed, the epoch and the sample (of mixup: the step), whatever the batch: a run
that is resumed sees the same bytes. The numbers are made here, since NumPy keeps its bit streams from release to
release but not its distributions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from netdsl.graph.recipe import Options
from netdsl.training.data.dataset import raw

AUGMENT, MIXUP, ALONG, NOISE = 4, 5, 9, 10  # purposes of random streams, beside those of training.loop
MOVES = ("crop", "shift", "rotate", "flip")
IMAGE_CHANGES = (*MOVES, "cutout", "scale", "noise")  # in the order of their doing
DRAWS = 8  # numbers a sample has in an epoch: two each for crop, shift and cutout, one each for rotate and flip; of a
# signal or volume one for each axis, one for flip, and one for scale
GAMMA, MIX_1, MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
PIECE = 2**16  # values that `rotated` works on together, so that they stay in the processor's cache


@dataclass(frozen=True)
class Augmentation:
    """What a recipe asks for; `options` holds any of

    crop, shift: the largest move in pixels, along H and along W. Zeros come in, as with RandomCrop(padding=crop) of
        torchvision; the two are the same change by the names of two traditions. Signals and volumes move along all of
        their axes of space, and `mean` comes in.
    rotate: the largest angle in degrees, both ways; about the centre, bilinear.
    flip: whether half of the images are mirrored, left for right; signals in time, volumes along their width.
    cutout: the side in pixels of a square about a random pixel, cut at the border, that becomes `mean`, which is zero
        once it is normalised (DeVries & Taylor 2017), so that it pulls the batch's mean nowhere. Masks keep what it
        hides.
    scale: a sample is multiplied by one number, 1 - scale to 1 + scale (Um et al. 2017).
    noise: normal numbers are added to every value, whose standard deviation is this share of the channel's `std`.
    mixup: alpha of Beta(alpha, alpha) (Zhang et al. 2018).

    mean, std: those of each channel, or one in all, as in `Dataset`: of x / 255 where x is uint8.
    """

    options: Options
    seed: int
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        assert set(self.options) <= {*IMAGE_CHANGES, "mixup"}, self.options

    @property
    def changes_images(self) -> bool:
        """Whether `images` does anything."""
        return any(self.options.get(name) for name in IMAGE_CHANGES)

    @property
    def moves(self) -> bool:
        """Whether `images` puts pixels elsewhere."""
        return any(self.options.get(name) for name in MOVES)

    @property
    def mixes(self) -> bool:
        """Whether `mixed` does anything."""
        return bool(self.options.get("mixup"))

    def images(self, x: np.ndarray, rows: np.ndarray, epoch: int) -> np.ndarray:
        """x (N, C, *space) as in the dataset, the training samples `rows` (N,) -> their like, changed; x stays.

        What the order of IMAGE_CHANGES gives; the mirror image is made first, where the rest is exact and mirrored too.
        Bytes become numbers from 0 to 1 where `scale` or `noise` makes others of them.
        """
        if not self.changes_images:
            return x
        x, cutout = self._moved(x, rows, epoch, self._fill(x.dtype)), self.options.get("cutout")
        if cutout:
            hole_y, hole_x = uniforms(self.seed, epoch, rows)[6:]
            _, _, height, width = x.shape
            x = cut(x, whole(hole_y, 0, height - 1), whole(hole_x, 0, width - 1), cutout, self._fill(x.dtype))
        return self._louder(x, rows, epoch)

    def _louder(self, x: np.ndarray, rows: np.ndarray, epoch: int) -> np.ndarray:
        """x (N, C, ...) -> what `scale` and `noise` make of it, float32."""
        scale, noise = self.options.get("scale"), self.options.get("noise")
        if scale:
            factors = 1 + scale * (2 * uniforms(self.seed, epoch, rows, ALONG)[4] - 1)
            x = raw(x) * factors.astype(np.float32).reshape(-1, *[1] * (x.ndim - 1))
        if noise:
            widths = noise * np.array(self.std, np.float32).reshape(-1, *[1] * (x.ndim - 2))
            x = raw(x) + normals(self.seed, epoch, rows, x[0].size).reshape(x.shape) * widths.astype(np.float32)
        return x

    def maps(self, y: np.ndarray, rows: np.ndarray, epoch: int, axes: int = 2) -> np.ndarray:
        """Masks (N, *space) or targets (N, C, *space) of the samples `rows` -> where these move, so do they.

        A turned mask has the nearest pixel, since its numbers are names; what comes in is class 0. axes: of space.
        """
        zero = np.zeros(1)
        if y.ndim == 2 + axes:
            return self._moved(y, rows, epoch, zero)
        return self._moved(y[:, None], rows, epoch, zero)[:, 0]

    def _moved(self, x: np.ndarray, rows: np.ndarray, epoch: int, fill: np.ndarray) -> np.ndarray:
        """x (N, C, *space) -> what the order of MOVES gives; fill (C,) or (1,) comes into signals and volumes."""
        if x.ndim != 4:
            return self._moved_along(x, rows, epoch, fill)
        crop_y, crop_x, shift_y, shift_x, turn, mirror = uniforms(self.seed, epoch, rows)[:6]
        crop, shift, rotate, flip = (self.options.get(name) for name in MOVES)
        sign: int | np.ndarray = 1  # -1 for a mirrored image, whose moves are mirrored with it
        if flip:
            sign = np.where(mirror < 0.5, -1, 1)
            x = mirrored(x, mirror < 0.5)
        if crop:
            x = moved(x, whole(crop_y, -crop, crop), sign * whole(crop_x, -crop, crop))
        if shift:
            x = moved(x, whole(shift_y, -shift, shift), sign * whole(shift_x, -shift, shift))
        if rotate:
            x = (turned_mask if x.dtype == np.int64 else rotated)(x, sign * np.deg2rad(rotate) * (2 * turn - 1))
        return x

    def _moved_along(self, x: np.ndarray, rows: np.ndarray, epoch: int, fill: np.ndarray) -> np.ndarray:
        """x (N, C, *space) of signals or volumes -> half of them mirrored along the last axis, moved along all axes."""
        draws, shift = uniforms(self.seed, epoch, rows, ALONG), self.options.get("shift")
        if self.options.get("flip"):
            x = mirrored(x, draws[3] < 0.5)
        return moved_along(x, [whole(u, -shift, shift) for u in draws[: x.ndim - 2]], fill) if shift else x

    def _fill(self, dtype: np.dtype) -> np.ndarray:
        return np.rint(np.multiply(self.mean, 255)) if dtype == np.uint8 else np.array(self.mean)

    def mixed(self, x: np.ndarray, y: np.ndarray, classes: int, epoch: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        """x (N, ...) float32, y -> lam * x + (1 - lam) * x[partner], and the targets likewise, float32.

        lam is one number of Beta(alpha, alpha), partner a permutation. Labels y (N,) become one-hot rows (N, classes),
        or with classes = 1 the target (N, 1) of a net that has one output; float targets (N, ...) stay as they are.
        """
        y = targets(y, classes)
        if not self.mixes:
            return x, y
        # of the step, not of the samples: partners belong to the batch; sorting uniforms gives a permutation whose bits
        # no release of NumPy changes
        draws = np.random.default_rng([self.seed, MIXUP, epoch, step]).random(2 + len(x))
        u, v = draws[:2]
        lam, partner = beta(u, v, float(self.options["mixup"])), np.argsort(draws[2:], kind="stable")
        return _blend(x, partner, lam), _blend(y, partner, lam)


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


def beta(u: float, v: float, alpha: float) -> float:
    """Two uniform numbers -> one of Beta(alpha, alpha), (1 + s) / 2 (Devroye 1996, from Bailey's polar method).

    s = t / sqrt(1 + t^2), t^2 = (u^(-1/alpha) - 1) cos^2(2 pi v), written so that nothing overflows for small alpha.
    """
    c, w = np.cos(2 * np.pi * v), u ** (1 / alpha)
    return float(0.5 + 0.5 * c * np.sqrt(1 - w) / np.sqrt(w + (1 - w) * c * c))


def targets(y: np.ndarray, classes: int) -> np.ndarray:
    """Labels (N,) -> one-hot rows (N, classes) float32, or (N, 1) as they are; float targets stay."""
    if not np.issubdtype(y.dtype, np.integer):
        return y
    return (y[:, None] if classes == 1 else y[:, None] == np.arange(classes)).astype(np.float32)


def _blend(x: np.ndarray, partner: np.ndarray, lam: float) -> np.ndarray:
    """lam * x + (1 - lam) * x[partner]."""
    other: np.ndarray = x[partner]
    other *= x.dtype.type(1 - lam)
    other += x * x.dtype.type(lam)
    return other


def mirrored(x: np.ndarray, which: np.ndarray) -> np.ndarray:
    """x (N, C, *space), which (N,) booleans -> those mirrored along the last axis, the others as they are."""
    y = x.copy()
    y[which] = x[which, ..., ::-1]
    return y


def moved(x: np.ndarray, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """x (N, C, H, W), whole pixels (N,) -> y[n, :, i, j] = x[n, :, i - down, j - right], 0 where that lies outside."""
    n, channels, height, width = x.shape
    down, right = np.clip(down, -height, height), np.clip(right, -width, width)
    high, wide = int(np.abs(down).max(initial=0)), int(np.abs(right).max(initial=0))
    padded = np.zeros((n, channels, height + 2 * high, width + 2 * wide), x.dtype)
    padded[:, :, high : high + height, wide : wide + width] = x
    windows = sliding_window_view(padded, (height, width), axis=(2, 3))
    return windows[np.arange(n), :, high - down, wide - right]


def moved_along(x: np.ndarray, steps: Sequence[np.ndarray], fill: np.ndarray) -> np.ndarray:
    """x (N, C, *space), whole steps (N,) along each axis of space -> y[n, :, i, ...] = x[n, :, i - step, ...], and
    `fill` (C,) or (1,) where that lies outside."""
    outside = fill.astype(x.dtype).reshape(-1, *[1] * len(steps))
    for axis, step in enumerate(steps, start=2):
        size = x.shape[axis]
        source = np.arange(size) - step[:, None]  # (N, size)
        shape = (len(x), *[1] * (axis - 1), size, *[1] * (x.ndim - axis - 1))
        is_inside = ((source >= 0) & (source < size)).reshape(shape)
        x = np.where(is_inside, np.take_along_axis(x, np.clip(source, 0, size - 1).reshape(shape), axis), outside)
    return x


def cut(x: np.ndarray, row: np.ndarray, column: np.ndarray, side: int, fill: np.ndarray) -> np.ndarray:
    """x (N, C, H, W) -> the same with a square about the pixel (row, column) of each sample set to `fill` (C,) or (1,).

    An even side reaches one pixel further up and left. What of the square lies outside is moved onto its own part
    inside, which changes nothing.
    """
    n, _, height, width = x.shape
    before, behind = -(side // 2), side - side // 2
    rows, columns = (np.arange(max(before, -size), min(behind, size)) for size in (height, width))
    rows, columns = np.clip(row[:, None] + rows, 0, height - 1), np.clip(column[:, None] + columns, 0, width - 1)
    y = x.copy()
    y[np.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]] = fill.astype(x.dtype)
    return y


def rotated(x: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """x (N, C, H, W), angles (N,) in radians -> the images turned anticlockwise about their centres.

    Bilinear with zeros outside: torch's grid_sample(mode="bilinear", padding_mode="zeros", align_corners=False) on the
    grid of the same rotation. uint8 is rounded to the nearest.
    """
    step = max(1, PIECE // max(1, x[0].size)) if len(x) else 1
    y = np.empty(x.shape, x.dtype)
    for i in range(0, len(x), step):
        values = _rotated_piece(x[i : i + step], angles[i : i + step])
        if x.dtype == np.uint8:
            values += 0.5  # casting cuts off what follows the point
        y[i : i + step] = values
    return y


def turned_mask(x: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """x (N, C, H, W) whole numbers -> as `rotated`, each place with the number that is nearest, 0 outside."""
    n, channels, height, width = x.shape
    padded = np.zeros((n, channels, height + 2, width + 2), x.dtype)
    padded[:, :, 1:-1, 1:-1] = x
    row, column = (np.floor(place + np.float32(0.5)).astype(np.int64) for place in _sources(angles, height, width))
    index = (row * (width + 2) + column).reshape(n, 1, -1)
    return np.take_along_axis(padded.reshape(n, channels, -1), index, axis=2).reshape(x.shape)


def _rotated_piece(x: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """x (N, C, H, W), angles (N,) -> what `rotated` gives before it rounds, float32, for a piece of a batch."""
    n, channels, height, width = x.shape
    padded = np.zeros((n, channels, height + 3, width + 3), np.float32)  # one before, two behind
    padded[:, :, 1 : height + 1, 1 : width + 1] = x
    row, column = _sources(angles, height, width)
    top, left = np.floor(row), np.floor(column)
    row -= top
    column -= left
    index = top.astype(np.int32) * np.int32(width + 3) + left.astype(np.int32)
    starts = np.arange(n * channels).reshape(n, channels, 1, 1) * padded[0, 0].size
    upper, lower = _corners(padded.reshape(-1), index[:, None] + starts, width + 3, column[:, None])
    lower -= upper
    lower *= row[:, None]
    upper += lower
    return upper


def _sources(angles: np.ndarray, height: int, width: int) -> Iterator[np.ndarray]:
    """Where each pixel's value comes from: rows, columns (N, H, W) float32 of the image with one line of zeros before.

    What lies outside is moved to the nearest place where all is zero.
    """
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    down, right = np.arange(height) - middle_y, np.arange(width) - middle_x
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    rows = (cos * down + (middle_y + 1), sin * right)  # of i and of j: their sum is the place
    columns = (-sin * down, cos * right + (middle_x + 1))
    for (of_i, of_j), size in ((rows, height), (columns, width)):
        place = of_i.astype(np.float32)[:, :, None] + of_j.astype(np.float32)[:, None, :]
        yield np.clip(place, 0, size + 1, out=place)


def _corners(flat: np.ndarray, index: np.ndarray, stride: int, fraction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values at `index` and to the right of it, weighted by `fraction`; the same one line of `stride` values below."""
    lines = []
    for offset in (0, stride):
        left, right = (np.take(flat[k:], index, mode="clip") for k in (offset, offset + 1))
        right -= left
        right *= fraction
        left += right
        lines.append(left)
    return lines[0], lines[1]
