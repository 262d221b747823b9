"""Tables of signals and series as data: a column a channel, a row a step, in windows of the network's length.

A signal is a map (C, L), a series tokens (L, C).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from netdsl.ground.diagnostics import UserError, plain
from netdsl.ground.reading import shown
from netdsl.training.data.labels import class_name, read_targets
from netdsl.training.data.limits import MAX_BYTES
from netdsl.training.data.parts import Parts, counted
from netdsl.training.data.tables import (
    Roles,
    Table,
    columns_of,
    named_column,
    named_columns,
    read_table,
    refuse_target,
    table_parts,
    target_column,
)
from netdsl.training.data.wanted import Wanted
from netdsl.training.data.windows import (
    Recording,
    dense_labels_of,
    in_pieces,
    labels_of,
    last_labels_of,
    starts,
    stay_whole,
    units_of,
    windows_of,
)

GROUPS = ("group", "subject", "user", "recording", "session", "trial", "file", "id")  # names of columns
TIMES = ("time", "timestamp", "t", "date", "datetime", "index", "step", "")
WINDOW_OPTIONS = ("label", "group", "window", "stride", "columns")  # of `data`, that tables of signals use
LABEL_HELP = "add a column `label`, or put the table of each recording into a folder of its class"

Recordings = Mapping[str, Sequence[Recording]]
"""Part -> its recordings."""


def signal_table_parts(path: Path, want: Wanted) -> Parts:
    """The rows of a table as windows float32 of a signal (N, C, L) or a series (N, L, C), where it has a column for
    each channel; where a row has as many numbers as the whole input, a row is a sample.

    A window lies within a recording: rows that follow each other and are alike in the columns of groups. The label of a
    signal is the one that most of its rows have; numbers have their mean. That of a series is its last row's, class or
    number, or the next row's where the column is one of `columns`, too. A network that gives a class for each step or
    token has them all. Raises UserError.
    """
    if are_samples(path, want):
        return table_parts(path, want)
    recordings, notes = recordings_in(path, want)
    unused = want.unused("tables of signals", *WINDOW_OPTIONS)
    return windowed(path, {"train": recordings}, want, (*notes, *unused))


def read_windows(path: Path, want: Wanted) -> tuple[np.ndarray, list[int], tuple[str, ...]]:
    """-> the windows x (N, C, L) or (N, L, C) of a table, the row that each begins with, counted from 0, and notes.
    Targets and groups are not needed, and left out by their names. Raises UserError."""
    assert want.takes is not None
    header, _ = columns_of(path, want.label)
    known = {key: value for key, value in want.options.items() if key not in ("label", "group") or value in header}
    recordings, notes = recordings_in(path, replace(want, options=known, loss=None), foretells=False)
    length = want.steps
    stride = int(want.options.get("stride", length))
    kept = [recording for recording in recordings if len(recording.x) >= length]
    notes = (*notes, *_short(path, {"test": recordings}, {"test": kept}, length))
    _check_size(path, {"test": kept}, want, stride)
    ends = np.cumsum([len(recording.x) for recording in recordings]).tolist()
    begins = zip([0, *ends], recordings, strict=False)
    rows = [begin + start for begin, recording in begins for start in starts(recording, length, stride)]
    return _laid(windows_of(kept, length, stride), want), rows, notes


def are_samples(path: Path, want: Wanted) -> bool:
    """Whether a row of the table is a sample: beside the targets, if it has them, as many numbers as the input."""
    assert want.takes is not None
    header, width = columns_of(path, want.label)
    has_groups = "group" in want.options or any(name.lower() in GROUPS for name in header)
    if "columns" in want.options:
        width = len(want.options["columns"].split(","))
    return want.takes.size in (width, width - 1) and want.takes.size != want.takes.channels and not has_groups


def recordings_in(
    path: Path, want: Wanted, label: int | None = None, foretells: bool = True
) -> tuple[list[Recording], tuple[str, ...]]:
    """The recordings of a table, and notes. label: the class of all of them, where the table needs no targets.
    foretells: whether the target of a row that has it among its numbers is that of the next row."""
    table = read_table(path, lambda header, width: _roles(path, header, width, want, label is None), want.label)
    if not foretells:
        return list(_runs(path, table)), table.notes
    if table.gives_target and want.takes is not None and want.takes.is_tokens and label is None:
        note = f"the target of a window of {shown(path)} is `{plain(table.gives_target)}` of the row that follows it"
        return [_foretold(recording) for recording in _runs(path, table)], (*table.notes, note)
    refuse_target(path, table)
    if label is not None:
        table = replace(table, y=np.full(len(table.x), label, np.int64))
    return list(_runs(path, table)), table.notes


def _foretold(recording: Recording) -> Recording:
    """The recording whose steps have the target of the next one; its last step has none."""
    assert recording.y is not None, recording.unit
    return replace(recording, x=recording.x[:-1], y=recording.y[1:])


def _laid(x: np.ndarray, want: Wanted) -> np.ndarray:
    """Windows (N, C, L) as the network takes them: of a series (N, L, C)."""
    assert want.takes is not None
    return np.ascontiguousarray(x.transpose(0, 2, 1)) if want.takes.is_tokens else x


def _runs(path: Path, table: Table) -> Iterable[Recording]:
    """Rows that follow each other and have the same names in the columns of groups, of which the first is the unit."""
    changes = [i for i in range(1, len(table.x)) if table.groups[i] != table.groups[i - 1]]
    for start, end in zip([0, *changes], [*changes, len(table.x)], strict=True):
        names = table.groups[start]
        y = None if table.y is None else table.y[start:end]
        yield Recording(table.x[start:end], y, names[0] if names else str(path))


def _roles(path: Path, header: list[str], width: int, want: Wanted, has_targets: bool) -> Roles:
    """What the columns are: as many numbers as the input has channels, and the rest by their names."""
    assert want.takes is not None
    target = target_column(path, header, want.label)
    groups = _group_columns(path, header, want)
    if numbers := named_columns(path, header, want):
        return _named_roles(path, width, want, Roles(target, tuple(groups), numbers=numbers), has_targets)
    others = [i for i in range(width) if i != target and i not in groups]
    times = [i for i in others if i < len(header) and header[i].lower() in TIMES]
    wants = want.takes.channels
    notes: tuple[str, ...] = ()
    if times and len(others) > wants and len(others) - len(times) in (wants, wants + (target is None)):
        others = [i for i in others if i not in times]
        names = ", ".join(f"`{plain(header[i])}`" if header[i] else f"{i + 1}" for i in times)
        notes = (f"not used of {shown(path)}: {names}, no channel by the name",)
    else:
        times = []
    if target is None and has_targets and len(others) == wants + 1:
        target = others.pop()
        name = f"`{plain(header[target])}`" if header else f"{target + 1}"
        text = f"the targets of {shown(path)} are its last column, {name}: a column called `label` would be taken"
        notes = (*notes, text)
    if len(others) != wants:
        raise _other_channels(path, len(others), want)
    if has_targets and target is None and want.needs_labels:
        raise UserError(f"{shown(path)} has no column of labels, which the loss `{want.loss}` needs", help=LABEL_HELP)
    unused = times if has_targets or target is None else [*times, target]
    return Roles(target if has_targets else None, tuple(groups), tuple(unused), notes)


def _named_roles(path: Path, width: int, want: Wanted, named: Roles, has_targets: bool) -> Roles:
    """The roles where the columns of numbers were named: whatever else has no role is not used."""
    assert want.takes is not None
    if len(named.numbers) != want.takes.channels:
        raise _other_channels(path, len(named.numbers), want)
    if has_targets and named.target is None and want.needs_labels:
        raise UserError(f"{shown(path)} has no column of labels, which the loss `{want.loss}` needs", help=LABEL_HELP)
    target = named.target if has_targets else None
    unused = [i for i in range(width) if i not in (*named.numbers, *named.groups, target)]
    return replace(named, target=target, unused=tuple(unused))


def _group_columns(path: Path, header: Sequence[str], want: Wanted) -> list[int]:
    """The columns whose names keep recordings apart, first the one that parts are split by."""
    names = [name.lower() for name in header]
    chosen = [named_column(path, header, want.options["group"])] if "group" in want.options else []
    known = [names.index(name) for name in GROUPS if name in names]
    return [*chosen, *(i for i in known if i not in chosen and header[i] != want.label)]


def _other_channels(path: Path, count: int, want: Wanted) -> UserError:
    assert want.takes is not None
    channels, length = want.takes.channels, want.steps
    text = f"{shown(path)} has {counted(count, 'column')} of numbers beside its labels and groups"
    text = f"{text}, but the network takes {want.takes.show()}: {counted(channels, 'channel')}"
    spec = f"input {length}x{count}" if want.takes.is_tokens else f"input {count}x{length} map"
    help_text = f"begin the spec with `{spec}`, or leave columns out" if count else "add channels"
    return UserError(text, help=f"{help_text}; a table with a row a sample has {want.takes.size} numbers in each")


def windowed(
    where: Path, parts: Recordings, want: Wanted, notes: tuple[str, ...], classes: tuple[str, ...] = ()
) -> Parts:
    """The windows of the recordings of each part; classes: whose numbers all targets are already. Raises UserError."""
    assert want.takes is not None
    length = want.steps
    stride = int(want.options.get("stride", length))
    first = next(r for r in parts["train"])
    are_classes = first.y is not None and (first.y.dtype.kind != "f" or want.needs_labels)
    kept = {part: [r for r in all_of if len(r.x) >= length] for part, all_of in parts.items()}
    notes = (*notes, *_short(where, parts, kept, length))
    if not {"test", "val"} <= set(parts):
        kept["train"], more = _kept_apart(where, kept["train"], length, are_classes)
        notes = (*notes, more)
    _check_size(where, kept, want, stride)
    x = {part: _laid(windows_of(recordings, length, stride), want) for part, recordings in kept.items()}
    units = units_of(kept["train"], length, stride)
    if first.y is None:
        return Parts(x, x, (), notes, are_sorted=True, units=units)
    y = {part: _targets(recordings, want, stride, are_classes) for part, recordings in kept.items()}
    if classes:
        return Parts(x, y, classes, notes, are_sorted=True, units=units)
    if want.mask_axes == 1 and y["train"].dtype.kind == "U":
        names = sorted({name for steps in y.values() for name in np.unique(steps).tolist()})
        y = {part: np.searchsorted(np.array(names), steps) for part, steps in y.items()}
        return Parts(x, y, tuple(map(class_name, names)), notes, are_sorted=True, units=units)
    targets = read_targets(where, dict.fromkeys(parts, "label"), y, want)
    return Parts(x, targets.parts, targets.classes, (*notes, *targets.notes), are_sorted=True, units=units)


def _targets(recordings: Sequence[Recording], want: Wanted, stride: int, are_classes: bool) -> np.ndarray:
    assert want.takes is not None
    length = want.steps
    if want.takes.is_tokens and want.mask_axes != 1:
        return last_labels_of(recordings, length, stride)
    if want.mask_axes != 1:
        return labels_of(recordings, length, stride, are_classes)
    steps = dense_labels_of(recordings, length, stride)
    return steps if are_classes else steps[:, None]


def _short(where: Path, parts: Recordings, kept: Recordings, length: int) -> tuple[str, ...]:
    """A note on recordings that are too short. Raises UserError where all of a part are."""
    for part, recordings in kept.items():
        if not recordings:
            longest = max(len(recording.x) for recording in parts[part])
            text = f"no recording of {shown(where)} has {length} rows, as the input takes; the longest has {longest}"
            help_text = "a recording is rows that follow each other and have the same group"
            raise UserError(text, help=f"{help_text}; begin the spec with a shorter input")
    count, left = (sum(map(len, each.values())) for each in (parts, kept))
    text = f"{count - left} of {count} recordings of {shown(where)} have fewer than {length} rows: not used"
    return (text,) if left < count else ()


def _kept_apart(
    where: Path, recordings: Sequence[Recording], length: int, are_classes: bool
) -> tuple[list[Recording], str]:
    """The recordings, or pieces of them where they are too few, and how windows are kept apart, in words."""
    count = len({recording.unit for recording in recordings})
    if stay_whole(recordings, are_classes):
        return list(recordings), f"{shown(where)} has {count} recordings: test and validation part are whole ones"
    pieces = in_pieces(recordings, length)
    if len(pieces) < 2:
        text = f"{shown(where)} is one recording of {len(recordings[0].x)} rows, too short to keep a test part apart"
        raise UserError(text, help=f"record more: with windows of {length} steps at least {4 * length} rows")
    text = f"{counted(count, 'recording')} of {shown(where)} are too few to keep whole ones apart" if count > 1 else ""
    text = text or f"{shown(where)} is one recording"
    return pieces, f"{text}: cut into {len(pieces)} pieces, test and validation part are whole ones"


def _check_size(where: Path, parts: Recordings, want: Wanted, stride: int) -> None:
    """Raises UserError where the windows, which may lie on each other, take too much memory."""
    assert want.takes is not None
    count = sum(len(starts(r, want.steps, stride)) for part in parts.values() for r in part)
    total = 4 * count * want.takes.size
    if total > MAX_BYTES:
        text = f"the {count} windows of {shown(where)} take {total} bytes, the limit is {MAX_BYTES}"
        raise UserError(text, help="use a larger `stride`")
