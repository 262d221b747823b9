"""Image files opened with distrust: sizes are known before anything is decoded, and what is wrong is one line."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netdsl.ground.diagnostics import UserError
from netdsl.ground.reading import parsing, reading, shown

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

MAX_PIXELS = 50_000_000  # of one picture
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # not EPS, which Pillow hands to another program


@dataclass(frozen=True, slots=True)
class ImageBytes:
    """An image file that lies in another file: what it is called in a message, and its bytes."""

    name: str
    data: bytes

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class ImageSlice:
    """An image file that lies in another file: the row of that, counted from 0, and the bytes there."""

    path: Path
    row: int
    start: int
    length: int

    def __str__(self) -> str:
        return f"{self.path}[{self.row}]"

    @property
    def data(self) -> bytes:
        """Its bytes, read from the file now. Raises UserError."""
        with reading(self.path), open(self.path, "rb") as file:
            file.seek(self.start)
            return file.read(self.length)


PackedImage = ImageBytes | ImageSlice
Picture = Path | PackedImage
"""Where an image lies."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the header of an image says: its size (W, H) once it is turned upright, whether it is grey of 16 bits."""

    file: Picture
    size: tuple[int, int]
    is_deep_grey: bool


def read_head(path: Picture) -> Head:
    """The head of an image of which no pixel is decoded. Raises UserError."""
    with _unread(path) as (image, depth):
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        size = (image.height, image.width) if turned else image.size
        return Head(path, size, depth == 16 and (_is_wide_grey(image) or image.mode.startswith("I;16")))


def opened(path: Picture) -> tuple[Image, int]:
    """The first frame, turned upright, and the bits of its file for each value."""
    with _unread(path) as (image, depth):
        return _upright(image), depth


def deep_image(path: Picture) -> Image | None:
    """The first frame, turned upright, of a file of 16 bits a value; of others nothing is decoded: None."""
    with _unread(path) as (image, depth):
        return _upright(image) if depth == 16 else None


@contextmanager
def _unread(path: Picture) -> Iterator[tuple[ImageFile, int]]:
    """An open file of which no pixel is decoded yet, and its bits for each value. Raises UserError where it is too
    large: its size is checked first, since a small file may decode to gigabytes."""
    from PIL import Image

    with decoding(path), Image.open(_source(path), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise UserError(f"{shown(path)} has {image.width}x{image.height} pixels, the limit is {MAX_PIXELS}")
        is_deep = _is_wide_grey(image) or image.mode.startswith("I;16") or _is_deep_colour(image)
        yield image, 16 if is_deep else 8


def _upright(image: ImageFile) -> Image:
    """Decodes it, and turns it as its metadata say."""
    from PIL import Image, ImageOps

    is_wide_grey = _is_wide_grey(image)  # asked before decoding, as the size was
    image.load()
    if is_wide_grey:
        return Image.fromarray(np.asarray(image).astype(np.uint16))
    if image.format == "GIF" and image.mode == "P":  # whose writers number colours anew in each file
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    return ImageOps.exif_transpose(image)


def _is_wide_grey(image: ImageFile) -> bool:
    """Whether it is a PGM of 16 bits, which Pillow reads as 32."""
    return image.format == "PPM" and image.mode == "I"


def _is_deep_colour(image: ImageFile) -> bool:
    """Whether Pillow cuts the 16 bits of its colours to 8."""
    rawmode = image.tile[0][3] if image.tile else ""
    rawmode = rawmode[0] if isinstance(rawmode, tuple) and rawmode else rawmode
    return isinstance(rawmode, str) and ";16" in rawmode and image.mode in ("RGB", "RGBA", "LA")


def _source(path: Picture) -> Path | io.BytesIO:
    return path if isinstance(path, Path) else io.BytesIO(path.data)


@contextmanager
def decoding(path: Picture) -> Iterator[None]:
    """Turns what Pillow says about files that are no pictures, or too large, into a UserError, as `reading` does."""
    from PIL import Image, UnidentifiedImageError

    try:
        with reading(path) if isinstance(path, Path) else parsing(str(path)), _quiet():
            try:
                yield
            except UnidentifiedImageError:
                raise UserError(f"{shown(path)} is not an image of a known format ({', '.join(FORMATS)})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(f"{shown(path)} has too many pixels, the limit is {MAX_PIXELS}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing is said of what Pillow warns of, but for too many pixels. The filters are those of all threads, so that
    only the main thread may change them for a while; see `silence`."""
    is_main = threading.current_thread() is threading.main_thread()
    with warnings.catch_warnings() if is_main else nullcontext():
        if is_main:
            from PIL import Image

            warnings.simplefilter("ignore")  # about odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def silence() -> None:
    """From now on nothing that Pillow warns of is said, in no thread."""
    warnings.filterwarnings("ignore", module="PIL")
