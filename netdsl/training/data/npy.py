"""NumPy's `.npy` in a folder, an array a file: what a `.npz` holds, where it is too large for memory."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from netdsl.ground.diagnostics import UserError, plain
from netdsl.ground.reading import reading, shown
from netdsl.training.data.limits import MAX_BYTES
from netdsl.training.data.stored import Samples, Stored, spaced

SUFFIX = ".npy"


@dataclass(frozen=True)
class NpyHeader:
    """What a `.npy` says of its array, and the byte that its numbers begin at."""

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]
    start: int

    @property
    def held(self) -> int:
        """How many bytes the numbers take."""
        return math.prod(self.shape) * self.dtype.itemsize


def npy_header(where: str, file: IO[bytes], size: int) -> NpyHeader:
    """The header of a `.npy` of so many bytes; where: what the array is called in a message.

    Raises UserError unless it is an array of numbers or words, and as large as its header says."""
    version = np.lib.format.read_magic(file)
    if version != (1, 0):  # 2.0 is for records with long names; its header may have 4 GiB
        raise UserError(f"{where} has npy version {version[0]}.{version[1]}, expected 1.0")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
    header = NpyHeader(shape, is_fortran, dtype, file.tell())
    if dtype.hasobject:
        raise UserError(
            f"{where} holds Python objects, expected numbers",
            help="pickled data can run code; save numbers, or words by y.astype(str)",
        )
    if dtype.kind not in "iufbUS":
        raise UserError(f"{where} has dtype {dtype}, expected integers or floats")
    held = size - header.start
    if min(shape, default=0) < 0 or header.held != held:
        raise UserError(f"{where} is damaged: its shape {shape} takes {header.held} bytes, the file holds {held}")
    return header


class RawRows(Stored):
    """Samples that lie one behind the other in a file, from the byte `start` on.

    They are read by their places, those of a batch in the order of the file; not through a memory map, whose pages
    count as the memory of whoever maps them, and which a file that gets shorter meanwhile turns into the end of the
    process.
    """

    def __init__(self, path: Path, start: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path, self.start, self.shape, self.stored_dtype = path, start, shape, dtype
        self.dtype = dtype.newbyteorder("=")
        self.row_bytes = math.prod(shape[1:]) * dtype.itemsize
        if self.row_bytes > MAX_BYTES:
            raise UserError(f"one sample of {shown(path)} takes {self.row_bytes} bytes, the limit is {MAX_BYTES}")

    def read(self, rows: np.ndarray) -> np.ndarray:
        order = np.argsort(rows, kind="stable")
        raw = np.empty((len(rows), self.row_bytes), np.uint8)
        self._fill(raw, rows[order])
        if not np.array_equal(order, np.arange(len(rows))):
            moved = np.empty_like(raw)
            moved[order] = raw
            raw = moved
        x = raw.reshape(-1).view(self.stored_dtype).reshape(len(rows), *self.shape[1:])
        return x.astype(self.dtype, copy=False)

    def marks(self) -> Iterator[bytes | memoryview]:
        rows = spaced(len(self), MAX_BYTES // self.row_bytes)
        count = max(1, 2**22 // self.row_bytes)
        for start in range(0, len(rows), count):
            piece = rows[start : start + count]
            raw = np.empty((len(piece), self.row_bytes), np.uint8)
            self._fill(raw, piece)
            yield raw.data

    def _fill(self, raw: np.ndarray, rows: np.ndarray) -> None:
        """Reads ascending rows; those that follow each other at once."""
        edges = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
        with reading(self.path), open(self.path, "rb", buffering=0) as file:
            for begin, end in zip(edges, edges[1:], strict=False):
                if begin < end:
                    file.seek(self.start + int(rows[begin]) * self.row_bytes)
                    if not _is_filled(file, raw[begin:end].reshape(-1).data):
                        raise UserError(f"{shown(self.path)} has become shorter since it was opened")


def _is_filled(file: IO[bytes], view: memoryview) -> bool:
    """Reads until the view is full; False where the file ends before."""
    while view:
        count: int = file.readinto(view)  # type: ignore[attr-defined]
        if not count:
            return False
        view = view[count:]
    return True


def npy_names(folder: Path) -> tuple[str, ...]:
    """The names of the arrays in a folder, sorted: those of its `.npy` files. Raises UserError."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise UserError(f"cannot read the folder {shown(folder)}: {(error.strerror or str(error)).lower()}") from None
    return tuple(name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX) and not name.startswith("."))


def stored_npy(folder: Path, name: str) -> Samples:
    """The array of that name, read when it is asked for. Raises UserError."""
    path = folder / f"{name}{SUFFIX}"
    header = _header(folder, name)
    if not header.shape or not header.held:
        return np.empty(header.shape, header.dtype)  # which whoever wants samples refuses
    if header.is_fortran and len(header.shape) > 1:  # its samples lie all over the file
        return _in_memory(folder, name, header, "save it in C order: np.save(file, np.ascontiguousarray(x))")
    return RawRows(path, header.start, header.shape, header.dtype)


def read_npy(folder: Path, name: str) -> np.ndarray:
    """The array of that name, whole. Raises UserError where it is larger than MAX_BYTES."""
    return _in_memory(folder, name, _header(folder, name), "the samples `x` may be larger than memory, not these")


def _header(folder: Path, name: str) -> NpyHeader:
    path = folder / f"{name}{SUFFIX}"
    with reading(path), warnings.catch_warnings(), open(path, "rb") as file:
        warnings.simplefilter("ignore")  # numpy's about headers written by Python 2
        return npy_header(f"the array `{plain(name)}` of {shown(folder)}", file, os.fstat(file.fileno()).st_size)


def _in_memory(folder: Path, name: str, header: NpyHeader, help_text: str) -> np.ndarray:
    if header.held > MAX_BYTES:
        text = f"the array `{plain(name)}` of {shown(folder)} takes {header.held} bytes in memory"
        raise UserError(f"{text}, the limit is {MAX_BYTES}", help=help_text)
    path = folder / f"{name}{SUFFIX}"
    with reading(path), open(path, "rb") as file:
        file.seek(header.start)
        flat = np.fromfile(file, header.dtype, math.prod(header.shape))
        array = flat.reshape(header.shape[::-1]).T if header.is_fortran else flat.reshape(header.shape)
        return np.asarray(array, array.dtype.newbyteorder("="), order="C")
