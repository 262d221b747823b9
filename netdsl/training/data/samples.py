"""Samples to predict, from files: arrays of `.npz` and `.npy`, rows or windows of `.csv`. Images are read in images.py.

What is read here needs no targets; where a table has them they are left out.
"""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import numpy as np

from netdsl.graph.types import Tensor, show_sizes
from netdsl.ground.diagnostics import UserError, plain
from netdsl.ground.reading import reading, shown
from netdsl.training.data.arrays import shaped
from netdsl.training.data.id_arrays import id_rows
from netdsl.training.data.images import fitted_bytes
from netdsl.training.data.npz import npz_names, read_npz
from netdsl.training.data.signal_tables import are_samples, read_windows
from netdsl.training.data.tables import DELIMITERS, MAX_BYTES, is_header, named_columns
from netdsl.training.data.tables import SUFFIXES as TABLES
from netdsl.training.data.tables import TARGETS as NAMES
from netdsl.training.data.wanted import Wanted

SUFFIXES = (".npz", ".npy", *TABLES)
INPUTS = (
    "x",
    "x_test",
    "test_images",
    "images",
    "data",
    "inputs",
    "features",
    "samples",
    "arr_0",
)  # the first one wins


def read_samples(path: Path, want: Wanted) -> tuple[np.ndarray, list[int], tuple[str, ...]]:
    """-> x (N, *sizes) uint8, float32 or whole numbers as the network takes it, the rows of the file that they stand in
    or begin with, and notes on what was left out or moved; images come to its size by `want.fit`.

    Raises UserError.
    """
    assert want.takes is not None
    takes, fit = want.takes, want.fit
    if path.suffix.lower() in TABLES and want.takes_series and not are_samples(path, want):
        return read_windows(path, want)
    x, notes = _samples(path, takes, fit, want)
    return x, list(range(len(x))), notes


def _samples(path: Path, takes: Tensor, fit: str | None, want: Wanted) -> tuple[np.ndarray, tuple[str, ...]]:
    suffix, shape = path.suffix.lower(), takes.sizes
    notes: tuple[str, ...] = ()
    if suffix == ".npz":
        x = _from_npz(path)
    elif suffix == ".npy":
        with reading(path):
            x = np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    else:
        x, notes = _from_table(path, takes.size, want)
    if takes.is_ids and x.size:
        return np.asarray(id_rows(path, "x", x[None] if x.shape == shape else x, takes)), notes
    if x.dtype.kind not in "iufb" or not x.size:
        what = f"dtype {x.dtype}" if x.size else "no samples"
        raise UserError(f"{shown(path)} has {what}, expected numbers of N x {show_sizes(shape)}")
    x = x[None] if x.shape == shape else x
    if x.ndim < 2:
        x = x[:, None]
    parts, more = shaped(path, {"train": "x"}, {"train": x}, Wanted(takes))
    x = np.asarray(parts["train"])
    if fit and x.dtype == np.uint8 and x.ndim == 4 and x.shape[1] in (1, 3) and x.shape[1:] != shape:
        more = (*more, f"the images of {shown(path)} are {show_sizes(x.shape[1:])}: brought to {show_sizes(shape)}")
        x = fitted_bytes(x, shape, fit)
    if x.shape[1:] != shape:
        text = f"the samples of {shown(path)} are {show_sizes(x.shape[1:])}, but the network takes {show_sizes(shape)}"
        raise UserError(text, help=f"save an array of N x {show_sizes(shape)}")
    return x, (*notes, *more)


def _from_npz(path: Path) -> np.ndarray:
    held = {name.lower(): name for name in npz_names(path)}
    name = next((held[name] for name in INPUTS if name in held), None)
    if name is None and len(held) == 1:
        (name,) = held.values()
    if name is None:
        some = ", ".join(f"`{plain(name)}`" for name in list(held.values())[:8]) or "nothing"
        raise UserError(f"{shown(path)} has no array `x`; it holds {some}", help="use np.savez(file, x=...)")
    return read_npz(path, (name,))[name]


def _from_table(path: Path, count: int, want: Wanted) -> tuple[np.ndarray, tuple[str, ...]]:
    """The rows of a table with `count` inputs; further columns are left out: targets by their name, else the last."""
    head, rows = _cells(path)
    width = len(rows[0])
    keep, gone = list(named_columns(path, [name.strip() for name in head], want)) or list(range(width)), []
    if len(keep) > count and head and head[0].strip() in ("", "index"):
        keep.remove(0)
    if len(keep) == count + 1:
        named = [i for i in keep if i < len(head) and head[i].strip().lower() in NAMES]
        gone = [named[-1] if named else keep[-1]]
        keep.remove(gone[0])
    if len(keep) != count:
        text = f"{shown(path)} has {width} columns, but the network takes {count} numbers a sample"
        raise UserError(text, help=f"keep {count} columns, in the order of training")
    x = np.empty((len(rows), count), np.float64)
    for i, row in enumerate(rows):
        wrong = next((row[k] for k in keep if k < len(row) and not _is_number(row[k])), None)
        if wrong is not None or len(row) != width:
            what = f"`{plain(wrong[:40])}`" if wrong is not None and len(row) == width else f"{len(row)} columns"
            raise UserError(f"row {i + 1 + bool(head)} of {shown(path)} has {what}, expected {width} numbers")
        x[i] = [float(row[k]) for k in keep]
    column = [f"`{plain(head[i])}`" if i < len(head) else str(i + 1) for i in gone]
    return x, tuple(f"column {name} of {shown(path)} is left out: the network takes {count}" for name in column)


def _cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """The header, if there is one, and the rows that are not blank."""
    with reading(path):
        if os.path.getsize(path) > MAX_BYTES:
            raise UserError(f"{shown(path)} has more than {MAX_BYTES} bytes, the limit of a table")
        raw = path.read_bytes()
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
        delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
        try:
            rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        except csv.Error as error:
            raise ValueError(str(error)) from None
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if delimiter == ";":  # numbers may have a decimal comma
        rows = [[cell.replace(",", ".") for cell in row] for row in rows]
    head = rows.pop(0) if rows and is_header(rows[0]) else []
    if not rows:
        raise UserError(f"{shown(path)} has no rows of numbers")
    return head, rows


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
