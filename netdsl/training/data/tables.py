"""Tables of values between commas as a data set: a sample a row, and a column of targets."""

from __future__ import annotations

import csv
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from netdsl.ground.diagnostics import UserError, plain
from netdsl.ground.reading import reading, shown
from netdsl.training.data.arrays import shaped
from netdsl.training.data.labels import read_targets
from netdsl.training.data.parts import Parts
from netdsl.training.data.wanted import Wanted

SUFFIXES = (".csv", ".tsv")
TARGETS = ("label", "labels", "class", "target", "targets", "y")  # names of the column, in small letters
DELIMITERS = ",;\t|"
MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-")
MAX_BYTES = 2**30  # of a file: about 100 million numbers
MAX_COLUMNS = 100_000
MAX_SHOWN = 30  # characters of a cell in a message

Row = tuple[int, list[str]]  # the line of the file that it ends on, counted from 1, and its cells


def table_parts(path: Path, want: Wanted) -> Parts:
    """The rows of a table as samples (N, D) float32, brought to the network's shape as those of a `.npz`.

    The targets are the column called `label`, `class`, `target` or `y`, else the last one: words and whole numbers are
    labels, other numbers targets. A first row without a number, or with such a name, is a header. Raises UserError.
    """
    with reading(path):
        size = os.path.getsize(path)
        if size > MAX_BYTES:
            text = f"{shown(path)} has {size} bytes, the limit of a table is {MAX_BYTES}"
            raise UserError(text, help="save it as a .npz: np.savez(file, x=..., y=...)")
        with open(path, encoding=_encoding(path), newline="") as file:
            x, y, notes = _read(path, file)
    samples, more = shaped(path, {"train": "x"}, {"train": x}, want)
    targets = read_targets(path, {"train": "y"}, {"train": y}, want)
    return Parts(samples, targets.parts, targets.classes, (*notes, *more, *targets.notes))


def _encoding(path: Path) -> str:
    """UTF-16 where the file begins with its mark, else UTF-8."""
    with open(path, "rb") as file:
        return "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _read(path: Path, file: TextIO) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """-> x (N, D) float32, y (N,) words, whole numbers or floats, and notes."""
    try:
        delimiter, rows = _rows(path, file)
        header, first = _header(path, rows)
        table = _Table(path, header or [], len(first[1]), delimiter == ";")
        kept = [table.values(*row) for row in itertools.chain([first], rows)]
    except UnicodeDecodeError as error:
        text = f"{shown(path)} is not UTF-8: it has the byte 0x{error.object[error.start]:02x}"
        raise UserError(text, help="save it as UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{shown(path)} is no table: {plain(str(error))}", help="save it as CSV in UTF-8") from None
    x, y = np.stack([numbers for numbers, _ in kept]), _typed([target for _, target in kept])
    notes = table.notes()
    if header and header[0] == "" and x.shape[1] > 1 and np.array_equal(x[:, 0], np.arange(len(x))):
        x, notes = x[:, 1:], (*notes, f"the first column of {shown(path)} counts the rows: not used")
    return x, y, notes


def _rows(path: Path, file: TextIO) -> tuple[str, Iterator[Row]]:
    """The delimiter, of which the first row has most, and the rows that are not blank."""
    start = file.readline(2**20)
    file.seek(0)
    delimiter = max(DELIMITERS, key=start.count)
    if delimiter not in start:
        text = f"{shown(path)} has one column, expected numbers and a column of targets"
        raise UserError(text, help="columns are separated by a comma, semicolon, tab or `|`")
    reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True, strict=True)
    return delimiter, ((reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells))


def _header(path: Path, rows: Iterator[Row]) -> tuple[list[str] | None, Row]:
    """-> the header, if there is one, and the first row behind it. Raises UserError where there is none."""
    first = next(rows, None)
    header = None
    if first and is_header(first[1]):
        header, first = [name.strip() for name in first[1]], next(rows, None)
    if first is None:
        raise UserError(f"{shown(path)} has no rows of numbers", help="a table has a row for each sample")
    if len(first[1]) > MAX_COLUMNS:
        raise UserError(f"{shown(path)} has {len(first[1])} columns, the limit is {MAX_COLUMNS}")
    return header, first


def is_header(cells: Sequence[str]) -> bool:
    """Whether the first row holds names: no number, or the name of a column of targets."""
    return not any(map(_is_number, cells)) or bool(_named_target(cells))


def _named_target(header: Sequence[str]) -> list[int]:
    """Which columns have a name of targets."""
    return [i for i, name in enumerate(header) if name.strip().lower() in TARGETS]


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell.replace(",", ".", 1)))
    except ValueError:
        return False


class _Table:
    """Reads the rows of a table alike; what is wrong with a cell is said with its line and column."""

    def __init__(self, path: Path, header: Sequence[str], width: int, has_decimal_commas: bool) -> None:
        self.path, self.header, self.width, self.has_decimal_commas = path, header, width, has_decimal_commas
        named = _named_target(header)
        if len(named) > 1:
            both = " and ".join(self.column(i) for i in named[:2])
            raise UserError(f"{shown(path)} has the columns {both}, and either may be the targets", "leave one out")
        self.is_named, self.target = bool(named), named[0] if named else width - 1

    def column(self, i: int) -> str:
        """What a column is called in a message."""
        name = self.header[i][:MAX_SHOWN] if i < len(self.header) else ""
        return f"`{plain(name)}`" if name else f"{i + 1}"

    def notes(self) -> tuple[str, ...]:
        """Which column was taken, where none says so by its name."""
        if self.is_named:
            return ()
        names = "a column called `label` or `target` would be taken"
        return (f"the targets of {shown(self.path)} are its last column, {self.column(self.target)}: {names}",)

    def values(self, line: int, cells: list[str]) -> tuple[np.ndarray, str]:
        """-> the numbers (D,) float32 of a row, and its target as it stands there. Raises UserError."""
        width = len(self.header) or self.width
        if len(cells) != width:
            text = f"line {line} of {shown(self.path)} has {len(cells)} cells, expected {width}"
            raise UserError(text, help="every row has as many cells as the first one")
        target = cells.pop(self.target).strip()
        if target.lower() in MISSING:
            raise self._bad(line, self.target, target)
        try:
            read = [float(cell) for cell in cells]
        except ValueError:
            read = [self._number(line, i, cell) for i, cell in enumerate(cells)]
        with np.errstate(over="ignore"):
            numbers = np.array(read, np.float32)
        if not np.isfinite(numbers).all():
            i = int(np.argmin(np.isfinite(numbers)))
            raise self._bad(line, i + (i >= self.target), cells[i])
        return numbers, target

    def _number(self, line: int, i: int, cell: str) -> float:
        try:
            return float(cell.replace(",", ".") if self.has_decimal_commas else cell)
        except ValueError:
            raise self._bad(line, i + (i >= self.target), cell) from None

    def _bad(self, line: int, column: int, cell: str) -> UserError:
        cell, where = cell.strip(), f"line {line}, column {self.column(column)} of {shown(self.path)}"
        if cell.lower() in MISSING:
            return UserError(f"{where} is missing", help="fill it in, or leave the row or the column out")
        text = f"{where} is `{plain(cell[:MAX_SHOWN])}`, expected a number"
        return UserError(text, help="leave the column out, or give each of its words a number")


def _typed(cells: list[str]) -> np.ndarray:
    """(N,) int64 where all are whole numbers, float64 where all are numbers, else words."""
    for kind in (np.int64, np.float64):
        try:
            return np.array([int(cell) if kind is np.int64 else float(cell) for cell in cells], kind)
        except (ValueError, OverflowError):
            continue
    return np.array(cells)
