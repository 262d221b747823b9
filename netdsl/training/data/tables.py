"""Tables of values between commas as a data set: a sample a row, and a column of targets."""

from __future__ import annotations

import csv
import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
MAX_NAMES = 12  # columns named in a message

Row = tuple[int, list[str]]  # the line of the file that it ends on, counted from 1, and its cells


@dataclass(frozen=True)
class Roles:
    """What the columns of a table are, by their places from 0: numbers, but for the target (None: there is none), the
    names of groups of rows, and what is not used. notes: what was chosen, in words. numbers: those in their order,
    where they were named; the target may be among them."""

    target: int | None = None
    groups: tuple[int, ...] = ()
    unused: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Table:
    """The rows of a table: x (N, D) float32, y (N,) words, whole numbers or floats, None without a target; of each row
    the names of its groups; and notes. gives_target: the name of the target where x has it, too."""

    x: np.ndarray
    y: np.ndarray | None
    groups: Sequence[tuple[str, ...]]
    notes: tuple[str, ...]
    gives_target: str = ""


Chooser = Callable[[list[str], int], Roles]
"""(header, [] where there is none; the number of columns) -> what the columns are. Raises UserError."""


def table_parts(path: Path, want: Wanted) -> Parts:
    """The rows of a table as samples (N, D) float32, brought to the network's shape as those of a `.npz`.

    The targets are the column that `label=` names, else the one called `label`, `class`, `target` or `y`, else the last
    one: words and whole numbers are labels, other numbers targets. A first row without a number, or with such a name,
    is a header. Raises UserError.
    """
    table = read_table(path, lambda header, width: _roles(path, header, width, want), want.label)
    x, y, notes = table.x, table.y, table.notes
    assert y is not None, path
    refuse_target(path, table)
    samples, more = shaped(path, {"train": "x"}, {"train": x}, want)
    targets = read_targets(path, {"train": "y"}, {"train": y}, want)
    unused = want.unused("tables with a row a sample", "label", "columns")
    return Parts(samples, targets.parts, targets.classes, (*notes, *more, *targets.notes, *unused))


def _roles(path: Path, header: list[str], width: int, want: Wanted) -> Roles:
    target, numbers = target_column(path, header, want.label), named_columns(path, header, want)
    if numbers and target is None:
        text = f"{shown(path)} has no column called `label` or `target`"
        raise UserError(text, help="name the one of the targets: `label=...` behind the path")
    if target is not None:
        return Roles(target, unused=_others(width, numbers, target), numbers=numbers)
    names = "a column called `label` or `target` would be taken"
    text = f"the targets of {shown(path)} are its last column, {column_text(header, width - 1)}: {names}"
    return Roles(width - 1, notes=(text,))


def _others(width: int, numbers: Sequence[int], target: int | None) -> tuple[int, ...]:
    """The columns that nobody named, where some are."""
    return tuple(i for i in range(width) if numbers and i not in numbers and i != target)


def refuse_target(path: Path, table: Table) -> None:
    """Raises UserError where the target of a row is one of its own numbers."""
    if table.gives_target:
        text = f"the column `{plain(table.gives_target)}` of {shown(path)} is the label, and one of `columns`, too"
        help_text = "leave it out of `columns`; a series, `input 24x3`, then learns the label of the next row"
        raise UserError(text, help=help_text)


def named_columns(path: Path, header: Sequence[str], want: Wanted) -> tuple[int, ...]:
    """The places of the columns that `columns="a, b"` names, in its order; none where it is not there. Raises
    UserError."""
    names = [name.strip() for name in want.options.get("columns", "").split(",")]
    if "columns" not in want.options:
        return ()
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None or not all(names):
        what = f"names `{plain(twice)}` twice" if twice else "has a name without a letter"
        raise UserError(f"`columns` {what}", help='write them between commas: `columns="temp, hour"`')
    return tuple(named_column(path, header, name) for name in names)


def target_column(path: Path, header: Sequence[str], label: str | None) -> int | None:
    """Which column is called so, or as targets are called; None: none. Raises UserError where that is not clear."""
    if label is not None:
        return named_column(path, header, label)
    named = _named_target(header)
    if len(named) > 1:
        both = " and ".join(column_text(header, i) for i in named[:2])
        help_text = f"leave one out, or name it: `label={plain(header[named[0]])}` behind the path"
        raise UserError(f"{shown(path)} has the columns {both}, and either may be the targets", help_text)
    return named[0] if named else None


def named_column(path: Path, header: Sequence[str], name: str) -> int:
    """The column of that name. Raises UserError where there is none."""
    if name in header:
        return header.index(name)
    held = ", ".join(column_text(header, i) for i in range(min(len(header), MAX_NAMES))) or "no header"
    text = f"{shown(path)} has no column `{plain(name[:MAX_SHOWN])}`"
    raise UserError(text, help=f"it has {held}{', ...' * (len(header) > MAX_NAMES)}")


def column_text(header: Sequence[str], i: int) -> str:
    """What a column is called in a message."""
    name = header[i][:MAX_SHOWN] if i < len(header) else ""
    return f"`{plain(name)}`" if name else f"{i + 1}"


def columns_of(path: Path, label: str | None = None) -> tuple[list[str], int]:
    """-> the header, [] where there is none, and the number of columns. Raises UserError."""
    with reading(path), open(path, encoding=_encoding(path), newline="") as file, _decoding(path):
        header, first = _header(path, _rows(path, file)[1], label)
    return header or [], len(header or first[1])


def read_table(path: Path, choose: Chooser, label: str | None = None) -> Table:
    """The rows of a table whose columns are what `choose` says; label: a name that makes the first row a header.
    Raises UserError."""
    with reading(path):
        size = os.path.getsize(path)
        if size > MAX_BYTES:
            text = f"{shown(path)} has {size} bytes, the limit of a table is {MAX_BYTES}"
            raise UserError(text, help="save it as a .npz: np.savez(file, x=..., y=...)")
        with open(path, encoding=_encoding(path), newline="") as file:
            return _read(path, file, choose, label)


def _encoding(path: Path) -> str:
    """UTF-16 where the file begins with its mark, else UTF-8."""
    with open(path, "rb") as file:
        return "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _read(path: Path, file: TextIO, choose: Chooser, label: str | None) -> Table:
    with _decoding(path):
        delimiter, rows = _rows(path, file)
        header, first = _header(path, rows, label)
        width = len(header or first[1])
        reader = _Reader(path, header or [], width, choose(header or [], width), delimiter == ";")
        with np.errstate(over="ignore"):  # once: in each row it would take a fifth of the time
            kept = [reader.values(*row) for row in itertools.chain([first], rows)]
    x, roles, notes = np.stack([numbers for numbers, _, _ in kept]), reader.roles, reader.roles.notes
    y = None if roles.target is None else _typed([target for _, target, _ in kept])
    counts = header and header[0] == "" and x.shape[1] > 1 and 0 in reader.numbers and not roles.numbers
    if counts and np.array_equal(x[:, 0], np.arange(len(x))):
        x, notes = x[:, 1:], (*notes, f"the first column of {shown(path)} counts the rows: not used")
    is_given = bool(header) and roles.target is not None and roles.target in roles.numbers
    gives = header[roles.target] if is_given and header and roles.target is not None else ""
    return Table(x, y, [groups for _, _, groups in kept], notes, gives)


@contextmanager
def _decoding(path: Path) -> Iterator[None]:
    """Turns what is said about files that are no tables of text into a UserError."""
    try:
        yield
    except UnicodeDecodeError as error:
        text = f"{shown(path)} is not UTF-8: it has the byte 0x{error.object[error.start]:02x}"
        raise UserError(text, help="save it as UTF-8") from None
    except csv.Error as error:
        raise UserError(f"{shown(path)} is no table: {plain(str(error))}", help="save it as CSV in UTF-8") from None


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


def _header(path: Path, rows: Iterator[Row], label: str | None) -> tuple[list[str] | None, Row]:
    """-> the header, if there is one, and the first row behind it. Raises UserError where there is none."""
    first = next(rows, None)
    header = None
    if first and (is_header(first[1]) or label in [cell.strip() for cell in first[1]]):
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


class _Reader:
    """Reads the rows of a table alike; what is wrong with a cell is said with its line and column."""

    def __init__(self, path: Path, header: Sequence[str], width: int, roles: Roles, has_decimal_commas: bool) -> None:
        self.path, self.header, self.width, self.roles = path, header, width, roles
        self.has_decimal_commas = has_decimal_commas
        others = {roles.target, *roles.groups, *roles.unused}
        self.numbers = list(roles.numbers) or [i for i in range(width) if i not in others]

    def values(self, line: int, cells: list[str]) -> tuple[np.ndarray, str, tuple[str, ...]]:
        """-> the numbers (D,) float32 of a row, its target as it stands there, and its groups. Raises UserError."""
        if len(cells) != self.width:
            text = f"line {line} of {shown(self.path)} has {len(cells)} cells, expected {self.width}"
            raise UserError(text, help="every row has as many cells as the first one")
        target = "" if self.roles.target is None else cells[self.roles.target].strip()
        if self.roles.target is not None and target.lower() in MISSING:
            raise self._bad(line, self.roles.target, target)
        try:
            read = [float(cells[i]) for i in self.numbers]
        except ValueError:
            read = [self._number(line, i, cells[i]) for i in self.numbers]
        numbers = np.array(read, np.float32)
        if not np.isfinite(numbers).all():
            i = self.numbers[int(np.argmin(np.isfinite(numbers)))]
            raise self._bad(line, i, cells[i])
        return numbers, target, tuple(cells[i].strip() for i in self.roles.groups)

    def _number(self, line: int, i: int, cell: str) -> float:
        try:
            return float(cell.replace(",", ".") if self.has_decimal_commas else cell)
        except ValueError:
            raise self._bad(line, i, cell) from None

    def _bad(self, line: int, i: int, cell: str) -> UserError:
        cell, where = cell.strip(), f"line {line}, column {column_text(self.header, i)} of {shown(self.path)}"
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
