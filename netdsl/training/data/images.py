"""Image files as arrays of bytes: of any size, mode and depth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netdsl.graph.ir import Shape
from netdsl.graph.types import from_sizes, show_sizes
from netdsl.ground.diagnostics import UserError
from netdsl.ground.reading import shown
from netdsl.training.data.image_files import Head, Picture, decoding, deep_image, opened, read_head
from netdsl.training.data.limits import MAX_BYTES
from netdsl.training.data.wanted import Wanted

if TYPE_CHECKING:
    from PIL.Image import Image

DARK = 0.35  # the mean of training data that are mostly dark lies below it
GREY_MODES = ("1", "L", "LA", "I;16", "I;16L", "I;16B")
FIT_HELP = "`--fit resize`, `--fit crop` or `--fit pad` (`fit resize` in the train block) brings them to {}"


def read_image(
    path: Path | str, shape: Shape, invert: bool = False, fit: str | None = None, bits: int | None = 16
) -> np.ndarray:
    """-> uint8 of `shape` (C, H, W): grey for C = 1, RGB for C = 3, by `fit` (None: resize; bilinear, antialiased).

    bits: how many 16-bit images use, which become 0 to 255; None: as many as this one needs. `invert` swaps light and
    dark, not what `pad` adds.
    """
    if not from_sizes(shape).is_picture:
        raise UserError(f"cannot read an image as {show_sizes(shape)}, expected 1xHxW or 3xHxW")
    image, _ = opened(Path(path))
    with decoding(Path(path)):
        image = _to_mode(Path(path), image, "L" if shape[0] == 1 else "RGB", bits or bits_used([Path(path)]))
        image = image.point(lambda v: 255 - v) if invert else image
        return _array(placed(image, (shape[2], shape[1]), fit or "resize"))


def is_deep(path: Picture) -> bool:
    """Whether an image has 16 bits a pixel."""
    return deep_image(path) is not None


def looks_inverted(image: np.ndarray, mean: Sequence[float]) -> bool:
    """Whether a grey image (1, H, W) has a light border although the training data (mean in 0..1) is mostly dark.

    Colour images never look inverted: their backgrounds are of every brightness.
    """
    if image.shape[0] != 1 or len(mean) != 1 or mean[0] >= DARK:
        return False
    border = np.concatenate([image[0, 0], image[0, -1], image[0, :, 0], image[0, :, -1]])
    return bool(border.mean() > 127.5)


class ImageReader:
    """Reads the images of a data set alike, and counts what it changes.

    files: all of them; how many bits the 16-bit ones use is looked up in these. Without a fit every image must have
    the size that the network takes, or that of the first one; grey and colour are turned into what the network takes.
    """

    def __init__(self, files: Sequence[Picture], want: Wanted) -> None:
        self.files, self.want, self.shape, self.bits = files, want, want.image_shape, want.bits
        self.changed: Counter[str] = Counter()
        self.has_16_bits = False

    def read(self, paths: Sequence[Picture]) -> np.ndarray:
        """-> (N, C, H, W) uint8, in the shape that all images of this reader have."""
        first = self.pixels(paths[0])
        self.shape = self.shape or first.shape
        total = len(self.files) * first.size
        if total > MAX_BYTES:
            all_of_them = f"the {len(self.files)} images of {show_sizes(first.shape)} like {shown(paths[0])}"
            raise UserError(f"{all_of_them} take {total} bytes, the limit is {MAX_BYTES}", help="make them smaller")
        x = np.empty((len(paths), *first.shape), np.uint8)
        x[0] = first
        for i, path in enumerate(paths[1:], start=1):
            x[i] = self.pixels(path)
        return x

    def notes(self) -> tuple[str, ...]:
        """What was changed, each with the number of images."""
        count = len(self.files)
        notes = [f"{n} of {count} images {what}" for what, n in sorted(self.changed.items())]
        if self.has_16_bits and self.bits is not None:
            notes.append(f"16-bit images use {self.bits} bits: 0 to {2**self.bits - 1} becomes 0 to 255")
        return tuple(notes)

    def pixels(self, path: Picture) -> np.ndarray:
        """-> (C, H, W) uint8, an image in the shape that all of this reader have. Raises UserError."""
        image, depth = opened(path)
        with decoding(path):
            if depth == 16 and image.mode.startswith("I;16"):
                self.has_16_bits = True
                if self.bits is None:
                    self.bits = bits_used(self.files)
            elif depth == 16:
                self.changed["of 16-bit colour were cut to their upper 8 bits"] += 1
            is_grey = image.mode in GREY_MODES
            wants_grey = is_grey if self.shape is None else self.shape[0] == 1
            if image.has_transparency_data:
                self.changed["with transparent pixels were put on white"] += 1
            image = _to_mode(path, image, "L" if wants_grey else "RGB", self.bits or 16)
        takes = self.want.image_shape
        if takes is None:
            self._check_alike(path, image, is_grey)
        elif is_grey != wants_grey:
            self.changed["were turned from colour to grey" if wants_grey else "were turned from grey to colour"] += 1
        if takes is not None:
            image = self._fitted(path, image, takes)
        with decoding(path):
            return _array(image)

    def survey(self, heads: Sequence[Head]) -> None:
        """What `read` would find in the headers of all files, for images that are decoded later: whether their sizes
        are right, how many are brought to another one, and the bits of deep ones. Raises UserError."""
        takes = self.want.image_shape
        others = [head for head in heads if takes is not None and head.size != (takes[2], takes[1])]
        if takes is not None and others and self.want.fit is None:
            raise _other_size(others[0].file, others[0].size, self.files, takes)
        self.changed.clear()
        if takes is not None and others:
            self.changed[_fit_text(self.want.fit, takes)] = len(others)
        self.has_16_bits = any(head.is_deep_grey for head in heads)
        if self.has_16_bits and self.bits is None:
            self.bits = bits_used(self.files)

    def _fitted(self, path: Picture, image: Image, takes: Shape) -> Image:
        """The image in the size that the network takes. Raises UserError where it has another one and no fit is set."""
        size = (takes[2], takes[1])
        if image.size == size:
            return image
        if self.want.fit is None:
            raise _other_size(path, image.size, self.files, takes)
        self.changed[_fit_text(self.want.fit, takes)] += 1
        with decoding(path):
            return placed(image, size, self.want.fit)

    def _check_alike(self, path: Picture, image: Image, is_grey: bool) -> None:
        shape = (1 if is_grey else 3, image.height, image.width)
        if self.shape is not None and shape != self.shape:
            raise UserError(
                f"{shown(path)} is {show_sizes(shape)}, but {shown(self.files[0])} is {show_sizes(self.shape)}",
                help="resize and convert all images to one size and one colour mode (C x H x W)",
            )


def _fit_text(fit: str | None, takes: Shape) -> str:
    words = {"resize": "resized", "crop": "cropped", "pad": "padded"}[fit or "resize"]
    return f"were {words} to {show_sizes(takes[1:])} (`fit {fit}`)"


def fitted_bytes(x: np.ndarray, shape: Shape, fit: str) -> np.ndarray:
    """Images x (N, C, H, W) uint8 -> (N, *shape), as `ImageReader` brings files to that shape."""
    from PIL import Image

    y = np.empty((len(x), *shape), np.uint8)
    for i, pixels in enumerate(x):
        image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
        y[i] = _array(placed(image.convert("L" if shape[0] == 1 else "RGB"), (shape[2], shape[1]), fit))
    return y


def fitted_masks(y: np.ndarray, size: tuple[int, int], fit: str) -> np.ndarray:
    """Masks y (N, H, W) -> int64 (N, *size), as their images."""
    from PIL import Image

    masks = (placed(Image.fromarray(mask.astype(np.int32)), size[::-1], fit, is_mask=True) for mask in y)
    return np.stack([np.asarray(mask) for mask in masks]).astype(np.int64)


def _other_size(path: Picture, size: tuple[int, int], files: Sequence[Picture], takes: Shape) -> UserError:
    """About an image of another size than the network takes, where nothing says how it is to be brought to it."""
    sizes = Counter(read_head(file).size for file in files)
    wide, high = size
    text = f"{shown(path)} is {high}x{wide}, but the network takes {show_sizes(takes[1:])}"
    if len(sizes) > 1:
        text += f"; the {len(files)} images have {len(sizes)} sizes"
        return UserError(text, help=FIT_HELP.format(show_sizes(takes)))
    whole = show_sizes((takes[0], high, wide))
    return UserError(
        f"the {len(files)} images are {whole}, but the network takes {show_sizes(takes)}",
        help=f"{FIT_HELP.format(show_sizes(takes))}; or begin the spec with `input {whole}`",
    )


def bits_used(files: Iterable[Picture]) -> int:
    """How many bits the largest value in the 16-bit grey images among the files needs, 8 to 16."""
    largest = 0
    for path in files:
        image = deep_image(path)
        if image is not None and image.mode.startswith("I;16"):
            with decoding(path):
                largest = max(largest, int(np.asarray(image).max()))
    return max(8, largest.bit_length())


def placed(image: Image, size: tuple[int, int], fit: str, is_mask: bool = False) -> Image:
    """The image in the size (W, H): `resize` along both sides, `crop` its middle once the shorter side fits, or `pad`
    with zeros once the longer side fits. Bilinear and antialiased; of masks the nearest pixel."""
    from PIL import Image as pil

    if image.size == size:
        return image
    method = pil.Resampling.NEAREST if is_mask else pil.Resampling.BILINEAR
    wide, high = image.size
    if fit == "resize":
        return image.resize(size, method)
    if fit == "crop":
        scale = max(size[0] / wide, size[1] / high)
        used = min(wide, size[0] / scale), min(high, size[1] / scale)
        left, top = (wide - used[0]) / 2, (high - used[1]) / 2
        return image.resize(size, method, box=(left, top, left + used[0], top + used[1]))
    assert fit == "pad", fit
    scale = min(size[0] / wide, size[1] / high)
    wide, high = (max(1, min(most, round(n * scale))) for n, most in zip(image.size, size, strict=True))
    framed = pil.new(image.mode, size, 0)
    framed.paste(image.resize((wide, high), method), ((size[0] - wide) // 2, (size[1] - high) // 2))
    return framed


def _to_mode(path: Picture, image: Image, mode: str, bits: int) -> Image:
    """To `L` or `RGB`; what is transparent becomes white, as on a page; 16-bit grey that uses `bits` is scaled to 8."""
    from PIL import Image as pil

    if image.mode.startswith("I;16"):
        image = pil.fromarray(np.minimum(np.asarray(image) >> (bits - 8), 255).astype(np.uint8))
    if image.mode in ("I", "F"):
        text = f"{shown(path)} has 32 bits a pixel (mode {image.mode}), expected 8 or 16"
        raise UserError(text, help="save it with 8 or 16 bits, or its values in a .npz")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = pil.new("RGBA", image.size, "white")
        image = pil.alpha_composite(white, image)
    try:
        return image.convert(mode)
    except ValueError:
        text = f"{shown(path)} has the colour mode {image.mode}, which cannot become {mode}"
        raise UserError(text, help="save it as grey, RGB or CMYK") from None


def _array(image: Image) -> np.ndarray:
    x = np.asarray(image, np.uint8)
    return x[None].copy() if x.ndim == 2 else np.ascontiguousarray(x.transpose(2, 0, 1))
