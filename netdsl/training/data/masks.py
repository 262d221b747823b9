"""Images beside their masks: which belong together, and the values or colours of a mask as classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from netdsl.graph.types import show_sizes
from netdsl.ground.diagnostics import UserError
from netdsl.ground.reading import shown
from netdsl.training.data.image_files import SUFFIXES, decoding, opened
from netdsl.training.data.images import ImageReader, placed
from netdsl.training.data.labels import Targets, different, numbered
from netdsl.training.data.limits import MAX_BYTES
from netdsl.training.data.listing import image_files, part_folders, subfolders
from netdsl.training.data.parts import PART_NAMES, Parts
from netdsl.training.data.wanted import Wanted

IMAGES = ("images", "imgs", "image", "img", "jpegimages")
MASKS = ("masks", "mask", "annotations", "labels", "segmentations", "segmentationclass")
BESIDE = ("_masks", "_mask", "masks", "annot", "_annot", "_labels", "_annotations")  # `train_masks` beside `train`
MASK_ENDS = ("_mask", "-mask", "_masks", "_label", "_labels", "_gt", "_seg")  # of the names of masks
MAX_VALUES = 256  # different ones in all masks; more of them are noise

Pair = tuple[Path, Path]


def mask_folders(folder: Path) -> tuple[dict[str, Pair], tuple[str, ...]]:
    """-> part -> the folders of its images and of its masks, and notes; no part where the folder has no masks.

    The usual layouts: `train/images` and `train/masks`, `images/train` and `masks/train`, `train` and `train_masks`;
    without parts `images` and `masks`.
    """
    pair = _pair(folder)
    if pair is None:
        beside = _pairs_beside(folder)
        return (beside, ()) if beside else _pairs_in_parts(folder)
    others = [name for name in subfolders(folder) if folder / name not in pair]
    notes = (f"{shown(folder)} has other folders, not used: {shown(', '.join(others))}",) if others else ()
    images, masks = (part_folders(path)[0] for path in pair)
    if not images:
        return {"train": pair}, notes
    missing = sorted(set(images) - set(masks))
    if missing:
        raise UserError(f"{shown(pair[1])} has no folder `{images[missing[0]].name}`, but {shown(pair[0])} has")
    return {part: (path, masks[part]) for part, path in images.items()}, notes


def _pairs_beside(folder: Path) -> dict[str, Pair]:
    """part -> `train` and `train_masks`, where the training part has such."""
    inner = {name.lower(): folder / name for name in subfolders(folder)}
    parts = {
        part: (inner[name], inner[name + end])
        for part, names in PART_NAMES.items()
        for name in names
        for end in BESIDE
        if name in inner and name + end in inner
    }
    return parts if "train" in parts else {}


def _pairs_in_parts(folder: Path) -> tuple[dict[str, Pair], tuple[str, ...]]:
    part_paths, notes = part_folders(folder)
    pairs = {part: pair for part, path in part_paths.items() if (pair := _pair(path)) is not None}
    if "train" not in pairs:
        return {}, ()
    for part in [part for part in part_paths if part not in pairs]:
        notes = (*notes, f"{shown(part_paths[part])} has no folders `images` and `masks`: not used")
    return pairs, notes


def _pair(folder: Path) -> Pair | None:
    inner = {name.lower(): folder / name for name in subfolders(folder)}
    images, masks = ([inner[name] for name in names if name in inner] for names in (IMAGES, MASKS))
    return (images[0], masks[0]) if images and masks else None


def mask_parts(pairs: Mapping[str, Pair], want: Wanted, notes: tuple[str, ...] = ()) -> Parts:
    """The images of each part with masks int64 (N, H, W), as in `Dataset`. Raises UserError."""
    files = {part: _matched(*pair) for part, pair in pairs.items()}
    reader = ImageReader([image for part in files.values() for image, _ in part], want)
    x = {part: reader.read([image for image, _ in both]) for part, both in files.items()}
    masks = _MaskReader(want, sum(map(len, files.values())))
    y = {part: masks.read([mask for _, mask in both], x[part].shape[2:]) for part, both in files.items()}
    targets = masks.labels(pairs["train"][1], y)
    return Parts(x, targets.parts, targets.classes, (*notes, *reader.notes(), *targets.notes), reader.bits)


def _matched(images: Path, masks: Path) -> list[Pair]:
    """Each image with the mask of the same name, whatever the suffixes. Raises UserError where one has none."""
    images_by_name, masks_by_name = _by_name(images), _by_name(masks)
    if not images_by_name:
        raise UserError(f"{shown(images)} has no images", help=f"images end in {', '.join(SUFFIXES)}")
    for name, path in list(masks_by_name.items()):
        for end in (end for end in MASK_ENDS if name.endswith(end)):
            masks_by_name.setdefault(name.removesuffix(end), path)
    anywhere: dict[str, set[Path]] = {}
    for name, path in masks_by_name.items():
        anywhere.setdefault(name.rpartition("/")[2], set()).add(path)
    pairs = [(path, _mask_of(name, masks_by_name, anywhere)) for name, path in images_by_name.items()]
    without = [path for path, mask in pairs if mask is None]
    if without:
        text = f"{len(without)} of {len(pairs)} images have no mask in {shown(masks)}, as {shown(without[0])}"
        raise UserError(text, help="a mask has the name of its image, as `images/1.jpg` and `masks/1.png`")
    return [(path, mask) for path, mask in pairs if mask is not None]


def _mask_of(name: str, masks: Mapping[str, Path], anywhere: Mapping[str, set[Path]]) -> Path | None:
    """The mask at the same place, or the only one of that name in a folder of another name."""
    others = anywhere.get(name.rpartition("/")[2], set())
    return masks.get(name) or (next(iter(others)) if len(others) == 1 else None)


def _by_name(folder: Path) -> dict[str, Path]:
    """The images of a folder by their paths in it without suffixes."""
    by_name: dict[str, Path] = {}
    for path in image_files(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in by_name:
            raise UserError(
                f"{shown(by_name[name])} and {shown(path)} differ in nothing but the suffix", help="rename one"
            )
        by_name[name] = path
    return by_name


class _MaskReader:
    """Reads masks alike: numbers stay numbers, a palette's too; colours become 0xRRGGBB."""

    def __init__(self, want: Wanted, count: int) -> None:
        self.want, self.count = want, count
        self.kinds: Counter[str] = Counter()
        self.jpegs: list[Path] = []
        self.is_coloured = False

    def read(self, paths: Sequence[Path], size: tuple[int, int]) -> np.ndarray:
        """-> (N, H, W) int32, in the size (H, W) of their images."""
        total = self.count * size[0] * size[1] * 8
        if total > MAX_BYTES:
            raise UserError(f"the {self.count} masks take {total} bytes, the limit is {MAX_BYTES}", "make them smaller")
        y = np.empty((len(paths), *size), np.int32)
        for i, path in enumerate(paths):
            y[i] = self._values(path, size)
        return y

    def _values(self, path: Path, size: tuple[int, int]) -> np.ndarray:
        image, _ = opened(path)
        with decoding(path):
            if image.mode in ("LA", "RGBA", "PA"):
                image = image.convert({"LA": "L", "RGBA": "RGB", "PA": "P"}[image.mode])
            elif image.mode not in ("1", "L", "P", "RGB") and not image.mode.startswith("I;16"):
                text = f"the mask {shown(path)} has the mode {image.mode}, expected grey, a palette or RGB"
                raise UserError(text, help="save it as PNG")
            if self.want.fit and self.want.image_shape:
                image = placed(image, (size[1], size[0]), self.want.fit, is_mask=True)
            values = np.asarray(image).astype(np.int32)
        if values.shape[:2] != size:
            text = f"the mask {shown(path)} is {show_sizes(values.shape[:2])}, but its image {show_sizes(size)}"
            raise UserError(text, help="save masks in the size of their images")
        self.jpegs += [path] if path.suffix.lower() in (".jpg", ".jpeg") else []
        if values.ndim == 2:
            self.kinds["numbers"] += 1
            return values
        self.kinds["colours"] += 1
        self.is_coloured |= bool(np.any(values != values[..., :1]))
        return values @ np.array([0x10000, 0x100, 1], np.int32)

    def labels(self, folder: Path, parts: Mapping[str, np.ndarray]) -> Targets:
        """What `read` gave for all parts, as labels."""
        if self.is_coloured and self.kinds["numbers"]:
            text = f"{self.kinds['numbers']} masks like those of {shown(folder)} hold numbers, the others colours"
            raise UserError(text, help="save all masks in one way")
        if self.kinds["colours"] and not self.is_coloured:  # grey, saved as RGB
            parts = {part: y & 0xFF for part, y in parts.items()}
        self._check_exact(folder, parts)
        return numbered(folder, parts, self.want, show="#{:06x}".format if self.is_coloured else str)

    def _check_exact(self, folder: Path, parts: Mapping[str, np.ndarray]) -> None:
        """Raises UserError where there are so many values that they cannot all be classes."""
        count = len(set().union(*(different(y) for y in parts.values())))
        if count > MAX_VALUES or (self.jpegs and count > (self.want.classes or 2)):
            kind = "colours" if self.is_coloured else "values"
            text = f"the masks in {shown(folder)} have {count} different {kind}, too many for classes"
            why = f"{shown(self.jpegs[0])} is a JPEG, which blurs them: " if self.jpegs else ""
            raise UserError(text, help=f"{why}save masks as PNG, one value for each class")
