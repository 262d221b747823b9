"""Folders that Hugging Face's `datasets` writes by `save_to_disk`, read by pyarrow alone: no code of theirs runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netdsl.ground.diagnostics import UserError, plain
from netdsl.ground.files import read_json
from netdsl.ground.reading import reading, shown
from netdsl.training.data.arrow import ArrowFile, arrow_parts
from netdsl.training.data.arrow_values import arrow_reading, names_of_classes, require_pyarrow
from netdsl.training.data.parts import PART_NAMES, Parts
from netdsl.training.data.wanted import Wanted

if TYPE_CHECKING:
    import pyarrow as pa

SPLITS, STATE, INFO = "dataset_dict.json", "state.json", "dataset_info.json"
MAX_JSON = 2**24  # bytes
MAX_FILES = 100_000


def is_saved_dataset(folder: Path) -> bool:
    """Whether a folder is what `save_to_disk` writes, of one data set or of one in parts."""
    return os.path.isfile(folder / SPLITS) or all(os.path.isfile(folder / name) for name in (STATE, INFO))


def saved_dataset_parts(folder: Path, want: Wanted) -> Parts:
    """The rows of such a folder; classes have the names that it says. Raises UserError."""
    require_pyarrow(folder)
    folders = _part_folders(folder)
    parts = {part: _files(place) for part, place in folders.items()}
    names = names_of_classes(_object(folders["train"] / INFO).get("features"))
    return arrow_parts(folder, parts, names, want)


def _part_folders(folder: Path) -> dict[str, Path]:
    if not os.path.isfile(folder / SPLITS):
        return {"train": folder}
    splits = _object(folder / SPLITS).get("splits")
    if not isinstance(splits, list) or not all(isinstance(name, str) for name in splits):
        raise UserError(f"{shown(folder / SPLITS)} has no list `splits` of names", help="save the data set again")
    places = {}
    for part, words in PART_NAMES.items():
        own = [name for name in splits if name.lower() in words]
        if len(own) > 1:
            both = f"`{plain(own[0])}` and `{plain(own[1])}`"
            raise UserError(f"{shown(folder)} has the parts {both}, one of which is too many")
        if own:
            places[part] = folder / own[0]
    if "train" not in places:
        names = ", ".join(f"`{plain(name)}`" for name in splits[:8]) or "none"
        raise UserError(f"{shown(folder)} has no part `train`; it has {names}")
    return places


def _files(folder: Path) -> list[ArrowFile]:
    """The files of a part in the order that it says."""
    state = _object(folder / STATE)
    if state.get("_indices_data_files"):
        text = f"{shown(folder)} chooses its rows by a file of indices"
        raise UserError(text, help="save it again by `dataset.flatten_indices().save_to_disk(...)`")
    entries = state.get("_data_files")
    names = [entry.get("filename") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    if not names or len(names) > MAX_FILES:
        raise UserError(f"{shown(folder / STATE)} names {len(names)} files, expected 1 to {MAX_FILES}")
    for name in names:
        if not isinstance(name, str) or name != os.path.basename(name) or name in ("", ".", "..") or "\\" in name:
            raise UserError(f"{shown(folder / STATE)} names the file {shown(name)}, expected one in its folder")
    return [_opened(folder / str(name)) for name in names]


def _object(path: Path) -> dict[str, Any]:
    with reading(path):
        said = read_json(path, MAX_JSON)
        if not isinstance(said, dict):
            raise ValueError("it is no JSON object")
        return said


def _opened(path: Path) -> ArrowFile:
    import pyarrow as pa

    with reading(path), arrow_reading(path), pa.memory_map(str(path)) as file:
        reader = pa.ipc.open_stream(file)
        rows = sum(batch.num_rows for batch in reader)

    def batches(columns: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, range]]:
        with pa.memory_map(str(path)) as file:
            whole = file.read_buffer()  # nothing of the file is read by that
            mapped = range(whole.address, whole.address + whole.size)
            file.seek(0)
            for batch in pa.ipc.open_stream(file):
                chosen = batch.select(list(columns))
                chosen.validate(full=True)  # before its offsets are believed
                yield chosen, mapped

    return ArrowFile(path, reader.schema, rows, batches)
