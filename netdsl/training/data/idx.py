"""Binary image files: IDX (MNIST) and the binary format of CIFAR.

Nothing is read past the size that a header declares and a limit allows.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from netdsl.graph.types import show_sizes
from netdsl.ground.diagnostics import UserError
from netdsl.ground.reading import reading, shown
from netdsl.training.data.labels import check_labels

CIFAR_SHAPE = (3, 32, 32)


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
        raise UserError(f"{shown(path)} has images of {show_sizes(sizes)} pixels, expected {show_sizes(item_shape)}")
    if not 1 <= count <= max_items:
        raise UserError(f"{shown(path)} declares {count} items, expected 1 to {max_items}")


def read_cifar(path: Path, label_bytes: int, classes: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """-> x (N, 3, 32, 32) uint8, y (N,) int64 of a CIFAR `.bin` file of at most so many images.

    A record is the labels, of CIFAR-100 the coarse one and the fine one, a byte each, of which the last counts; then
    the R, G, B planes.
    """
    record = label_bytes + math.prod(CIFAR_SHAPE)
    limit = most * record
    with _unzipped(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise UserError(f"{shown(path)} has more than {limit} bytes, the size of {most} images")
    if not data or len(data) % record:
        raise UserError(f"{shown(path)} has {len(data)} bytes, which is not a number of {record}-byte records")
    records = np.frombuffer(data, np.uint8).reshape(-1, record)
    labels = check_labels(path, records[:, label_bytes - 1], classes)
    return records[:, label_bytes:].reshape(-1, *CIFAR_SHAPE).copy(), labels
