"""Images that are decoded when they are asked for: a folder of them may be larger than memory."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from netdsl.graph.types import Sizes, show_sizes
from netdsl.ground.reading import reading
from netdsl.stages.workers import available_cores
from netdsl.training.data.image_files import Head, ImageBytes, ImageSlice, Picture, read_head, silence
from netdsl.training.data.images import ImageReader
from netdsl.training.data.limits import MAX_BYTES
from netdsl.training.data.stored import Samples, Stored, spaced

MOST_THREADS = 8  # more wait for each other: of a small image Python takes as long as Pillow, which alone runs beside
PER_THREAD = 4  # images at least


class FileRows(Stored):
    """The samples (N, *sizes) uint8 that `decode` makes of files, of a few at the same time."""

    def __init__(self, files: Sequence[Picture], sizes: Sizes, decode: Callable[[Picture], np.ndarray]) -> None:
        self.files, self.decode = files, decode
        self.shape, self.dtype = (len(files), *sizes), np.dtype(np.uint8)

    def read(self, rows: np.ndarray) -> np.ndarray:
        x = np.empty((len(rows), *self.shape[1:]), np.uint8)

        def fill(places: range) -> None:
            for i in places:
                x[i] = self.decode(self.files[int(rows[i])])

        in_threads(fill, len(rows))
        return x

    def marks(self) -> Iterator[bytes | memoryview]:
        names = [str(file) for file in self.files]
        shared = len(os.path.commonpath(names)) if len(names) > 1 else 0
        sizes = [_size(file) for file in self.files]
        for name, size in zip(names, sizes, strict=True):
            yield f"{name[shared:]} {size}\n".encode("utf-8", "surrogateescape")
        for row in spaced(len(names), len(names) * MAX_BYTES // max(1, sum(sizes))):
            yield _content(self.files[int(row)])


def image_samples(
    reader: ImageReader, files: Mapping[str, Sequence[Picture]]
) -> tuple[dict[str, Samples], tuple[str, ...]]:
    """The images of each part, and notes: decoded at once, or, where all together take more than MAX_BYTES, when they
    are asked for; their headers are read in any case. Raises UserError."""
    first = next(iter(files.values()))[0]
    sizes = reader.pixels(first).shape
    total = len(reader.files) * math.prod(sizes)
    reader.changed.clear()
    if total <= MAX_BYTES:
        return {part: reader.read(paths) for part, paths in files.items()}, ()
    silence()
    reader.shape = sizes
    reader.survey(_heads(reader.files))
    text = f"the {len(reader.files)} images of {show_sizes(sizes)} take {total} bytes, more than {MAX_BYTES}"
    note = f"{text}: each is read when it is needed"
    return {part: FileRows(paths, sizes, reader.pixels) for part, paths in files.items()}, (note,)


def _heads(files: Sequence[Picture]) -> list[Head]:
    heads: dict[int, Head] = {}

    def read(places: range) -> None:
        for i in places:
            heads[i] = read_head(files[i])

    in_threads(read, len(files))
    return [heads[i] for i in range(len(files))]


def in_threads(work: Callable[[range], None], count: int) -> None:
    """work(range) for ranges that together are 0 to count - 1, at the same time in several threads, which have ended
    when this returns. What is raised is that of the first of them."""
    threads = max(1, min(MOST_THREADS, available_cores(), count // PER_THREAD))
    edges = [count * k // threads for k in range(threads + 1)]
    parts = [range(a, b) for a, b in zip(edges, edges[1:], strict=False)]
    if threads == 1:
        work(parts[0])
        return
    with ThreadPoolExecutor(threads, "netdsl-images") as pool:
        for done in [pool.submit(work, part) for part in parts]:
            done.result()


def _size(file: Picture) -> int:
    if isinstance(file, ImageSlice):
        return file.length
    if isinstance(file, ImageBytes):
        return len(file.data)
    with reading(file):
        return os.path.getsize(file)


def _content(file: Picture) -> bytes:
    if not isinstance(file, Path):
        return file.data
    with reading(file):
        return file.read_bytes()
