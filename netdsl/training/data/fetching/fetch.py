"""A data set brought to a folder: what is there and right stays, the rest is downloaded and unpacked.

It may be stopped at any moment and begun again. Two processes that want the same folder wait for each other, and the
second finds what the first has fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from netdsl.ground.catalog import Download, Member, NamedData
from netdsl.ground.diagnostics import UserError
from netdsl.ground.reading import shown
from netdsl.training.data.fetching.digests import file_digest, unpacked
from netdsl.training.data.fetching.download import NotServed, Watch, download
from netdsl.training.data.fetching.unpack import unpack
from netdsl.training.data.fetching.web import Patience
from netdsl.training.data.missing import MINI_HELP, megabytes

LOCK_SECONDS = 0.5  # before it is said that somebody else fetches


def fetch(
    data: NamedData,
    folder: Path,
    mirrors: Sequence[str] | None = None,
    patience: Patience | None = None,
    watch: Watch | None = None,
    is_offline: bool = False,
) -> None:
    """Brings all files of a set to a folder, which is made where it is not there.

    mirrors: in place of the set's own. is_offline: nothing is downloaded; archives that lie in the folder are unpacked.
    Raises UserError where a file is not to be had, OSError where it cannot be written. A half-fetched file stays as
    `<name>.part`, and is gone on with.
    """
    source = _Source(data, data.mirrors if mirrors is None else mirrors, patience or Patience(), is_offline)
    watch = watch or Watch()
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder, watch), _naming(folder):
        for wanted in data.downloads:
            if not is_there(wanted, folder):
                _bring(wanted, folder, source, watch)


@dataclass(frozen=True)
class _Source:
    """Where a set is fetched from, and how."""

    data: NamedData
    mirrors: Sequence[str]
    patience: Patience
    is_offline: bool


def _bring(wanted: Download, folder: Path, source: _Source, watch: Watch) -> None:
    """Downloads a file unless it lies in the folder already, and unpacks an archive, which is then removed."""
    path = folder / wanted.name
    if not _is_right(path, wanted):
        if source.is_offline:
            what = f"{shown(path)} is damaged" if path.exists() else f"{shown(folder)} has no `{wanted.name}`"
            raise UserError(f"{what}, and nothing is downloaded offline", help=_help(wanted, folder))
        try:
            download(wanted, source.mirrors, folder, source.patience, watch)
        except NotServed as error:
            text = f"no mirror serves `{wanted.name}` of `{source.data.name}`: {error}"
            raise UserError(text, help=_help(wanted, folder)) from None
    if wanted.is_archive:
        watch.on_step(f"unpacking {wanted.name}")
        unpack(path, wanted, folder)
        path.unlink()


def is_there(wanted: Download, folder: Path) -> bool:
    """Whether a folder has all that a download is for, and right: the file as it is served, or its members."""
    if not wanted.is_archive and _is_right(folder / wanted.name, wanted):
        return True
    return all(_is_right_member(folder / member.name, member) for member in wanted.members)


def _is_right(path: Path, wanted: Download) -> bool:
    """Whether it is the file that mirrors serve, or packs the same bytes."""
    if not path.is_file():
        return False
    if path.stat().st_size == wanted.size and file_digest(path) == wanted.sha256:
        return True
    sha256 = "" if wanted.is_archive else wanted.members[0].sha256
    return bool(sha256) and unpacked(path, wanted.members[0].size) == (sha256, wanted.members[0].size)


def _is_right_member(path: Path, member: Member) -> bool:
    is_as_large = path.is_file() and path.stat().st_size == member.size
    return is_as_large and bool(member.sha256) and file_digest(path) == member.sha256


def _help(wanted: Download, folder: Path) -> str:
    what = f"`{wanted.name}` ({megabytes(wanted.size)}, SHA-256 {wanted.sha256})"
    return f"put {what} into {shown(folder)} yourself, and run it again; {MINI_HELP}"


@contextmanager
def _locked(folder: Path, watch: Watch) -> Iterator[None]:
    """While it is open no other process fetches into the folder; it is waited for."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            watch.on_step(f"another process fetches into {shown(folder)}: waiting for it")
            lock.acquire()
    except NotImplementedError:
        text = f"the file system of {shown(folder)} has no locks, so that two processes could fetch at once"
        raise UserError(text, help="choose a folder on another disk by `--to`") from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Errors of writing say where, as those of opening do."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(folder)) from error
