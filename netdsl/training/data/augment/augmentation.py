"""What a recipe's `augment` does to samples, to targets that move with them, and to batches.

Every number drawn is a function of the seed, the epoch and the sample (of mixup: the step), whatever the batch: a run
that is resumed sees the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netdsl.graph.recipe import Options
from netdsl.training.data.augment.draws import ALONG, MIXUP, beta, normals, uniforms, whole
from netdsl.training.data.augment.holes import cut
from netdsl.training.data.augment.mixing import blend, targets
from netdsl.training.data.augment.moves import mirrored, moved, moved_along
from netdsl.training.data.augment.resampling import rotated, turned_mask
from netdsl.training.data.dataset import raw

MOVES = ("crop", "shift", "rotate", "flip")
IMAGE_CHANGES = (*MOVES, "cutout", "scale", "noise")  # in the order of their doing


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
        return blend(x, partner, lam), blend(y, partner, lam)
