"""What lies in folders of samples: class folders, parts, files however deep. Nothing is decoded here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from netdsl.ground.diagnostics import UserError
from netdsl.ground.reading import shown
from netdsl.training.data.image_files import SUFFIXES
from netdsl.training.data.parts import PART_NAMES

PASSED_OVER = ("__MACOSX",)  # what zip programs leave
MAX_DEPTH = 64  # folders in folders


@dataclass(frozen=True)
class FileKind:
    """Files of samples: what one is called, how their names end, and the path of one in a class folder."""

    noun: str
    suffixes: tuple[str, ...]
    example: str

    def has(self, path: Path | str) -> bool:
        """Whether the name ends as that of such a file."""
        return str(path).lower().endswith(self.suffixes)

    @property
    def endings(self) -> str:
        """`images end in .png, .jpg`, for a help."""
        return f"{self.noun}s end in {', '.join(self.suffixes)}"


IMAGE_FILES = FileKind("image", SUFFIXES, "cats/1.png")


def names_in(folder: Path) -> list[str]:
    """The names in a folder, sorted; hidden ones are passed over. Raises UserError."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith(".") and name not in PASSED_OVER)
    except OSError as error:
        raise UserError(f"cannot read the folder {shown(folder)}: {(error.strerror or str(error)).lower()}") from None


def subfolders(folder: Path) -> tuple[str, ...]:
    """The names of the folders in `folder`, sorted; hidden ones are passed over."""
    return tuple(name for name in names_in(folder) if os.path.isdir(folder / name))


def is_image(path: Path | str) -> bool:
    """Whether the name ends as that of an image."""
    return IMAGE_FILES.has(path)


def files_in(folder: Path, above: tuple[str, ...] = ()) -> Iterator[Path]:
    """The files in a folder and in the folders in it, by name; a link to a folder above it is passed over.

    Raises UserError for folders too deep in each other.
    """
    place = os.path.realpath(folder)
    if place in above:
        return
    if len(above) > MAX_DEPTH:
        raise UserError(f"{shown(folder)} lies more than {MAX_DEPTH} folders deep", help="name a folder of samples")
    for name in names_in(folder):
        path = folder / name
        if os.path.isdir(path):
            yield from files_in(path, (*above, place))
        else:
            yield path


def image_files(folder: Path) -> list[Path]:
    """The image files in a folder and in the folders in it, by name."""
    return [path for path in files_in(folder) if is_image(path)]


def part_folders(folder: Path, noun: str = "image") -> tuple[dict[str, Path], tuple[str, ...]]:
    """-> part -> its folder, and notes; no part where the folders are classes.

    They are parts where one is called `train` and another one is a part as well, or there is no other.
    """
    part_paths: dict[str, Path] = {}
    others = []
    for name in subfolders(folder):
        part = next((part for part, names in PART_NAMES.items() if name.lower() in names), None)
        if part is None:
            others.append(name)
        elif part in part_paths:
            both = f"`{part_paths[part].name}` and `{name}`"
            raise UserError(f"{shown(folder)} has the folders {both}, one of which is too many", help="join them")
        else:
            part_paths[part] = folder / name
    if part_paths and "train" not in part_paths and not others:
        names = " and ".join(f"`{path.name}`" for path in part_paths.values())
        raise UserError(f"{shown(folder)} has {names}, but no `train`", help=f"put {noun}s to learn from into `train`")
    if "train" not in part_paths or (len(part_paths) == 1 and others):
        return {}, ()
    notes = (f"{shown(folder)} has other folders beside its parts, not used: {shown(', '.join(others))}",)
    return part_paths, notes if others else ()
