"""Files of others, opened with distrust: whatever is wrong with one becomes one `UserError` that names it."""

from __future__ import annotations

import os
import stat
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netdsl.ground.diagnostics import UserError, plain

# what the decoders of gzip, zip, npy and Pillow raise on damaged bytes
DAMAGE = (
    EOFError,
    zlib.error,
    zipfile.BadZipFile,
    struct.error,
    tokenize.TokenError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    SyntaxError,
    ArithmeticError,
    RuntimeError,
)


def shown(path: object) -> str:
    """The path, or what else a file is called, in backticks, on one line whatever its name holds."""
    return f"`{plain(str(path))}`"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns every failure to open or decode `path` into a `UserError`. Folders, pipes and devices are refused first."""
    with parsing(path):
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            kind = "folder" if stat.S_ISDIR(mode) else "device or pipe"
            raise UserError(f"cannot read {shown(path)}: it is a {kind}, not a file")
        yield


@contextmanager
def parsing(path: Path | str) -> Iterator[None]:
    """Turns every failure to decode what is called `path`, a file or what lies in one, into a `UserError`."""
    try:
        yield
    except MemoryError:
        raise UserError(f"cannot read {shown(path)}: it does not fit into memory") from None
    except OSError as error:
        raise UserError(f"cannot read {shown(path)}: {_reason(error)}") from None
    except DAMAGE as error:
        raise UserError(f"{shown(path)} is damaged: {_reason(error)}", help="fetch or write the file again") from None


def _reason(error: BaseException) -> str:
    text = (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split()) or type(error).__name__
    return plain(text[:1].lower() + text[1:200])
