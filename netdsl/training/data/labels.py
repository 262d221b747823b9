"""Targets as people store them: labels as numbers, words, one-hot rows or masks, and numbers to come close to."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netdsl.ground.diagnostics import UserError, plain
from netdsl.ground.reading import shown
from netdsl.training.data.limits import MAX_CLASSES
from netdsl.training.data.wanted import Wanted

TABLE = 2**16  # numbers below it are counted and renumbered by a table
PIECE = 2**22  # numbers looked at together, to bound memory
MAX_NAMED = 6  # values in a note
MAX_FLOAT = 2**53  # whole numbers below it are exact in float64
MASKS = {1: "(N, L)", 2: "(N, H, W)", 3: "(N, D, H, W)"}  # by their axes of space
IGNORED = 255  # in masks of PASCAL VOC and Cityscapes: a border that does not count

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Targets:
    """The targets of each part, int64 labels (N,) or masks (N, *space) with `classes`, else float32; what was done."""

    parts: Arrays
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def check_labels(path: Path, labels: np.ndarray, classes: int) -> np.ndarray:
    """(N,) of any integer type -> (N,) int64, all of them 0 to classes - 1."""
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise UserError(f"{shown(path)} has the label {low if low < 0 else high}, expected 0 to {classes - 1}")
    return labels.astype(np.int64)


def read_targets(path: Path, names: Mapping[str, str], parts: Arrays, want: Wanted) -> Targets:
    """The arrays of each part, called `names` in the file, as targets. Raises UserError."""
    parts = {part: _without_single_axes(y, want.mask_axes) for part, y in parts.items()}
    first = next(iter(parts))
    for part, y in parts.items():
        if _kind(y) != _kind(parts[first]) or y.shape[1:] != parts[first].shape[1:]:
            both = f"{_text(parts[first])} and {_text(y)}"
            raise UserError(f"the samples of `{names[first]}` and `{names[part]}` in {shown(path)} differ: {both}")
    kind = _kind(parts[first])
    if kind == "text":
        return _of_words(path, names, parts)
    if kind == "float":
        return _of_floats(path, names, parts, want)
    return _of_whole_numbers(path, names, parts, want, ())


def _kind(y: np.ndarray) -> str:
    return {"U": "text", "S": "text", "f": "float"}.get(y.dtype.kind, "whole")


def _text(y: np.ndarray) -> str:
    return f"{'x'.join(map(str, y.shape[1:])) or 'one'} {y.dtype}"


def _without_single_axes(y: np.ndarray, axes: int) -> np.ndarray:
    """(N, 1) -> (N,), and masks (N, 1, *space) or (N, *space, 1) of so many axes -> (N, *space); floats stay."""
    if y.dtype.kind == "f":
        return y
    if y.dtype.kind == "b":
        y = y.view(np.uint8)
    if y.ndim == 2 + axes and 1 in (y.shape[1], y.shape[-1]):
        return y[:, 0] if y.shape[1] == 1 else y[..., 0]
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y


def class_name(text: str) -> str:
    """The text as the name of a class: in NFC, so that what looks alike is alike; what UTF-8 cannot hold in escapes."""
    raw = text.encode("utf-8", "surrogateescape" if _has_stray_bytes(text) else "backslashreplace")
    name = unicodedata.normalize("NFC", raw.decode("utf-8", "backslashreplace"))
    return "".join(plain(c) if unicodedata.category(c) == "Cc" else c for c in name)


def _has_stray_bytes(text: str) -> bool:
    """Whether lone surrogates stand for bytes that are not UTF-8, as in the names of files."""
    return all("\udc80" <= c <= "\udcff" for c in text if "\ud800" <= c <= "\udfff")


def _of_words(path: Path, names: Mapping[str, str], parts: Arrays) -> Targets:
    """Labels (N,) that are words: a class each, in the order of the alphabet."""
    for part, y in parts.items():
        if y.ndim != 1:
            where = f"the labels `{names[part]}` of {shown(path)}"
            raise UserError(f"{where} have the shape {y.shape}, expected ({len(y)},)")
    words = {part: words_in(path, names[part], y) for part, y in parts.items()}
    classes = sorted({word for part in words.values() for word in part})
    if "" in classes:
        raise UserError(f"{shown(path)} has a label without a letter", help="give every sample the name of its class")
    if len(classes) > MAX_CLASSES:
        raise UserError(f"{shown(path)} has {len(classes)} different labels, the limit is {MAX_CLASSES}")
    places = {name: k for k, name in enumerate(classes)}
    numbers = {part: np.array([places[word] for word in y], np.int64) for part, y in words.items()}
    return Targets(numbers, tuple(classes))


def words_in(path: Path, name: str, y: np.ndarray) -> list[str]:
    """The words of an array as names of classes. Raises UserError for what is no text."""
    if y.dtype.kind == "U" and y.itemsize and y.size and int(y.view(np.uint32).max()) > sys.maxunicode:
        raise UserError(f"{shown(path)} is damaged: `{plain(name)}` has a character that there is not")
    words = [word.decode("utf-8", "surrogateescape") if isinstance(word, bytes) else word for word in y.tolist()]
    return [class_name(word).strip() for word in words]


def _of_floats(path: Path, names: Mapping[str, str], parts: Arrays, want: Wanted) -> Targets:
    """Labels where the loss takes nothing else and all are whole numbers; else float32 targets (N, ...)."""
    is_binary = want.targets == "truth" and want.outputs == 1
    if want.needs_labels or is_binary:
        whole = all(bool(np.all((np.floor(y) == y) & (np.abs(y) < MAX_FLOAT))) for y in parts.values())
        if whole and (not is_binary or all(set(np.unique(y)) <= {0.0, 1.0} for y in parts.values())):
            cast = {part: _without_single_axes(y.astype(np.int64), want.mask_axes) for part, y in parts.items()}
            note = f"the targets of {shown(path)} are whole numbers stored as floats: taken as labels"
            return _of_whole_numbers(path, names, cast, want, (note,))
    targets = {part: finite(path, names[part], y if y.ndim > 1 else y[:, None]) for part, y in parts.items()}
    return Targets(targets)


def _of_whole_numbers(
    path: Path, names: Mapping[str, str], parts: Arrays, want: Wanted, notes: tuple[str, ...]
) -> Targets:
    """Labels (N,), one-hot rows (N, K), masks (N, *space) or one-hot masks (N, K, *space); numbers under `mse`."""
    y, axes = next(iter(parts.values())), want.mask_axes
    are_rows = y.ndim == 2 != 1 + axes  # not masks of signals (N, L)
    is_pair = want.targets == "truth" and want.outputs == 1 and y.shape[1:] == (2,)  # one-hot, for one output
    if want.classes == 0 or (are_rows and want.targets in ("truth", "numbers") and not is_pair):
        note = f"the targets of {shown(path)} are whole numbers: taken as numbers, since the loss is `{want.loss}`"
        numbers = {k: y[:, None] if y.ndim in (1, 1 + axes) else y for k, y in parts.items()}
        return Targets({k: y.astype(np.float32) for k, y in numbers.items()}, (), (*notes, note))
    if are_rows or y.ndim == 2 + axes:
        parts, axis = _of_one_hot(path, names, parts, axes)
        notes = (*notes, f"the labels of {shown(path)} are one-hot along axis {axis}: taken as {y.shape[axis]} classes")
        want_classes = tuple(str(k) for k in range(y.shape[axis]))
        return Targets(parts, want_classes, notes)
    if y.ndim not in (1, 1 + axes):
        where = f"the labels `{next(iter(names.values()))}` of {shown(path)}"
        raise UserError(f"{where} have the shape {y.shape}, expected ({len(y)},), or masks {MASKS[axes]}")
    return numbered(path, parts, want, notes)


def _of_one_hot(path: Path, names: Mapping[str, str], parts: Arrays, axes: int) -> tuple[Arrays, int]:
    """(N, K) -> (N,), (N, K, *space) or (N, *space, K) -> (N, *space), and the axis of the classes.

    Raises UserError."""
    y = next(iter(parts.values()))
    for axis in sorted({1, y.ndim - 1}):
        if all(_is_one_hot(y, axis) for y in parts.values()):
            return {part: y.argmax(axis=axis) for part, y in parts.items()}, axis
    where = f"the labels `{next(iter(names.values()))}` of {shown(path)}"
    expected = f"({len(y)},), or one 1 and else 0 in each row" if y.ndim == 2 else MASKS[axes]
    several = "numbers for each sample are for `--loss mse`, several labels at once for `--loss bce`"
    raise UserError(f"{where} have the shape {y.shape}, expected {expected}", help=several if y.ndim == 2 else "")


def _is_one_hot(y: np.ndarray, axis: int) -> bool:
    return bool(y.min() >= 0 and y.max() == 1 and np.all(y.sum(axis=axis) == 1))


def numbered(
    path: Path, parts: Arrays, want: Wanted, notes: tuple[str, ...] = (), show: Callable[[int], str] = str
) -> Targets:
    """Whole numbers (N,) or (N, *space) -> int64 labels that count from 0, and their classes.

    Numbers that the network knows by name are these classes. Others stay as they are where they count from 0, or where
    the network has as many outputs as the largest asks for. They are renumbered in their order where that is certain:
    as many different ones as outputs, all from 1 on, -1 and 1; and those of masks that use few of many values, as 0
    and 255. show: what a number is called. Raises UserError for numbers that are no labels.
    """
    values = sorted(set().union(*(different(y) for y in parts.values())))
    low, high, count = values[0], values[-1], len(values)
    is_mask = next(iter(parts.values())).ndim > 1
    if want.names and all(show(value) in want.names for value in values):
        outputs = [want.names.index(show(value)) for value in values]
        return Targets({part: _places(values, y, outputs) for part, y in parts.items()}, want.names, notes)
    is_whole = low == 0 and count == high + 1
    if is_whole or (low >= 0 and high + 1 == want.classes):
        return _as_they_are(path, parts, high + 1, notes)
    from_one = low == 1 and count == high and count > 1
    is_sparse = is_mask and low >= 0 and count > 1 and 2 * count <= high
    if count == want.classes or values == [-1, 1] or from_one or is_sparse:
        text = ", ".join(map(show, values[:MAX_NAMED])) + (f", ... {show(high)}" if count > MAX_NAMED else "")
        what = "values of the masks" if is_mask else "labels"
        note = f"the {what} of {shown(path)} are {text}: in this order they are the {count} classes, counted from 0"
        if is_mask and high == IGNORED and count - 1 == want.classes:
            note += f"; {high} may mark what does not count, which netdsl cannot leave out: give it an output as well"
        numbers = {part: _places(values, y, range(count)) for part, y in parts.items()}
        return Targets(numbers, tuple(map(show, values)), (*notes, note))
    return _as_they_are(path, parts, high + 1, notes)


def _as_they_are(path: Path, parts: Arrays, count: int, notes: tuple[str, ...]) -> Targets:
    try:
        numbers = {part: check_labels(path, y, MAX_CLASSES) for part, y in parts.items()}
    except UserError as error:
        text = "labels count from 0; numbers to come close to are for `--loss mse` and one output"
        raise UserError(error.message, help=text) from None
    return Targets(numbers, tuple(map(str, range(count))), notes)


def different(y: np.ndarray) -> set[int]:
    """The different numbers of an array."""
    if y.size <= PIECE:
        return set(np.unique(y).tolist())
    flat, values = y.reshape(-1), set()
    for start in range(0, flat.size, PIECE):
        piece = flat[start : start + PIECE]
        is_small = piece.min() >= 0 and piece.max() < TABLE
        values |= set((np.flatnonzero(np.bincount(piece)) if is_small else np.unique(piece)).tolist())
    return values


def _places(values: Sequence[int], y: np.ndarray, outputs: Sequence[int]) -> np.ndarray:
    """The output of each number, int64: outputs[k] of values[k], which are sorted."""
    places = np.array(outputs, np.int64)
    if values[0] < 0 or values[-1] >= TABLE:
        return places[np.searchsorted(np.array(values), y)]
    table = np.zeros(values[-1] + 1, np.int64)
    table[list(values)] = places
    numbers: np.ndarray = table[y]
    return numbers


def finite(path: Path, name: str, a: np.ndarray) -> np.ndarray:
    """The numbers as float32. Raises UserError where one of them is NaN or infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        a = a.astype(np.float32, copy=False)
    bad = a.size - int(np.isfinite(a).sum())
    if bad:
        text = f"{bad} of {a.size} values of `{plain(name)}` in {shown(path)} are NaN or infinite as float32"
        raise UserError(text, help="fill them in, or leave these samples out")
    return a
