"""The files of a data set compared with the catalog: which are as published, which are damaged or not whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from netdsl.ground.catalog import Download, Member, NamedData
from netdsl.training.data.fetching.digests import file_digest, is_gzip, unpacked
from netdsl.training.data.fetching.download import part_of
from netdsl.training.data.places import ZIPPED, Place

State = Literal["ok", "damaged", "part", "unknown", "missing"]


@dataclass(frozen=True)
class Checked:
    """What a file is, and how that is known. `unknown`: the right size, but nobody has published a SHA-256 of it."""

    path: Path
    state: State
    reason: str = ""


def check_place(data: NamedData, place: Place) -> Iterator[Checked]:
    """Every file of a set in a place, those that it lacks too. Raises OSError."""
    if data.npz is not None and data.npz.name in place.files:
        yield _compared(place.path, data.npz.sha256, data.npz.size)
        return
    for download in data.downloads:
        for member in download.members:
            yield from _copies(place.path, member, None if download.is_archive else download)
    known = {member.name for member in data.members}
    for name, path in place.files.items():
        if name not in known:
            yield Checked(path, "part", f"{path.stat().st_size:,} bytes, some samples of another file")
    yield from parts(data, place.path)


def parts(data: NamedData, folder: Path) -> Iterator[Checked]:
    """What is half fetched in a folder."""
    for download in data.downloads:
        path = part_of(folder, download)
        if path.is_file():
            yield Checked(path, "part", f"{path.stat().st_size:,} of {download.size:,} bytes are fetched")


def _copies(folder: Path, member: Member, download: Download | None) -> Iterator[Checked]:
    """A member packed, unpacked or both; download: as what it is served by itself."""
    packed, plain = folder / f"{member.name}{ZIPPED}", folder / member.name
    sha256 = member.sha256
    if packed.exists():
        checked = _packed(packed, member, download)
        yield checked
        if checked.state == "ok" and not sha256 and plain.exists() and (inner := unpacked(packed, member.size)):
            sha256 = inner[0]  # what a right file unpacks to is right
    if plain.exists():
        is_packed = plain.is_file() and is_gzip(plain)
        yield _packed(plain, member, download) if is_packed else _compared(plain, sha256, member.size)
    elif not packed.exists():
        yield Checked(packed if download else plain, "missing")


def _packed(path: Path, member: Member, download: Download | None) -> Checked:
    """A `.gz`: as it is served, or another packing of the same bytes."""
    if not path.is_file():
        return Checked(path, "damaged", "it is no file")
    if download is not None and file_digest(path) == download.sha256:
        return Checked(path, "ok")
    inner = unpacked(path, member.size)
    if inner is None:
        return Checked(path, "damaged", f"it does not unpack to {member.size:,} bytes")
    return _judged(path, *inner, member.sha256, member.size, "unpacked: ")


def _compared(path: Path, sha256: str, size: int) -> Checked:
    if not path.is_file():
        return Checked(path, "damaged", "it is no file")
    return _judged(path, file_digest(path), path.stat().st_size, sha256, size, "")


def _judged(path: Path, digest: str, held: int, sha256: str, size: int, how: str) -> Checked:
    """The file by its SHA-256 and its size, beside what they should be."""
    if held != size:
        return Checked(path, "damaged", f"{how}{held:,} bytes, expected {size:,}")
    if not sha256:
        return Checked(path, "unknown", f"{how}{held:,} bytes as it should be, but no SHA-256 is known of these")
    if digest != sha256:
        return Checked(path, "damaged", f"{how}SHA-256 {digest[:12]}..., expected {sha256[:12]}...")
    return Checked(path, "ok")
