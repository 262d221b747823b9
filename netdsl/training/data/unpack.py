"""A `.npz` as a folder of `.npy` files, which may be larger than memory."""

from __future__ import annotations

import os
import shutil
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from netdsl.ground.diagnostics import UserError, plain
from netdsl.ground.files import temporary_name
from netdsl.ground.reading import reading, shown
from netdsl.ground.system.disk import replace, sync
from netdsl.training.data.npy import SUFFIX
from netdsl.training.data.npz import check_member

PIECE = 2**20  # bytes that are in memory


def unpacked(path: Path, folder: Path) -> tuple[str, ...]:
    """Writes every array of a `.npz` into a folder, which is made, as NAME.npy -> the names, sorted.

    All or nothing, in bounded memory: the folder is there when all of it is on the disk. Raises UserError, also where
    something of that name is there, and for names that lead out of the folder; OSError.
    """
    if os.path.lexists(folder):
        raise UserError(f"{shown(folder)} is there already", help="choose another folder with `-o`, or remove it")
    parent = folder.parent
    with reading(path), warnings.catch_warnings(), zipfile.ZipFile(path) as archive:
        warnings.simplefilter("ignore")  # numpy's about headers written by Python 2
        members = _members(path, archive)
        _check_space(path, parent, sum(info.file_size for info in members.values()))
    part = parent / temporary_name(folder.name)
    os.mkdir(part)
    try:
        for name, info in members.items():
            _write(path, info, part / f"{name}{SUFFIX}")
        replace(part, folder)
    except BaseException:  # Ctrl-C too
        shutil.rmtree(part, ignore_errors=True)
        raise
    return tuple(members)


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The entries of the arrays by their names, each of numbers or words and as large as it says."""
    infos = [info for info in archive.infolist() if info.filename.endswith(SUFFIX)]
    counts = Counter(info.filename for info in infos)
    members = {}
    for info in sorted(infos, key=lambda info: info.filename):
        name = info.filename.removesuffix(SUFFIX)
        where = f"the array `{plain(name)}` of {shown(path)}"
        if counts[info.filename] > 1:
            raise UserError(f"{shown(path)} holds the array `{plain(name)}` {counts[info.filename]} times")
        if name != os.path.basename(name) or name.startswith(".") or "\\" in name or ":" in name or not name:
            raise UserError(f"{where} has a name that is no name of a file", help="save it under another name")
        check_member(where, archive, info)
        members[name] = info
    if not members:
        raise UserError(f"{shown(path)} has no arrays", help="use np.savez(file, x=..., y=...)")
    return members


def _check_space(path: Path, parent: Path, total: int) -> None:
    if not os.path.isdir(parent):
        raise UserError(f"there is no folder {shown(parent)}", help="make it first, or choose another with `-o`")
    free = shutil.disk_usage(parent).free
    if total > free:
        raise UserError(f"{shown(path)} unpacks to {total} bytes, but {shown(parent)} has {free} free")


def _write(path: Path, info: zipfile.ZipInfo, target: Path) -> None:
    """Copies an entry to the disk; what is damaged is met by its checksum at the end."""
    with open(target, "xb") as out:
        for piece in _pieces(path, info):
            out.write(piece)
        out.flush()
        sync(out.fileno())


def _pieces(path: Path, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with reading(path), zipfile.ZipFile(path) as archive, archive.open(info) as file:
        while piece := file.read(PIECE):
            yield piece
