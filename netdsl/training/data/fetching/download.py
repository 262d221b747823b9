"""One file of a data set from the first mirror that serves it right.

By hand, on urllib: pooch (1.9) has no mirrors, no cap on what it writes, no way to go on with half a file and no lock,
and hashes when all is on the disk. Its `downloader` would be this whole module, so that a rename and a folder were left
to it, for five more packages in every installation (requests, urllib3, certifi, idna, charset-normalizer). requests by
itself has none of the four either, and reads a head that trickles for as long as it trickles.

What is sent is written to `<name>.part`, no byte more than the file has, and takes its place when its SHA-256 is right.
Half a file is gone on with, from any mirror, since the hash is that of the whole.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

from netdsl.ground.catalog import Download
from netdsl.ground.diagnostics import plain
from netdsl.ground.system.disk import replace, sync, sync_folder
from netdsl.training.data.fetching.digests import is_gzip, pieces, unpacked
from netdsl.training.data.fetching.web import Patience, Refused, ask, chunks

PACKED_MORE = 2**16  # bytes that packing what is packed may add, beside a thousandth


@dataclass(frozen=True)
class Watch:
    """Who is told how it goes. on_bytes: of a file's name, how many of its bytes are there and how many there will be;
    on_step: what begins, in words; on_fault: what goes wrong."""

    on_bytes: Callable[[str, int, int], None] = lambda name, done, total: None
    on_step: Callable[[str], None] = lambda text: None
    on_fault: Callable[[str], None] = lambda text: None


class _Part:
    """The bytes of a file that are there so far, and their SHA-256, kept up as they come. One that is empty when it is
    closed is removed."""

    def __init__(self, path: Path) -> None:
        self.path, self.size, self.digest = path, 0, hashlib.sha256()

    def __enter__(self) -> _Part:
        self._file = open(self.path, "a+b")  # noqa: SIM115
        self._file.seek(0)
        for chunk in pieces(self._file):
            self._count(chunk)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._file.flush()
            sync(self._file.fileno())
        finally:
            self._file.close()
            if not self.size:
                self.path.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._count(chunk)

    def clear(self) -> None:
        """Begins anew."""
        self._file.truncate(0)
        self.size, self.digest = 0, hashlib.sha256()

    def _count(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self.digest.update(chunk)


class NotServed(Exception):
    """No mirror served a file: why, for each of them, by its host."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))


def part_of(folder: Path, wanted: Download) -> Path:
    """Where the bytes of a file are until it is whole."""
    return folder / f"{wanted.name}.part"


def download(wanted: Download, mirrors: Sequence[str], folder: Path, patience: Patience, watch: Watch) -> Path:
    """The path of the file, which is right and on the disk. Raises NotServed, OSError where it cannot be written."""
    part, reasons = part_of(folder, wanted), []
    for mirror in mirrors:
        refused = _from_mirror(f"{mirror.rstrip('/')}/{wanted.name}", wanted, part, patience, watch)
        if refused is None:
            replace(part, folder / wanted.name)
            sync_folder(str(folder))
            return folder / wanted.name
        reasons.append(f"{_host(mirror)}: {refused.reason}")
    raise NotServed(reasons)


def _from_mirror(url: str, wanted: Download, part: Path, patience: Patience, watch: Watch) -> Refused | None:
    """The part made whole by this mirror, or why not; it is asked again unless that is of no use."""
    for number in range(1, patience.tries + 1):
        try:
            _attempt(url, wanted, part, patience, watch)
            return None
        except Refused as refused:
            last = refused
        is_over = last.is_final or number == patience.tries
        again = "" if is_over else f"; once more, {number + 1} of {patience.tries}"
        watch.on_fault(f"{_host(url)}: {wanted.name}: {last.reason}{again}")
        if is_over:
            return last
        time.sleep(patience.pause * 2 ** (number - 1))
    raise AssertionError(f"a mirror is asked {patience.tries} times")


def _attempt(url: str, wanted: Download, path: Path, patience: Patience, watch: Watch) -> None:
    """Asks a server once for what is still missing. Raises Refused."""
    with _Part(path) as part:
        if part.size == wanted.size and part.digest.hexdigest() == wanted.sha256:  # all was there but the name
            return
        if part.size >= wanted.size:
            part.clear()
        begun = part.size
        _receive(url, wanted, part, patience, watch)
    _check(part, wanted, is_pieced=begun > 0)


def _receive(url: str, wanted: Download, part: _Part, patience: Patience, watch: Watch) -> None:
    """Writes what a server sends behind what is there, or over it where it sends the whole file. Raises Refused."""
    with _answer(url, part, patience) as answer:
        if not _goes_on(answer, part):
            part.clear()
        most = _most(answer, wanted)
        promised = _promised(answer, part.size, most)
        for chunk in chunks(answer, patience):
            if part.size + len(chunk) > most:
                part.clear()
                raise Refused(f"it sends more than {most} bytes", is_final=True)
            part.write(chunk)
            watch.on_bytes(wanted.name, part.size, wanted.size)
    if promised is not None and part.size < promised:
        raise Refused(f"it broke off after {part.size} of {promised} bytes")


def _answer(url: str, part: _Part, patience: Patience) -> HTTPResponse:
    try:
        return ask(url, part.size, patience)
    except Refused as refused:
        if not refused.was_range:
            raise
        size = part.size
        part.clear()
        raise Refused(f"it has no more than {size} bytes") from None


def _goes_on(answer: HTTPResponse, part: _Part) -> bool:
    """Whether an answer begins where the part ends; False where the whole file is sent again. Raises Refused."""
    if answer.status != 206:
        return False
    told = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(?:\d{1,18}|\*)", answer.headers.get("Content-Range", "").strip())
    if told is None or int(told[1]) != part.size:
        part.clear()  # so that the next time nothing but the whole file is asked for
        raise Refused("it sends another piece than was asked for")
    return True


def _most(answer: HTTPResponse, wanted: Download) -> int:
    """The most bytes that are taken: the file's own, or what it may have where it was packed again."""
    if answer.headers.get("Content-Encoding", "identity").strip().lower() in ("gzip", "x-gzip"):
        return wanted.size + wanted.size // 1000 + PACKED_MORE
    if not wanted.is_archive and wanted.members[0].sha256:  # another packing of the same bytes is welcome
        return wanted.size + wanted.size // 2 + PACKED_MORE
    return wanted.size


def _promised(answer: HTTPResponse, start: int, most: int) -> int | None:
    """How many bytes there will be at the end, where the server says so. Raises Refused where these are too many."""
    length = answer.headers.get("Content-Length", "").strip()
    if not re.fullmatch(r"\d{1,18}", length):
        return None
    if start + int(length) > most:
        raise Refused(f"it offers {start + int(length)} bytes, expected at most {most}", is_final=True)
    return start + int(length)


def _check(part: _Part, wanted: Download, is_pieced: bool) -> None:
    """Returns where the part is the file, or packs the same bytes; else it is removed. Raises Refused.

    is_pieced: an older part stood before what was sent, so that the fault may be in that.
    """
    digest = part.digest.hexdigest()
    if digest == wanted.sha256 or _holds_the_same(part.path, wanted):
        return
    part.path.unlink(missing_ok=True)
    what = f"{part.size} bytes of SHA-256 {digest[:12]}..., expected {wanted.size} of {wanted.sha256[:12]}..."
    raise Refused(f"it sends {what}", is_final=not is_pieced)


def _holds_the_same(part: Path, wanted: Download) -> bool:
    """Whether it is the file packed once more, which is undone, or its content in another packing."""
    if not part.exists() or not is_gzip(part):
        return False
    (member,) = wanted.members if not wanted.is_archive else (None,)
    inner = unpacked(part, max(wanted.size, member.size if member else 0))
    if inner is None:
        return False
    if inner[0] == wanted.sha256:
        _unpack_once(part)
        return True
    return member is not None and inner[0] == member.sha256


def _unpack_once(part: Path) -> None:
    plainer = part.with_suffix(".tmp")
    with gzip.open(part) as packed, open(plainer, "wb") as file:
        for chunk in pieces(packed):
            file.write(chunk)
        file.flush()
        sync(file.fileno())
    replace(plainer, part)


def _host(url: str) -> str:
    return plain(urlsplit(url).netloc or url)
