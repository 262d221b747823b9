"""Arrays of whole numbers that a network looks up, and what follows each of them where no labels stand beside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.ground.diagnostics import UserError, plain
from netdsl.ground.reading import shown
from netdsl.training.data.labels import Targets, read_targets
from netdsl.training.data.limits import MAX_CLASSES
from netdsl.training.data.parts import Parts
from netdsl.training.data.stored import PIECE, Samples, Stored, marks
from netdsl.training.data.wanted import Wanted


class IdRows(Stored):
    """The numbers (N, T) int64 of an array (N, ...) of any kind of whole numbers, of each row those from `start` on,
    all from 0 to limit - 1. What is in memory is looked through once, what is not when it is read. Raises UserError.

    where: what the array is called in a message.
    """

    def __init__(self, base: Samples, where: str, takes: Tensor, start: int = 0) -> None:
        self.base, self.where, self.takes, self.start = base, where, takes, start
        self.is_ready = not isinstance(base, Stored) or base.is_ready
        self.is_checked = False
        self.shape, self.dtype = (len(base), takes.length), np.dtype(np.int64)
        if not isinstance(base, Stored):
            size = max(1, PIECE // takes.length)
            for begin in range(0, len(base), size):
                self.read(np.arange(begin, min(begin + size, len(base))))
            self.is_checked = True

    def read(self, rows: np.ndarray) -> np.ndarray:
        ids = np.asarray(self.base[rows][:, self.start : self.start + self.takes.length])
        if not self.is_checked and ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < self.takes.limit:
            self._refuse(ids, rows)
        return ids.astype(np.int64)

    def _refuse(self, ids: np.ndarray, rows: np.ndarray) -> None:
        row, column = np.argwhere((ids < 0) | (ids >= self.takes.limit))[0].tolist()
        number, limit = int(ids[row, column]), self.takes.limit
        text = f"number {column + self.start} of row {int(rows[row])} of {self.where} is {number}"
        more = f"begin the spec with `input {self.takes.length} of {number + 1}`" if number > 0 else "they count from 0"
        raise UserError(f"{text}, expected 0 to {limit - 1}", help=more)

    def marks(self) -> Iterator[bytes | memoryview]:
        yield f"{self.start}\n".encode()
        if not self.start:  # else it is what follows the same numbers
            yield from marks(self.base)


def id_rows(path: Path, name: str, a: Samples, takes: Tensor, follows: bool = False) -> IdRows:
    """The array of that name as a network takes it; follows: a row has one number more, which follows the others.
    Raises UserError."""
    where, length = f"`{plain(name)}` of {shown(path)}", takes.length + follows
    if a.dtype.kind not in "iu":
        text = f"the numbers {where} are {a.dtype}, but the network takes whole numbers, {takes.show_type()}"
        raise UserError(text, help="use x.astype(np.int32)")
    if a.ndim != 2 or a.shape[1] != length:
        sizes = "x".join(map(str, a.shape[1:])) or "one number"
        text = f"the samples {where} are {sizes}, but the network takes {takes.length} numbers"
        if follows:
            text = f"{text}, and without labels `y` one more that follows"
        raise UserError(text, help=f"save an array of N x {length}" + (", or labels `y` beside it" if follows else ""))
    return IdRows(a, where, takes)


def id_parts(
    path: Path, inputs: Mapping[str, str], x: Mapping[str, Samples], targets: Targets | None, want: Wanted
) -> Parts:
    """Samples (N, T) of whole numbers with their targets; without such the number that follows each of T + 1 is its
    label, where the network gives one class the last number. Raises UserError."""
    assert want.takes is not None and want.takes.is_ids
    takes = want.takes
    rows = {part: id_rows(path, inputs[part], a, takes, targets is None) for part, a in x.items()}
    notes = want.unused("arrays")
    if targets is not None:
        return Parts(rows, targets.parts, targets.classes, (*notes, *targets.notes), limit=takes.limit)
    if not want.needs_labels:
        text = f"{shown(path)} has no targets `y`, and what follows a number is a class"
        raise UserError(f"{text}, which the loss `{want.loss}` cannot take", help="add y=..., or use `--loss ce`")
    is_known = len(want.names) == takes.limit  # to a run, whose characters these are the numbers of
    classes = want.names if is_known else tuple(map(str, range(takes.limit)))
    if want.mask_axes == 1:
        next_ones = {part: IdRows(a, rows[part].where, takes, start=1) for part, a in x.items()}
        text = f"{shown(path)} has no labels `y`: the label of a number is the one that follows it"
        return Parts(rows, next_ones, classes, (*notes, text), limit=takes.limit)
    if takes.limit > MAX_CLASSES:
        raise UserError(
            f"{takes.show_type()} has {takes.limit} different numbers, the limit of classes is {MAX_CLASSES}"
        )
    ends = {part: np.asarray(a[:, takes.length]) for part, a in x.items() if not isinstance(a, Stored)}
    if len(ends) < len(x):
        raise UserError(f"{shown(path)} has no labels `y`", help="add `y.npy`, the number that follows each row")
    last = read_targets(path, inputs, ends, want)
    text = f"{shown(path)} has no labels `y`: the label of a row is its last number"
    return Parts(rows, last.parts, last.classes, (*notes, text), limit=takes.limit)
