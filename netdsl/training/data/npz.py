"""NumPy's `.npz`, read with distrust: nothing is unpickled, and nothing larger than its header says is read."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

from netdsl.graph.types import show_sizes
from netdsl.ground.diagnostics import UserError, plain
from netdsl.ground.reading import reading, shown
from netdsl.training.data.limits import MAX_BYTES
from netdsl.training.data.stored import Samples

MAX_DEFLATE_RATIO = 1032  # bytes out for a byte in; deflate cannot do better (zlib's technical notes)


def read_npz(path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """The named arrays of a `.npz`, numbers in native byte order; those of `optional` that are missing are left out.

    Sizes are compared (npy header, zip listing, packed bytes, `MAX_BYTES`) before anything is allocated.
    """
    with reading(path), warnings.catch_warnings(), zipfile.ZipFile(path) as archive:
        warnings.simplefilter("ignore")  # numpy's about headers written by Python 2
        members = _members(path, archive, required, optional)
        for name, info in members.items():
            _check_member(path, archive, name, info)
        arrays = {}
        for name, info in members.items():
            with archive.open(info) as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
            arrays[name] = np.asarray(array, array.dtype.newbyteorder("="), order="C")
        return arrays


def npz_names(path: Path) -> tuple[str, ...]:
    """The names of the arrays in a `.npz`, sorted."""
    with reading(path), zipfile.ZipFile(path) as archive:
        names = {info.filename for info in archive.infolist()}
    return tuple(sorted(name.removesuffix(".npy") for name in names if name.endswith(".npy")))


def _members(
    path: Path, archive: zipfile.ZipFile, required: tuple[str, ...], optional: tuple[str, ...]
) -> dict[str, zipfile.ZipInfo]:
    """The zip entries of the wanted arrays, by array name."""
    counts = Counter(info.filename for info in archive.infolist())
    members = {name: archive.getinfo(f"{name}.npy") for name in (*required, *optional) if counts[f"{name}.npy"]}
    for name in required:
        if name not in members:
            held = ", ".join(f"`{plain(n.removesuffix('.npy'))}`" for n in sorted(counts)[:10]) or "nothing"
            raise UserError(
                f"{shown(path)} has no array `{name}`; it holds {held}", help="use np.savez(file, x=..., y=...)"
            )
    for name in members:
        if counts[f"{name}.npy"] > 1:
            raise UserError(f"{shown(path)} holds the array `{name}` {counts[f'{name}.npy']} times")
    total = sum(info.file_size for info in members.values())
    if total > MAX_BYTES:
        raise UserError(f"{shown(path)} unpacks to {total} bytes, the limit is {MAX_BYTES}")
    return members


def _check_member(path: Path, archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo) -> None:
    """Raises unless the array is of numbers and as large as its npy header says."""
    where = f"the array `{name}` of {shown(path)}"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(f"{where} is packed by method {info.compress_type}, expected 0 (stored) or 8 (deflate)")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):  # 2.0 is for records with long names; its header may have 4 GiB
            raise UserError(f"{where} has npy version {version[0]}.{version[1]}, expected 1.0")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        held = info.file_size - file.tell()
    if dtype.hasobject:
        raise UserError(
            f"{where} holds Python objects, expected numbers",
            help="pickled data can run code; save numbers, or words by y.astype(str)",
        )
    if dtype.kind not in "iufbUS":
        raise UserError(f"{where} has dtype {dtype}, expected integers or floats")
    declared = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or declared != held:
        raise UserError(f"{where} is damaged: its shape {shape} takes {declared} bytes, the file holds {held}")
    if info.file_size > info.compress_size * MAX_DEFLATE_RATIO + 1024:
        raise UserError(f"{where} is damaged: {info.compress_size} packed bytes cannot hold {info.file_size}")


def sample_text(a: Samples) -> str:
    """`1x28x28 uint8` of an array (N, 1, 28, 28)."""
    return f"{show_sizes(a.shape[1:])} {a.dtype}".strip()
