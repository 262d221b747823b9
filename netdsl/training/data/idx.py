"""Binary data files, read with distrust: IDX (MNIST), the CIFAR-10 binary format and NumPy's `.npz`.

Nothing here is read past the size that a header declares and a limit allows, nothing is unpickled,
and whatever is wrong with a file becomes one `UserError` that names it.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import stat
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from netdsl.ground.diagnostics import UserError, plain

MAX_BYTES = 4 * 2**30  # of all arrays of one data set
MAX_DEFLATE_RATIO = 1032  # bytes out for a byte in; deflate cannot do better (zlib's technical notes)
CIFAR_SHAPE = (3, 32, 32)
CIFAR_MAX_IMAGES = 10_000  # in one file
MAX_CLASSES = 5_000  # their confusion matrix takes 200 MB

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


def shown(path: Path | str) -> str:
    """The path in backticks, on one line whatever its name holds."""
    return f"`{plain(str(path))}`"


def size_text(shape: Sequence[int]) -> str:
    """`1x28x28` of (1, 28, 28)."""
    return "x".join(str(s) for s in shape)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns every failure to open or decode `path` into a `UserError`. Folders, pipes and devices are refused first."""
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            kind = "folder" if stat.S_ISDIR(mode) else "device or pipe"
            raise UserError(f"cannot read {shown(path)}: it is a {kind}, not a file")
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


@contextmanager
def _unzipped(path: Path) -> Iterator[gzip.GzipFile | io.BufferedReader]:
    """The file's bytes, through gzip if it begins so (whatever its name), decompressed only as far as they are read."""
    with reading(path):
        with open(path, "rb") as file:
            is_zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if is_zipped else open(path, "rb") as file:
            yield file


def read_idx(path: Path, item_shape: tuple[int, ...], max_items: int) -> np.ndarray:
    """-> (N, *item_shape) uint8 of an IDX file, 1 <= N <= max_items.

    The format (LeCun's MNIST page) is big-endian: the magic bytes 0, 0, 8 (for uint8) and the number of axes;
    a 32-bit size per axis; the data.
    """
    header = struct.Struct(f">{2 + len(item_shape)}I")
    with _unzipped(path) as file:
        head = file.read(header.size)
        if len(head) < header.size:
            raise UserError(f"{shown(path)} is truncated: it has {len(head)} bytes, the header alone has {header.size}")
        magic, count, *sizes = header.unpack(head)
        _check_idx_header(path, magic, count, tuple(sizes), item_shape, max_items)
        expected = count * math.prod(item_shape)
        body = file.read(expected + 1)
    if len(body) < expected:
        raise UserError(f"{shown(path)} is truncated: it has {len(body)} bytes of data, its header says {expected}")
    if len(body) > expected:
        raise UserError(f"{shown(path)} has more than the {expected} bytes of data that its header says")
    return np.frombuffer(body, np.uint8).reshape(count, *item_shape).copy()


def _check_idx_header(
    path: Path, magic: int, count: int, sizes: tuple[int, ...], item_shape: tuple[int, ...], max_items: int
) -> None:
    expected = 0x0800 + 1 + len(item_shape)
    if magic != expected:
        kind = "images" if item_shape else "labels"
        both = f"it starts with 0x{magic:08x}, expected 0x{expected:08x}"
        raise UserError(f"{shown(path)} is not an IDX file of {kind}: {both}")
    if sizes != item_shape:
        raise UserError(f"{shown(path)} has images of {size_text(sizes)} pixels, expected {size_text(item_shape)}")
    if not 1 <= count <= max_items:
        raise UserError(f"{shown(path)} declares {count} items, expected 1 to {max_items}")


def read_cifar(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """-> x (N, 3, 32, 32) uint8, y (N,) int64 of a CIFAR-10 `.bin` file: a label byte, then the R, G, B planes."""
    record = 1 + math.prod(CIFAR_SHAPE)
    limit = CIFAR_MAX_IMAGES * record
    with _unzipped(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise UserError(f"{shown(path)} has more than {limit} bytes, the size of {CIFAR_MAX_IMAGES} images")
    if not data or len(data) % record:
        raise UserError(f"{shown(path)} has {len(data)} bytes, which is not a number of {record}-byte records")
    records = np.frombuffer(data, np.uint8).reshape(-1, record)
    return records[:, 1:].reshape(-1, *CIFAR_SHAPE).copy(), check_labels(path, records[:, 0], 10)


def check_labels(path: Path, labels: np.ndarray, classes: int) -> np.ndarray:
    """(N,) of any integer type -> (N,) int64, all of them 0 to classes - 1."""
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise UserError(f"{shown(path)} has the label {low if low < 0 else high}, expected 0 to {classes - 1}")
    return labels.astype(np.int64)


def read_npz(path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """The named arrays of a `.npz`, numbers in native byte order; those of `optional` that are missing are left out.

    Sizes are compared (npy header, zip listing, packed bytes, `MAX_BYTES`) before anything is allocated.
    """
    with reading(path), warnings.catch_warnings(), zipfile.ZipFile(path) as archive:
        warnings.simplefilter("ignore")  # numpy's about headers written by Python 2
        members = _members(path, archive, required, optional)
        for name, info in members.items():
            _check_member(path, archive, name, info)
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
    found = {name: archive.getinfo(f"{name}.npy") for name in (*required, *optional) if counts[f"{name}.npy"]}
    for name in required:
        if name not in found:
            held = ", ".join(f"`{plain(n.removesuffix('.npy'))}`" for n in sorted(counts)[:10]) or "nothing"
            raise UserError(
                f"{shown(path)} has no array `{name}`; it holds {held}", help="use np.savez(file, x=..., y=...)"
            )
    for name in found:
        if counts[f"{name}.npy"] > 1:
            raise UserError(f"{shown(path)} holds the array `{name}` {counts[f'{name}.npy']} times")
    total = sum(info.file_size for info in found.values())
    if total > MAX_BYTES:
        raise UserError(f"{shown(path)} unpacks to {total} bytes, the limit is {MAX_BYTES}")
    return found


def _check_member(path: Path, archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo) -> None:
    """Raises unless the array is of numbers and as large as its npy header says."""
    where = f"the array `{name}` of {shown(path)}"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(f"{where} is packed by method {info.compress_type}, expected 0 (stored) or 8 (deflate)")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):  # 2.0 is for records with long names; its header may have 4 GiB
            raise UserError(f"{where} has npy version {version[0]}.{version[1]}, expected 1.0")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        held = info.file_size - file.tell()
    if dtype.hasobject:
        raise UserError(
            f"{where} holds Python objects, expected numbers",
            help="pickled data can run code; save numbers, or words by y.astype(str)",
        )
    if dtype.kind not in "iufbUS":
        raise UserError(f"{where} has dtype {dtype}, expected integers or floats")
    declared = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or declared != held:
        raise UserError(f"{where} is damaged: its shape {shape} takes {declared} bytes, the file holds {held}")
    if info.file_size > info.compress_size * MAX_DEFLATE_RATIO + 1024:
        raise UserError(f"{where} is damaged: {info.compress_size} packed bytes cannot hold {info.file_size}")


def sample_text(a: np.ndarray) -> str:
    """`1x28x28 uint8` of an array (N, 1, 28, 28)."""
    return f"{size_text(a.shape[1:])} {a.dtype}".strip()
