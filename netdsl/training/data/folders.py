"""Folders of samples as a data set: a folder for each class, in one part or several."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netdsl.ground.diagnostics import UserError
from netdsl.ground.reading import shown
from netdsl.training.data.file_rows import image_samples
from netdsl.training.data.images import ImageReader
from netdsl.training.data.labels import class_name
from netdsl.training.data.limits import MAX_CLASSES
from netdsl.training.data.listing import IMAGE_FILES, FileKind, files_in, names_in, part_folders, subfolders
from netdsl.training.data.parts import Parts, counted
from netdsl.training.data.wanted import Wanted
from netdsl.training.data.wavs import SUFFIXES as WAVS

MAX_FILES = 1_000_000  # in a class folder
SIGNAL_HELP = "recordings are for the input of a signal, as `input 1x16000 map`"


@dataclass(frozen=True)
class Labelled:
    """The files of each part with the numbers of their classes, the names of the classes, and notes."""

    files: Mapping[str, Sequence[tuple[Path, int]]]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def every(self) -> list[Path]:
        """The files of all parts."""
        return [path for part in self.files.values() for path, _ in part]

    def labels(self) -> dict[str, np.ndarray]:
        """Part -> the classes (N,) int64 of its files."""
        return {part: np.array([label for _, label in pairs], np.int64) for part, pairs in self.files.items()}


@dataclass(frozen=True)
class _Classes:
    """The files of each class in a folder, and what else lies there."""

    folder: Path
    files: Mapping[str, Sequence[Path]]
    loose: int
    others: tuple[str, ...]  # files of another kind by their names


def class_folders(folder: Path, want: Wanted) -> Parts:
    """The images of a folder of class folders, see `labelled_files`. Raises UserError."""
    labelled = labelled_files(folder, IMAGE_FILES)
    reader = ImageReader(labelled.every, want)
    files = {part: [path for path, _ in pairs] for part, pairs in labelled.files.items()}
    x, more = image_samples(reader, files)
    notes = (*labelled.notes, *more, *reader.notes(), *want.unused("folders of images"))
    return Parts(x, labelled.labels(), labelled.classes, notes, reader.bits, are_sorted=True)


def labelled_files(folder: Path, kind: FileKind) -> Labelled:
    """The files of a folder of class folders, or of its parts `train`, `val` and `test` that are such folders.

    A part without class folders is not used; neither is a file in none. Raises UserError.
    """
    parts, notes = part_folders(folder, kind.noun)
    listed = {part: _listed(path, kind) for part, path in (parts or {"train": folder}).items()}
    for part, classes in list(listed.items()):
        if part != "train" and not classes.files:
            unlabelled = listed.pop(part)
            text = f"{shown(unlabelled.folder)} has {counted(unlabelled.loose, kind.noun)} and no class folders"
            notes = (*notes, f"{text}: not used; `netdsl predict` says what they are")
        elif classes.loose:
            where = f"{counted(classes.loose, kind.noun)} of {shown(classes.folder)}"
            notes = (*notes, f"{where} in no class folder: not used")
    others = [name for classes in listed.values() for name in classes.others]
    if others:
        text = f"{counted(len(others), 'file')} of {shown(folder)} no {kind.noun} by its name"
        notes = (*notes, f"{text}, as {shown(others[0])}: not used")
    return _numbered(listed, kind, notes)


def _numbered(listed: Mapping[str, _Classes], kind: FileKind, notes: tuple[str, ...]) -> Labelled:
    names = tuple(sorted(listed["train"].files))
    if len(names) < 2:
        raise _too_few(listed["train"], len(names), kind)
    if len(names) > MAX_CLASSES:
        raise UserError(f"{shown(listed['train'].folder)} has {len(names)} classes, the limit is {MAX_CLASSES}")
    for classes in listed.values():
        extra = sorted(set(classes.files) - set(names))
        if extra:
            text = f"{shown(classes.folder)} has the class {shown(extra[0])}, which the training {kind.noun}s have not"
            raise UserError(text, help=f"the classes are the folders in {shown(listed['train'].folder)}")
    files = {
        part: [(path, k) for k, name in enumerate(names) for path in classes.files.get(name, ())]
        for part, classes in listed.items()
    }
    return Labelled(files, names, notes)


def _too_few(classes: _Classes, count: int, kind: FileKind) -> UserError:
    text = f"{shown(classes.folder)} has {counted(count, 'class folder')}, expected 2 or more"
    inner = [classes.folder / name for name in subfolders(classes.folder)]
    if len(inner) == 1 and len(subfolders(inner[0])) > 1:
        return UserError(text, help=f"did you mean `--data {os.fspath(inner[0])}`?")
    beside = f", and {counted(classes.loose, kind.noun)} beside them" if classes.loose else ""
    layout = f"put the {kind.noun}s of each class into a folder of its own, as in `{kind.example}`"
    return UserError(text + beside, help=layout)


def _listed(folder: Path, kind: FileKind) -> _Classes:
    """The class folders in a folder; one without any file is passed over."""
    files_of: dict[str, list[Path]] = {}
    others: list[str] = []
    for name in subfolders(folder):
        files = list(itertools.islice(files_in(folder / name), MAX_FILES + 1))
        if len(files) > MAX_FILES:
            raise UserError(f"{shown(folder / name)} has more than {MAX_FILES} files", help="name a folder of samples")
        own = [path for path in files if kind.has(path)]
        if files and not own:
            help_text = SIGNAL_HELP if str(files[0]).lower().endswith(WAVS) else kind.endings
            raise UserError(f"the class folder {shown(folder / name)} has no {kind.noun}s", help=help_text)
        plain_name = class_name(name)
        if plain_name in files_of:
            text = f"two class folders of {shown(folder)} are called {shown(plain_name)}, written in two ways"
            raise UserError(text, help="put the files of both into one of them")
        if own:
            files_of[plain_name] = own
        others += [path.name for path in files if not kind.has(path)]
    loose = sum(kind.has(name) and (folder / name).is_file() for name in names_in(folder))
    return _Classes(folder, files_of, loose, tuple(others))
