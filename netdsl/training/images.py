"""Image files: one picture for `predict`, and folders of them as a data set. Pillow decodes; this file distrusts."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netdsl.diagnostics import UserError
from netdsl.training.idx import MAX_BYTES, reading, shown, size_text

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 50_000_000  # of one picture
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # not EPS, which Pillow hands to another program
GREY_MODES = ("1", "L", "LA", "I;16")
LAYOUT = "put the images of each class into a folder of its own, as in `cats/1.png`"


def read_image(path: Path | str, shape: tuple[int, ...], invert: bool = False) -> np.ndarray:
    """-> uint8 of `shape` (C, H, W): grey for C = 1, RGB for C = 3, resized (bilinear, antialiased).

    `invert` swaps light and dark.
    """
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise UserError(f"cannot read an image as {size_text(shape)}, expected 1xHxW or 3xHxW")
    x = _pixels(Path(path), shape[0], size=(shape[2], shape[1]))
    return 255 - x if invert else x


def looks_inverted(image: np.ndarray, mean: Sequence[float]) -> bool:
    """Whether a grey image (1, H, W) has a light border although the training data (mean in 0..1) is mostly dark.

    Colour images never look inverted: their backgrounds are of every brightness.
    """
    if image.shape[0] != 1 or len(mean) != 1 or mean[0] >= 0.5:
        return False
    border = np.concatenate([image[0, 0], image[0, -1], image[0, :, 0], image[0, :, -1]])
    return bool(border.mean() > 127.5)


def read_class_folders(folder: Path, classes: tuple[str, ...] = ()) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """-> x (N, C, H, W) uint8, y (N,) int64, classes: a folder per class, by name; (C, H, W) as the first image.

    Given `classes` (those of the training part), every folder must be one of them.
    """
    found = subfolders(folder)
    if classes and not set(found) <= set(classes):
        extra = min(set(found) - set(classes))
        raise UserError(f"{shown(folder)} has the class {shown(extra)}, which the training images have not")
    if not found or (len(found) < 2 and not classes):
        raise UserError(f"{shown(folder)} has {len(found)} class folders, expected 2 or more", help=LAYOUT)
    classes = classes or found
    files = [(path, classes.index(name)) for name in found for path in _image_files(folder / name)]
    x = _read_alike([path for path, _ in files])
    return x, np.array([label for _, label in files], np.int64), classes


def subfolders(folder: Path) -> tuple[str, ...]:
    """The names of the folders in `folder`, sorted; hidden ones are passed over."""
    return tuple(name for name in _names(folder) if os.path.isdir(folder / name))


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise UserError(f"cannot read the folder {shown(folder)}: {(error.strerror or str(error)).lower()}") from None


def _image_files(folder: Path) -> list[Path]:
    files = [folder / name for name in _names(folder) if name.lower().endswith(SUFFIXES)]
    if not files:
        raise UserError(f"the class folder {shown(folder)} has no images", help=f"images end in {', '.join(SUFFIXES)}")
    return files


def _read_alike(paths: list[Path]) -> np.ndarray:
    """-> (N, C, H, W) uint8 of images that must all have the shape of the first."""
    first = _pixels(paths[0])
    total = len(paths) * math.prod(first.shape)
    if total > MAX_BYTES:
        all_of_them = f"the {len(paths)} images of {size_text(first.shape)} like {shown(paths[0])}"
        raise UserError(f"{all_of_them} take {total} bytes, the limit is {MAX_BYTES}", help="make them smaller")
    x = np.empty((len(paths), *first.shape), np.uint8)
    for i, path in enumerate(paths):
        image = _pixels(path)
        if image.shape != first.shape:
            raise UserError(
                f"{shown(path)} is {size_text(image.shape)}, but {shown(paths[0])} is {size_text(first.shape)}",
                help="resize and convert all images to one size and one colour mode (C x H x W)",
            )
        x[i] = image
    return x


def _pixels(path: Path, channels: int | None = None, size: tuple[int, int] | None = None) -> np.ndarray:
    """-> (C, H, W) uint8; C is the file's own unless `channels` says 1 or 3; `size` is (W, H)."""
    from PIL import Image, UnidentifiedImageError

    try:
        with reading(path), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's about odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            try:
                image = _decode(path)
                grey = image.mode in GREY_MODES if channels is None else channels == 1
                image = _to_mode(image, "L" if grey else "RGB")
                image = image.resize(size, Image.Resampling.BILINEAR) if size else image
            except UnidentifiedImageError:
                raise UserError(f"{shown(path)} is not an image of a known format ({', '.join(FORMATS)})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(f"{shown(path)} has too many pixels, the limit is {MAX_PIXELS}") from None
    x = np.asarray(image, np.uint8)
    return x[None].copy() if grey else np.ascontiguousarray(x.transpose(2, 0, 1))


def _decode(path: Path) -> Image:
    """The first frame, turned upright; its size is checked before a pixel is decoded."""
    from PIL import Image, ImageOps

    with Image.open(path, formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise UserError(f"{shown(path)} has {image.width}x{image.height} pixels, the limit is {MAX_PIXELS}")
        image.load()
        return ImageOps.exif_transpose(image)


def _to_mode(image: Image, mode: str) -> Image:
    """To `L` or `RGB`; what is transparent becomes white, as on a page; 16-bit grey keeps its upper 8 bits."""
    from PIL import Image as pil

    if image.mode.startswith("I;16"):
        image = pil.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"it has 32 bits a pixel (mode {image.mode}), expected 8")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = pil.new("RGBA", image.size, "white")
        image = pil.alpha_composite(white, image)
    return image.convert(mode)
