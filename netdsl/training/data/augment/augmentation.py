"""What a recipe's `augment` does to samples, to targets that move with them, and to batches.

Every number drawn is a function of the seed, the epoch and the sample (of mixup and cutmix: the step), whatever the
batch: a run that is resumed sees the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netdsl.graph.recipe import MIXES, Options
from netdsl.training.data.augment.colours import COLOURS, coloured
from netdsl.training.data.augment.draws import (
    ALONG,
    COLOUR,
    CUTMIX,
    ERASE,
    MIXUP,
    STEPS,
    VIEW,
    beta,
    between,
    normals,
    uniforms,
    whole,
)
from netdsl.training.data.augment.holes import cut, erased, masked
from netdsl.training.data.augment.mixing import blend, box, exchanged, share_outside, targets
from netdsl.training.data.augment.moves import mirrored, moved, moved_along
from netdsl.training.data.augment.resampling import View, resampled, stretched, turns, windows
from netdsl.training.data.dataset import raw

TURNS = ("shear", "zoom", "rotate")
MOVES = ("crop", "shift", *TURNS, "flip", "vflip", "resizedcrop", "stretch")
CHANGES = (*MOVES, *COLOURS, "cutout", "erase", "mask", "scale", "noise")  # in the order of their doing


@dataclass(frozen=True)
class Augmentation:
    """What a recipe asks for; `options` holds any of

    crop, shift: the largest move in pixels, along H and along W. Zeros come in, as with RandomCrop(padding=crop) of
        torchvision; the two are the same change by the names of two traditions. Signals and volumes move along all of
        their axes of space, and `mean` comes in.
    rotate, shear: the largest angle in degrees, both ways; zoom: the image is larger by a factor, 1 - zoom to 1 + zoom.
        All about the centre, bilinear; together with resizedcrop each pixel is read once.
    resizedcrop: the least share of the image that is then seen in its full size (Szegedy et al. 2015), see `windows`.
    flip: whether half of the images are mirrored, left for right; signals in time, volumes along their width. vflip:
        the same, upside down.
    stretch: signals are longer by a factor, 1 - stretch to 1 + stretch, about their middles; `mean` comes in.
    brightness, contrast, saturation: a factor from 1 - so much, or 0, to 1 + so much; hue: the largest part of the
        circle of hues, both ways; grey: the chance of it; blur: the largest standard deviation in pixels. See COLOURS.
    cutout: the side in pixels of a square about a random pixel, cut at the border, that becomes `mean`, which is zero
        once it is normalised (DeVries & Taylor 2017), so that it pulls the batch's mean nowhere. erase: the chance that
        a rectangle does, see `erased`; mask: the most steps of a signal in a row that do. Masks of places keep what is
        hidden.
    scale: a sample is multiplied by one number, 1 - scale to 1 + scale (Um et al. 2017).
    noise: normal numbers are added to every value, whose standard deviation is this share of the channel's `std`.
    mixup, cutmix: alpha of Beta(alpha, alpha) (Zhang et al. 2018, Yun et al. 2019). With both each batch has one of
        the two, by the toss of a coin, as with timm.

    mean, std: those of each channel, or one in all, as in `Dataset`: of x / 255 where x is uint8.
    """

    options: Options
    seed: int
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        assert set(self.options) <= {*CHANGES, *MIXES}, self.options

    @property
    def changes_images(self) -> bool:
        """Whether `images` does anything."""
        return self._has(*CHANGES)

    @property
    def moving(self) -> tuple[str, ...]:
        """The changes asked for that take places of a sample from elsewhere, of itself or of another."""
        return tuple(name for name in (*MOVES, "cutmix") if self.options.get(name))

    @property
    def moves(self) -> bool:
        """Whether targets that are maps must move with their samples."""
        return bool(self.moving)

    @property
    def mixes(self) -> bool:
        """Whether `mixed` does anything."""
        return self._has(*MIXES)

    def _has(self, *names: str) -> bool:
        return any(self.options.get(name) for name in names)

    def images(self, x: np.ndarray, rows: np.ndarray, epoch: int) -> np.ndarray:
        """x (N, C, *space) as in the dataset, the training samples `rows` (N,) -> their like, changed; x stays.

        What the order of CHANGES gives; the mirror image is made first, where the rest is exact and mirrored too.
        Bytes become numbers from 0 to 1 where a change of colour, `scale` or `noise` makes others of them.
        """
        if not self.changes_images:
            return x
        x = self._moved(x, rows, epoch, self._fill(x.dtype))
        if self._has(*COLOURS):
            named = zip(COLOURS.items(), uniforms(self.seed, epoch, rows, COLOUR), strict=False)
            options = self.options
            x = coloured(x, {name: draw(u, options[name]) for (name, (_, draw)), u in named if options.get(name)})
        return self._louder(self._hidden(x, rows, epoch), rows, epoch)

    def _hidden(self, x: np.ndarray, rows: np.ndarray, epoch: int) -> np.ndarray:
        """x (N, C, ...) -> what `cutout`, `erase` and `mask` leave of it."""
        cutout, erase, mask = (self.options.get(name) for name in ("cutout", "erase", "mask"))
        fill = self._fill(x.dtype)
        if cutout:
            hole_y, hole_x = uniforms(self.seed, epoch, rows)[6:]
            _, _, height, width = x.shape
            x = cut(x, whole(hole_y, 0, height - 1), whole(hole_x, 0, width - 1), cutout, fill)
        if erase:
            x = erased(x, uniforms(self.seed, epoch, rows, ERASE)[:5], erase, fill)
        return masked(x, uniforms(self.seed, epoch, rows, STEPS)[:2], mask, fill) if mask else x

    def _louder(self, x: np.ndarray, rows: np.ndarray, epoch: int) -> np.ndarray:
        """x (N, C, ...) -> what `scale` and `noise` make of it, float32."""
        scale, noise = self.options.get("scale"), self.options.get("noise")
        if scale:
            factors = between(uniforms(self.seed, epoch, rows, ALONG)[4], scale, 1)
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
        vertical, *view = self._view_draws(rows, epoch)
        crop, shift = self.options.get("crop"), self.options.get("shift")
        x, right = self._mirrored(x, mirror, "flip", -1)
        x, down = self._mirrored(x, vertical, "vflip", -2)
        if crop:
            x = moved(x, down * whole(crop_y, -crop, crop), right * whole(crop_x, -crop, crop))
        if shift:
            x = moved(x, down * whole(shift_y, -shift, shift), right * whole(shift_x, -shift, shift))
        if not self._has(*TURNS, "resizedcrop"):
            return x
        return resampled(x, self._view(np.array([turn, *view]), right * down, x.shape[2:]))

    def _view_draws(self, rows: np.ndarray, epoch: int) -> np.ndarray:
        """(7, N) of the stream VIEW, one for vflip, shear and zoom and four for resizedcrop; zeros if nobody asks."""
        is_asked = self._has("vflip", "shear", "zoom", "resizedcrop")
        return uniforms(self.seed, epoch, rows, VIEW)[:7] if is_asked else np.zeros((7, len(rows)))

    def _mirrored(self, x: np.ndarray, draws: np.ndarray, name: str, axis: int) -> tuple[np.ndarray, int | np.ndarray]:
        """-> x with half of the samples mirrored, if that is asked for; -1 for these, whose moves are mirrored too."""
        if not self.options.get(name):
            return x, 1
        return mirrored(x, draws < 0.5, axis), np.where(draws < 0.5, -1, 1)

    def _view(self, draws: np.ndarray, sign: int | np.ndarray, space: tuple[int, ...]) -> View:
        """draws (7, N), 0 <= u < 1 -> how the images are seen; sign: -1 for those that are mirrored by one axis."""
        turn, slant, larger = draws[:3]
        shear, zoom, rotate = (self.options.get(name) or 0 for name in TURNS)
        angles, slants = sign * between(turn, np.deg2rad(rotate)), sign * np.tan(between(slant, np.deg2rad(shear)))
        least = self.options.get("resizedcrop")
        window = windows(draws[3:], least, *space) if least else None
        return View(turns(angles, between(larger, zoom, 1), slants), window)

    def _moved_along(self, x: np.ndarray, rows: np.ndarray, epoch: int, fill: np.ndarray) -> np.ndarray:
        """x (N, C, *space) of signals or volumes -> half of them mirrored, moved along all axes, and stretched."""
        draws, shift, stretch = uniforms(self.seed, epoch, rows, ALONG), *map(self.options.get, ("shift", "stretch"))
        x, _ = self._mirrored(x, draws[3], "flip", -1)
        x, _ = self._mirrored(x, self._view_draws(rows, epoch)[0], "vflip", -2)
        if shift:
            x = moved_along(x, [whole(u, -shift, shift) for u in draws[: x.ndim - 2]], fill)
        return stretched(x, between(uniforms(self.seed, epoch, rows, STEPS)[2], stretch, 1), fill) if stretch else x

    def _fill(self, dtype: np.dtype) -> np.ndarray:
        return np.rint(np.multiply(self.mean, 255)) if dtype == np.uint8 else np.array(self.mean)

    def mixed(self, x: np.ndarray, y: np.ndarray, classes: int, epoch: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        """x (N, ...) float32, y -> lam * x + (1 - lam) * x[partner], and the targets likewise, float32; or, by cutmix,
        a part of x and, where these are maps of the same space, of the targets exchanged.

        lam is one number of Beta(alpha, alpha), partner a permutation. Labels y (N,) become one-hot rows (N, classes),
        or with classes = 1 the target (N, 1) of a net that has one output; float targets (N, ...) stay as they are.
        """
        y, mixup, cutmix = targets(y, classes), self.options.get("mixup"), self.options.get("cutmix")
        # of the step, not of the samples: partners belong to the batch; sorting uniforms gives a permutation whose bits
        # no release of NumPy changes
        if cutmix:
            coin, u, v, *rest = np.random.default_rng([self.seed, CUTMIX, epoch, step]).random(x.ndim + 1 + len(x))
            if not mixup or coin < 0.5:
                part = box(rest[: x.ndim - 2], x.shape[2:], beta(u, v, float(cutmix)))
                partner = np.argsort(rest[x.ndim - 2 :], kind="stable")
                is_map = y.ndim == x.ndim and y.shape[2:] == x.shape[2:]
                lam = share_outside(part, x.shape[2:])
                return exchanged(x, partner, part), exchanged(y, partner, part) if is_map else blend(y, partner, lam)
        if not mixup:
            return x, y
        draws = np.random.default_rng([self.seed, MIXUP, epoch, step]).random(2 + len(x))
        u, v = draws[:2]
        lam, partner = beta(u, v, float(mixup)), np.argsort(draws[2:], kind="stable")
        return blend(x, partner, lam), blend(y, partner, lam)
