"""Folders of recordings as a data set of signals: `.wav` files or tables, a file each, in one part or several."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from netdsl.ground.diagnostics import UserError
from netdsl.ground.reading import shown
from netdsl.training.data.folders import labelled_files
from netdsl.training.data.listing import IMAGE_FILES, FileKind, files_in, names_in, part_folders, subfolders
from netdsl.training.data.parts import Parts, counted
from netdsl.training.data.signal_tables import WINDOW_OPTIONS, recordings_in, windowed
from netdsl.training.data.tables import SUFFIXES as TABLES
from netdsl.training.data.wanted import Wanted
from netdsl.training.data.wavs import SUFFIXES, WavReader
from netdsl.training.data.windows import Recording

WAV_FILES = FileKind("recording", SUFFIXES, "yes/1.wav")
TABLE_FILES = FileKind("table", TABLES, "walking/1.csv")
Tables = dict[str, list[tuple[Path, int | None]]]
"""Part -> its tables, each with the number of its class where the folder says it."""


def recording_folders(folder: Path, want: Wanted) -> Parts:
    """The recordings of a folder as signals (N, C, L) float32: of class folders, or tables with columns of labels.
    Raises UserError."""
    kinds = {kind.noun for path in files_in(folder) for kind in (WAV_FILES, TABLE_FILES, IMAGE_FILES) if kind.has(path)}
    if {"recording", "table"} <= kinds:
        text = f"{shown(folder)} has recordings in .wav files and in tables, expected one of them"
        raise UserError(text, help="put them into folders of their own")
    if kinds == {"image"}:
        assert want.takes is not None
        text = f"{shown(folder)} has images, but the network takes signals of {want.takes.show()}"
        raise UserError(text, help="an input of an image has three sizes, as `input 3x64x64`")
    return _tables(folder, want) if "table" in kinds else _wavs(folder, want)


def _wavs(folder: Path, want: Wanted) -> Parts:
    labelled = labelled_files(folder, WAV_FILES)
    reader = WavReader(labelled.every, want)
    x = {part: reader.read([path for path, _ in pairs]) for part, pairs in labelled.files.items()}
    notes = (*labelled.notes, *reader.notes(), *want.unused("recordings in .wav files", "rate"))
    return Parts(x, labelled.labels(), labelled.classes, notes, are_sorted=True, rate=reader.rate)


def _tables(folder: Path, want: Wanted) -> Parts:
    """Windows of the tables of class folders, or of tables that have columns of labels."""
    parts, notes = part_folders(folder, TABLE_FILES.noun)
    of_parts = parts or {"train": folder}
    files: Tables = {part: [(p, None) for p in _loose(path)] for part, path in of_parts.items()}
    classes: tuple[str, ...] = ()
    if not files["train"] and subfolders(of_parts["train"]):
        labelled = labelled_files(folder, TABLE_FILES)
        notes, classes = labelled.notes, labelled.classes
        files = {part: list(pairs) for part, pairs in labelled.files.items()}
    recordings: dict[str, list[Recording]] = {part: [] for part in files}
    said: list[Sequence[str]] = []
    for part, pairs in files.items():
        for path, label in pairs:
            more, own_notes = recordings_in(path, want, label)
            recordings[part] += more
            said.append(own_notes)
    notes = (*notes, *_first(said), *want.unused("tables of signals", *WINDOW_OPTIONS))
    return windowed(folder, recordings, want, notes, classes)


def _loose(folder: Path) -> list[Path]:
    return [folder / name for name in names_in(folder) if TABLE_FILES.has(name) and os.path.isfile(folder / name)]


def _first(said: Sequence[Sequence[str]]) -> list[str]:
    """The notes of the first table that has any, and of how many others there are such."""
    with_notes = [notes for notes in said if notes]
    if len(with_notes) < 2:
        return [note for notes in with_notes for note in notes]
    return [*with_notes[0], f"{counted(len(with_notes) - 1, 'other table')} likewise"]
