"""IDX files of one's own, called as MNIST's are: samples and labels of any sizes and kinds of numbers, in parts."""

from __future__ import annotations

import gzip
import io
import math
import os
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netdsl.ground.diagnostics import UserError, plain
from netdsl.ground.reading import reading, shown
from netdsl.training.data.arrays import INPUTS, TARGETS, named_parts
from netdsl.training.data.limits import MAX_BYTES
from netdsl.training.data.listing import names_in
from netdsl.training.data.npy import RawRows
from netdsl.training.data.npz import MAX_DEFLATE_RATIO
from netdsl.training.data.parts import PART_NAMES, Parts
from netdsl.training.data.stored import Samples
from netdsl.training.data.wanted import Wanted

DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}  # by the third byte of a file
NAME = re.compile(r"(.*?)[-_.]?idx\d[-_.](?:ubyte|byte|short|int|float|double)(\.gz)?", re.IGNORECASE)
PART_OF = {word: part for part, words in PART_NAMES.items() for word in words} | {"t10k": "test"}
MAX_AXES = 8
PIECE = 2**20  # bytes that are unpacked together
HELP = "files are called as `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte`, or with .gz"


@dataclass(frozen=True)
class IdxName:
    """What the name of an IDX file says: of which set it is, of which part, and the word for what is in it."""

    name: str
    group: str
    part: str
    word: str


@dataclass(frozen=True)
class IdxHeader:
    """The shape (N, ...) of an IDX file, the kind of its numbers, and the byte that they begin at."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    start: int

    @property
    def held(self) -> int:
        """How many bytes the numbers take."""
        return math.prod(self.shape) * self.dtype.itemsize


def is_idx(name: str) -> bool:
    """Whether a file is called as an IDX file is."""
    return NAME.fullmatch(os.path.basename(name)) is not None


def holds_idx(folder: Path) -> bool:
    """Whether a folder has IDX files of samples."""
    return any(parsed.word in INPUTS for parsed in map(_parsed, names_in(folder)) if parsed)


def idx_parts(path: Path, want: Wanted) -> Parts:
    """The parts of the set that an IDX file is one of, or of the only set in a folder. Raises UserError.

    Files that are not packed may be larger than memory: their samples are read when they are asked for.
    """
    folder = path if path.is_dir() else path.parent
    inputs, targets = _roles(folder, _group(folder, path))

    def load(samples: tuple[str, ...], rest: tuple[str, ...]) -> Mapping[str, Samples]:
        whole: dict[str, Samples] = {name: np.asarray(read_any_idx(folder / name)) for name in rest}
        return {**whole, **{name: read_any_idx(folder / name) for name in samples}}

    return named_parts(folder, inputs, targets, (), load, want)


def _parsed(name: str) -> IdxName | None:
    match = NAME.fullmatch(name)
    if match is None:
        return None
    words = [word for word in re.split(r"[-_. ]+", match[1].lower()) if word]
    part = next((PART_OF[word] for word in words if word in PART_OF), "train")
    kind = next((word for word in words if word in (*INPUTS, *TARGETS)), "")
    return IdxName(name, "-".join(word for word in words if word not in PART_OF and word != kind), part, kind)


def _group(folder: Path, path: Path) -> list[IdxName]:
    """The files of the set that `path` names. Raises UserError where a folder has several."""
    files = [parsed for parsed in map(_parsed, names_in(folder)) if parsed]
    named = _parsed(path.name) if path != folder else None
    groups = sorted({file.group for file in files if file.word in INPUTS})
    if named is None and len(groups) > 1:
        text = f"{shown(folder)} has {len(groups)} data sets, {', '.join(f'`{plain(group)}`' for group in groups[:4])}"
        raise UserError(text, help="name a file of the one that is meant")
    group = named.group if named else next(iter(groups), "")
    return [file for file in files if file.group == group and file.word]


def _roles(folder: Path, files: list[IdxName]) -> tuple[dict[str, str], dict[str, str]]:
    """-> part -> the file of its samples, part -> that of its labels; of a file and its .gz the first."""
    inputs: dict[str, str] = {}
    targets: dict[str, str] = {}
    for file in sorted(files, key=lambda file: file.name.lower().endswith(".gz")):
        role = inputs if file.word in INPUTS else targets
        name = role.setdefault(file.part, file.name)
        if name.lower().removesuffix(".gz") != file.name.lower().removesuffix(".gz"):
            both = f"`{plain(name)}` and `{plain(file.name)}`"
            raise UserError(f"{shown(folder)} has {both}, and either may be meant", help=HELP)
    if "train" not in inputs:
        names = ", ".join(f"`{plain(file.name)}`" for file in files[:6]) or "no IDX file"
        raise UserError(f"{shown(folder)} has no IDX file of training samples; it has {names}", help=HELP)
    return inputs, targets


def read_any_idx(path: Path) -> Samples:
    """-> (N, ...) of an IDX file: of one that is packed in memory, else read when it is asked for.

    The format (LeCun's MNIST page) is big-endian: two zero bytes, one for the kind of numbers, one for the number of
    axes; a 32-bit size per axis; the data. Nothing is read past the size that the header says; what that is, is
    compared with the size of the file before anything is allocated. Raises UserError.
    """
    with reading(path):
        size = os.path.getsize(path)
    with _unzipped(path) as file:
        header = _header(path, file)
        if not isinstance(file, gzip.GzipFile):
            if size - header.start != header.held:
                raise _wrong_size(path, header.held, size - header.start)
            return RawRows(path, header.start, header.shape, header.dtype)
        if header.held > MAX_BYTES:
            text = f"{shown(path)} unpacks to {header.held} bytes, the limit is {MAX_BYTES}"
            raise UserError(text, help="unpack it with gzip: the file itself may be larger than memory")
        if header.held > size * MAX_DEFLATE_RATIO:
            raise UserError(f"{shown(path)} is damaged: {size} packed bytes cannot hold {header.held}")
        x = np.empty(header.shape, header.dtype)
        view, count = x.reshape(-1).view(np.uint8).data, 0
        while piece := file.read(min(PIECE, header.held - count)):
            view[count : count + len(piece)] = piece
            count += len(piece)
        if count < header.held or file.read(1):
            raise _wrong_size(path, header.held, count if count < header.held else header.held + 1)
    return x.astype(x.dtype.newbyteorder("="), copy=False)


@contextmanager
def _unzipped(path: Path) -> Iterator[io.BufferedIOBase]:
    """The file's bytes, through gzip if it begins so, decompressed only as far as they are read."""
    with reading(path):
        with open(path, "rb") as file:
            is_zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if is_zipped else open(path, "rb") as file:
            yield file


def _header(path: Path, file: io.BufferedIOBase) -> IdxHeader:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in DTYPES or not 1 <= head[3] <= MAX_AXES:
        kinds = ", ".join(f"{kind:02x}" for kind in DTYPES)
        text = f"{shown(path)} is not an IDX file: it begins with 0x{head.hex()}, expected 0x0000, a kind of {kinds}"
        raise UserError(f"{text} and 01 to {MAX_AXES:02x} axes")
    sizes = file.read(4 * head[3])
    if len(sizes) < 4 * head[3]:
        raise UserError(f"{shown(path)} is truncated: it has {4 + len(sizes)} bytes, the header {4 + 4 * head[3]}")
    shape = struct.unpack(f">{head[3]}I", sizes)
    if 0 in shape:
        raise UserError(f"{shown(path)} has the sizes {shape}, expected 1 or more each")
    return IdxHeader(shape, np.dtype(DTYPES[head[2]]), 4 + len(sizes))


def _wrong_size(path: Path, said: int, held: int) -> UserError:
    if held < said:
        return UserError(f"{shown(path)} is truncated: it has {held} bytes of data, its header says {said}")
    return UserError(f"{shown(path)} has more than the {said} bytes of data that its header says")
