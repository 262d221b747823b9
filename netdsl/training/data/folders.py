"""Folders of images as a data set: a folder for each class, in one part or several."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netdsl.ground.diagnostics import UserError
from netdsl.ground.reading import shown
from netdsl.training.data.images import SUFFIXES, ImageReader
from netdsl.training.data.labels import class_name
from netdsl.training.data.limits import MAX_CLASSES
from netdsl.training.data.listing import files_in, is_image, names_in, part_folders, subfolders
from netdsl.training.data.parts import Parts, counted
from netdsl.training.data.wanted import Wanted

MAX_FILES = 1_000_000  # in a class folder
LAYOUT = "put the images of each class into a folder of its own, as in `cats/1.png`"


@dataclass(frozen=True)
class _Classes:
    """The image files of each class in a folder, and what else lies there."""

    folder: Path
    files: Mapping[str, Sequence[Path]]
    loose: int
    others: tuple[str, ...]  # files that are no images by their names


def class_folders(folder: Path, want: Wanted) -> Parts:
    """The images of a folder of class folders, or of its parts `train`, `val` and `test` that are such folders.

    A part without class folders is not used; neither is an image in none. Raises UserError.
    """
    parts, notes = part_folders(folder)
    listed = {part: _listed(path) for part, path in (parts or {"train": folder}).items()}
    for part, classes in list(listed.items()):
        if part != "train" and not classes.files:
            unlabelled = listed.pop(part)
            text = f"{shown(unlabelled.folder)} has {counted(unlabelled.loose, 'image')} and no class folders"
            notes = (*notes, f"{text}: not used; `netdsl predict` says what they are")
        elif classes.loose:
            where = f"{counted(classes.loose, 'image')} of {shown(classes.folder)}"
            notes = (*notes, f"{where} in no class folder: not used")
    others = [name for classes in listed.values() for name in classes.others]
    if others:
        text = (
            f"{counted(len(others), 'file')} of {shown(folder)} no image by its name, as {shown(others[0])}: not used"
        )
        notes = (*notes, text)
    return _read(listed, want, notes)


def _read(listed: Mapping[str, _Classes], want: Wanted, notes: tuple[str, ...]) -> Parts:
    names = tuple(sorted(listed["train"].files))
    if len(names) < 2:
        raise _too_few(listed["train"], len(names))
    if len(names) > MAX_CLASSES:
        raise UserError(f"{shown(listed['train'].folder)} has {len(names)} classes, the limit is {MAX_CLASSES}")
    for classes in listed.values():
        extra = sorted(set(classes.files) - set(names))
        if extra:
            text = f"{shown(classes.folder)} has the class {shown(extra[0])}, which the training images have not"
            raise UserError(text, help=f"the classes are the folders in {shown(listed['train'].folder)}")
    files = {
        part: [(path, k) for k, name in enumerate(names) for path in classes.files.get(name, ())]
        for part, classes in listed.items()
    }
    reader = ImageReader([path for part in files.values() for path, _ in part], want)
    x = {part: reader.read([path for path, _ in labelled]) for part, labelled in files.items()}
    y = {part: np.array([label for _, label in labelled], np.int64) for part, labelled in files.items()}
    return Parts(x, y, names, (*notes, *reader.notes()), reader.bits, are_sorted=True)


def _too_few(classes: _Classes, count: int) -> UserError:
    text = f"{shown(classes.folder)} has {counted(count, 'class folder')}, expected 2 or more"
    inner = [classes.folder / name for name in subfolders(classes.folder)]
    if len(inner) == 1 and len(subfolders(inner[0])) > 1:
        return UserError(text, help=f"did you mean `--data {os.fspath(inner[0])}`?")
    beside = f", and {counted(classes.loose, 'image')} beside them" if classes.loose else ""
    return UserError(text + beside, help=LAYOUT)


def _listed(folder: Path) -> _Classes:
    """The class folders in a folder; one without any file is passed over."""
    images_of: dict[str, list[Path]] = {}
    others: list[str] = []
    for name in subfolders(folder):
        files = list(itertools.islice(files_in(folder / name), MAX_FILES + 1))
        if len(files) > MAX_FILES:
            raise UserError(f"{shown(folder / name)} has more than {MAX_FILES} files", help="name a folder of images")
        images = [path for path in files if is_image(path)]
        if files and not images:
            text = f"the class folder {shown(folder / name)} has no images"
            raise UserError(text, help=f"images end in {', '.join(SUFFIXES)}")
        plain_name = class_name(name)
        if plain_name in images_of:
            text = f"two class folders of {shown(folder)} are called {shown(plain_name)}, written in two ways"
            raise UserError(text, help="put the images of both into one of them")
        if images:
            images_of[plain_name] = images
        others += [path.name for path in files if not is_image(path)]
    loose = sum(is_image(name) and (folder / name).is_file() for name in names_in(folder))
    return _Classes(folder, images_of, loose, tuple(others))
