"""NumPy's `.npz`, read with distrust: nothing is unpickled, and nothing larger than its header says is read."""

from __future__ import annotations

import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

from netdsl.graph.types import show_sizes
from netdsl.ground.diagnostics import UserError, plain
from netdsl.ground.reading import reading, shown
from netdsl.training.data.limits import MAX_BYTES
from netdsl.training.data.npy import npy_header
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
            check_member(f"the array `{name}` of {shown(path)}", archive, info)
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
        help_text = f"`netdsl data unpack {plain(str(path))}` makes a folder of it that may be larger than memory"
        raise UserError(f"{shown(path)} unpacks to {total} bytes, the limit is {MAX_BYTES}", help=help_text)
    return members


def check_member(where: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """Raises unless an entry is an array of numbers or words, as large as its npy header says; where: what it is called
    in a message."""
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(f"{where} is packed by method {info.compress_type}, expected 0 (stored) or 8 (deflate)")
    with archive.open(info) as file:
        npy_header(where, file, info.file_size)
    if info.file_size > info.compress_size * MAX_DEFLATE_RATIO + 1024:
        raise UserError(f"{where} is damaged: {info.compress_size} packed bytes cannot hold {info.file_size}")


def sample_text(a: Samples) -> str:
    """`1x28x28 uint8` of an array (N, 1, 28, 28)."""
    return f"{show_sizes(a.shape[1:])} {a.dtype}".strip()
