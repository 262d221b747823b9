"""Parquet files as a data set: one, or a folder of such in parts by their names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from netdsl.ground.diagnostics import UserError
from netdsl.ground.reading import reading, shown
from netdsl.training.data.arrow import ArrowFile, arrow_parts
from netdsl.training.data.arrow_values import arrow_reading, is_image, names_in_schema, require_pyarrow
from netdsl.training.data.listing import names_in, subfolders
from netdsl.training.data.parts import PART_NAMES, Parts
from netdsl.training.data.wanted import Wanted

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIX = ".parquet"
ROWS, IMAGES = 2**16, 64  # read together
BUFFER = 2**20  # bytes of a column that are read ahead
PART_OF = {word: part for part, words in PART_NAMES.items() for word in words}


def parquet_parts(path: Path, want: Wanted) -> Parts:
    """The rows of a file, or of all files of a folder: their names, or the folders that they are in, begin with that of
    their part, as `train-00000-of-00002.parquet`. Raises UserError."""
    require_pyarrow(path)
    files_of = parquet_files(path) if path.is_dir() else {"train": [path]}
    if "train" not in files_of:
        names = " and ".join(f"`{part}`" for part in files_of)
        raise UserError(f"{shown(path)} has {names}, but no `train`", help="call files as `train.parquet`")
    parts = {part: [_opened(file) for file in files] for part, files in files_of.items()}
    return arrow_parts(path, parts, names_in_schema(parts["train"][0].schema), want)


def parquet_files(folder: Path) -> dict[str, list[Path]]:
    """part -> its files in a folder, in its folder `data` and in the folders of its parts; what says no part is of the
    training part."""
    inner = [name for name in subfolders(folder) if name.lower() in ("data", *PART_OF)]
    files: dict[str, list[Path]] = {}
    for place in (folder, *(folder / name for name in inner)):
        for name in names_in(place):
            if name.lower().endswith(SUFFIX):
                first = re.split(r"[-_. ]", name.lower())[0]
                part = PART_OF.get(first) or PART_OF.get(place.name.lower() if place != folder else "", "train")
                files.setdefault(part, []).append(place / name)
    return files


def _opened(path: Path) -> ArrowFile:
    import pyarrow.parquet as pq

    with reading(path), arrow_reading(path), pq.ParquetFile(path) as file:
        schema, count = file.schema_arrow, file.metadata.num_rows
        if count < 0:
            raise ValueError(f"it says that it has {count} rows")

    def batches(columns: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, None]]:
        # no threads: what is forked later would not have them; column by column in small pieces, to bound memory
        rows = IMAGES if any(is_image(schema.field(name).type) for name in columns) else ROWS
        with pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file:
            for batch in file.iter_batches(rows, columns=list(columns), use_threads=False):
                yield batch, None

    return ArrowFile(path, schema, count, batches)
