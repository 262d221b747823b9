"""Where data sets are looked for: in the folder of NETDSL_DATA_DIR, where torchvision and Keras keep theirs, and in
netdsl's own cache, in this order. Nothing is read here but names of files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from netdsl.ground.catalog import NamedData
from netdsl.ground.system.machine import user_cache

ZIPPED = ".gz"


@dataclass(frozen=True)
class Place:
    """A folder, or Keras' one file, with files of a data set: their paths by plain name, without `.gz`."""

    path: Path
    files: Mapping[str, Path]

    def lacks(self, data: NamedData) -> str | None:
        """The first file without which it cannot be read; None where it can."""
        if data.npz is not None and data.npz.name in self.files:
            return None
        return next((group[0] for group in data.needs if not any(name in self.files for name in group)), None)

    def is_whole(self, data: NamedData) -> bool:
        """Whether no file of the set is missing."""
        is_npz = data.npz is not None and data.npz.name in self.files
        return is_npz or all(member.name in self.files for member in data.members)


@dataclass(frozen=True)
class Roots:
    """The folders that hold data sets. given: NETDSL_DATA_DIR; usual: what people let torchvision use; keras: that of
    Keras; cache: netdsl's own, with a folder for each set."""

    given: Path | None
    usual: tuple[Path, ...]
    keras: Path
    cache: Path


def data_dir() -> Path | None:
    """The folder NETDSL_DATA_DIR, where data sets are looked for first."""
    folder = os.environ.get("NETDSL_DATA_DIR")
    return Path(folder) if folder else None


def package_file(name: str) -> Path:
    """The file of a set that comes with netdsl."""
    names = (f"{name.replace('-', '_')}{suffix}" for suffix in (".npz", f".txt{ZIPPED}"))
    return next(path for path in map(Path(__file__).with_name, names) if path.is_file())


def roots(given: Path | None) -> Roots:
    """The folders of this user and this working folder, `given` before them."""
    home = Path(os.path.expanduser("~"))
    usual = [Path("data"), home / "data"]
    if hub := os.environ.get("TORCH_HOME"):
        usual.append(Path(hub, "datasets"))
    keras = Path(os.environ.get("KERAS_HOME") or home / ".keras", "datasets")
    return Roots(given, tuple(usual), keras, user_cache() / "data")


def places(data: NamedData, where: Roots) -> Iterator[Place]:
    """Every place that has a file of the set, in the order in which they are looked through."""
    for folder in _folders(data, where):
        if files := _files(folder, data.file_names):
            yield Place(folder, files)
        elif folder == where.keras and data.npz is not None and (folder / data.npz.name).is_file():
            yield Place(folder / data.npz.name, {data.npz.name: folder / data.npz.name})


def readable_place(data: NamedData, where: Roots) -> Place | None:
    """The first place where the set can be read, perhaps a part of it."""
    return next((place for place in places(data, where) if place.lacks(data) is None), None)


def pickled_place(data: NamedData, where: Roots) -> Path | None:
    """A folder that holds the set in pickles, which are not read."""
    parents = [*([where.given] if where.given else []), *where.usual, where.keras]
    parents += [where.keras / name for name in data.pickles]  # Keras unpacks into a folder of the archive's name
    folders = (parent / name for parent in parents for name in data.pickles)
    return next((folder for folder in folders if folder.is_dir()), None)


def _folders(data: NamedData, where: Roots) -> Iterator[Path]:
    if where.given is not None:
        yield from (where.given / name for name in data.folders)
    yield from (root / name for root in where.usual for name in data.folders if name)
    if data.keras or data.npz is not None:
        yield where.keras / data.keras
    yield where.cache / data.name


def _files(folder: Path, names: tuple[str, ...]) -> dict[str, Path]:
    """The paths by plain name of what the folder has; unzipped before `.gz`."""
    paths = {name: (folder / name, folder / f"{name}{ZIPPED}") for name in names}
    existing = {name: [path for path in both if os.path.exists(path)] for name, both in paths.items()}
    return {name: both[0] for name, both in existing.items() if both}
