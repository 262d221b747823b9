"""The known files of an archive, written by hand: whatever else an archive holds stays in it.

Nothing is extracted by `tarfile`: of each member whose whole name is known, that is a plain file of the known size, the
bytes are read in pieces and written under a name of netdsl's own. Links, devices, sparse files, absolute names and `..`
are so never a name on the disk.
"""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from netdsl.ground.catalog import Download, Member
from netdsl.ground.diagnostics import UserError
from netdsl.ground.reading import shown
from netdsl.ground.system.disk import replace, sync, sync_folder
from netdsl.training.data.fetching.digests import pieces

MOST_MEMBERS = 100  # of an archive that holds six files and a few words about them
MOST_BESIDE = 2**20  # bytes of an archive beside the files that are wanted

DAMAGE = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError)


class _Limited:
    """What a `.gz` unpacks to, no byte more than `left`."""

    def __init__(self, file: gzip.GzipFile, left: int) -> None:
        self.file, self.left = file, left

    def read(self, size: int) -> bytes:
        """The next bytes, as tarfile asks for them. Raises UserError behind the last that is allowed."""
        data = self.file.read(min(size, self.left + 1))
        self.left -= len(data)
        if self.left < 0:
            raise tarfile.ReadError("it unpacks to more than its files have")
        return data


def unpack(archive: Path, wanted: Download, folder: Path) -> None:
    """Writes the members of an archive into a folder, each all or nothing. Raises UserError for an archive that lacks
    one of them or holds it in another size or shape, or other bytes; OSError where they cannot be written."""
    missing = {f"{wanted.folder}/{member.name}": member for member in wanted.members}
    try:
        for entry, file in _plain_files(archive, wanted):
            member = missing.pop(entry.name, None)
            if member is not None:
                _write(member, file, folder, archive)
    except DAMAGE as error:
        raise _damaged(archive, str(error) or type(error).__name__) from None
    if missing:
        raise _damaged(archive, f"it has no `{next(iter(missing))}`")
    sync_folder(str(folder))


def _plain_files(archive: Path, wanted: Download) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """The members that are wanted, by their whole names, in the archive's order. Raises UserError for one that is no
    plain file or has another size."""
    sizes = {f"{wanted.folder}/{member.name}": member.size for member in wanted.members}
    with gzip.open(archive) as packed:
        limited = _Limited(packed, sum(sizes.values()) + MOST_BESIDE)
        with tarfile.open(fileobj=limited, mode="r|") as tar:  # type: ignore[call-overload]  # it reads, and no more
            for number, entry in enumerate(tar, 1):
                if number > MOST_MEMBERS:
                    raise _damaged(archive, f"it has more than {MOST_MEMBERS} members")
                tar.members = []  # which would grow
                if entry.name not in sizes:
                    continue
                is_plain = entry.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not entry.issparse()
                if not is_plain or entry.size != sizes[entry.name]:
                    what = f"{entry.size} bytes" if is_plain else "no plain file"
                    raise _damaged(archive, f"`{entry.name}` is {what}, expected {sizes[entry.name]} bytes")
                file = tar.extractfile(entry)
                assert file is not None, entry
                yield entry, file


def _write(member: Member, file: IO[bytes], folder: Path, archive: Path) -> None:
    """The bytes of a member under its own name, once they are whole and right."""
    temporary, digest, size = folder / f".{member.name}.tmp", hashlib.sha256(), 0
    try:
        with open(temporary, "wb") as out:
            for chunk in pieces(file):
                out.write(chunk)
                digest.update(chunk)
                size += len(chunk)
            out.flush()
            sync(out.fileno())
        if size != member.size or member.sha256 and digest.hexdigest() != member.sha256:
            both = f"SHA-256 {digest.hexdigest()[:12]}..., expected {member.sha256[:12]}..."
            raise _damaged(archive, f"`{member.name}` has {size} bytes of {both}")
        replace(temporary, folder / member.name)
    finally:
        temporary.unlink(missing_ok=True)


def _damaged(archive: Path, why: str) -> UserError:
    return UserError(f"{shown(archive)} is damaged: {why}", help="remove it, and fetch it again")
