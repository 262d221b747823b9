"""Writing files so that a crash, a full disk or Ctrl-C leaves the old file or the new one, never half of one; reading
small ones that a stranger may have written."""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
from math import isfinite
from pathlib import Path

from netdsl.ground.system.disk import open_new, open_to_read, replace, sync, sync_folder

MOST_BYTES = 2**26  # of a file that is read whole as text


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
    temp = os.path.join(folder, temporary_name(name))
    try:
        _write_synced(temp, content)
        if os.path.exists(target):
            os.chmod(temp, stat.S_IMODE(os.stat(target).st_mode))
        replace(temp, target)
    except BaseException:  # Ctrl-C too
        if os.path.lexists(temp):
            os.unlink(temp)
        raise
    sync_folder(folder)


def temporary_name(name: str) -> str:
    """A hidden name beside `name`, of another length than 255 bytes even where every letter takes four."""
    return f".{name[:50]}.{secrets.token_hex(6)}.tmp"


def _write_synced(path: str, content: bytes) -> None:
    descriptor = open_new(path)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        sync(descriptor)
    finally:
        os.close(descriptor)


def read_text(path: Path | str, limit: int = MOST_BYTES) -> str:
    """The UTF-8 text of a file of at most `limit` bytes. Raises OSError, also for a pipe or device, for which it does
    not wait, and ValueError."""
    descriptor = open_to_read(path)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is a folder, a pipe or a device, not a file", os.fspath(path))
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"it has more than {limit:,} bytes")
    return content.decode("utf-8")


def read_json(path: Path | str, limit: int = MOST_BYTES) -> object:
    """What a JSON file says, as `read_text` reads it. Numbers are finite, keys are given once. Raises OSError and
    ValueError."""
    text = read_text(path, limit)
    try:
        return json.loads(text, object_pairs_hook=_once, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"it has the key `{next(key for key in keys if keys.count(key) > 1)[:80]}` twice")
    return values


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text[:80]} is not a finite number")
    return number
