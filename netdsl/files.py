"""Writing files so that a crash, a full disk or Ctrl-C leaves the old file or the new one, never half of one."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path


def write_atomic(path: Path | str, data: bytes | str) -> None:
    """Puts `data` (text as UTF-8) where `path` is, all or nothing; it is on the disk when this returns.

    A temporary file in the same folder takes the place of the old one only when it is complete; it is removed if
    anything fails. A link is followed; a device or pipe is written to directly. Raises OSError that names `path`.
    """
    target = os.path.realpath(path)
    content = data.encode() if isinstance(data, str) else data
    try:
        if os.path.exists(target) and not os.path.isfile(target) and not os.path.isdir(target):
            Path(target).write_bytes(content)
        else:
            _replace(target, content)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def _replace(target: str, content: bytes) -> None:
    folder, name = os.path.split(target)
    temp = os.path.join(folder, f".{name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        _write_synced(temp, content)
        if os.path.exists(target):
            os.chmod(temp, stat.S_IMODE(os.stat(target).st_mode))
        os.replace(temp, target)
    except BaseException:  # Ctrl-C too
        if os.path.lexists(temp):
            os.unlink(temp)
        raise
    sync_folder(folder)


def _write_synced(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: str) -> None:
    """Makes the new name last as well; Windows cannot open folders and needs no such step."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
