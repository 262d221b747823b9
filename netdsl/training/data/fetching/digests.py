"""SHA-256 of files, as they are and as they unpack, in bounded memory."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

CHUNK = 2**20  # bytes read at once


def pieces(file: IO[bytes] | gzip.GzipFile, most: int | None = None) -> Iterator[bytes]:
    """The bytes of a file, at most so many of them."""
    left = most
    while chunk := file.read(CHUNK if left is None else min(CHUNK, left)):
        yield chunk
        left = None if left is None else left - len(chunk)


def file_digest(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_gzip(path: Path) -> bool:
    """Whether a file begins as gzip's do. Raises OSError."""
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def unpacked(path: Path, most: int) -> tuple[str, int] | None:
    """The SHA-256 and the size of what a `.gz` unpacks to; None where that is more than `most` bytes, or damaged.

    Raises OSError.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with gzip.open(path) as file:
            for chunk in pieces(file, most + 1):
                digest.update(chunk)
                size += len(chunk)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return None
    return (digest.hexdigest(), size) if size <= most else None
