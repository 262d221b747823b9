"""Tables of columns with types, as Arrow and Parquet keep them: a sample a row, of numbers or an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netdsl.ground.diagnostics import UserError, plain
from netdsl.ground.reading import shown
from netdsl.training.data.arrays import shaped
from netdsl.training.data.arrow_values import HELP, arrow_reading, images_of, inner_type, is_image, values_of
from netdsl.training.data.file_rows import image_samples
from netdsl.training.data.image_files import ImageBytes, PackedImage
from netdsl.training.data.images import ImageReader
from netdsl.training.data.labels import Targets, check_labels, class_name, read_targets
from netdsl.training.data.limits import MAX_BYTES
from netdsl.training.data.parts import Parts
from netdsl.training.data.stored import Samples
from netdsl.training.data.tables import MAX_COLUMNS, column_text, target_column
from netdsl.training.data.wanted import Wanted

if TYPE_CHECKING:
    import pyarrow as pa

INDEX = "__index_level_0__"  # the column that pandas keeps its index in
UNLABELLED = -1  # in test parts whose labels are kept secret

Batches = Callable[[Sequence[str]], Iterator[tuple["pa.RecordBatch", range | None]]]
"""The rows of a file, some at a time, with these columns only; the addresses that the file is mapped to, if it is."""


@dataclass(frozen=True)
class ArrowFile:
    """A file of so many rows."""

    path: Path
    schema: pa.Schema
    rows: int
    batches: Batches


@dataclass(frozen=True)
class _Columns:
    """Which columns are what: an image, or numbers; target: None where there is none."""

    inputs: tuple[str, ...]
    is_image: bool
    target: str | None
    notes: tuple[str, ...] = ()


@dataclass
class _Read:
    """What is read of a part so far: numbers (rows, ...) or images, and targets in pieces."""

    rows: int
    numbers: np.ndarray | None = None
    images: list[PackedImage] = field(default_factory=list)
    targets: list[np.ndarray] = field(default_factory=list)
    filled: int = 0
    bytes_of_images: int = 0


def arrow_parts(
    path: Path, parts: Mapping[str, Sequence[ArrowFile]], class_names: Mapping[str, Sequence[str]], want: Wanted
) -> Parts:
    """The rows of the files of each part as samples, see `table_parts`; a column of images is read as image files are.

    class_names: those of columns that are numbers of classes. Raises UserError.
    """
    with arrow_reading(path):  # names that are no text are met when they are asked for
        columns = _chosen_columns(path, parts, class_names, want)
    read = {part: _read_part(path, files, columns) for part, files in parts.items()}
    notes = (*columns.notes, *want.unused("tables with a row a sample", "label"))
    if columns.target is not None:
        read, more = _labelled(path, read, columns.target, class_names)
        notes = (*notes, *more)
    bits = None
    x: Mapping[str, Samples]
    if columns.is_image:
        reader = ImageReader([image for one in read.values() for image in one.images], want)
        x, more = image_samples(reader, {part: one.images for part, one in read.items()})
        notes, bits = (*notes, *more, *reader.notes()), reader.bits
    else:
        name = columns.inputs[0] if len(columns.inputs) == 1 else "x"
        x = {part: one.numbers for part, one in read.items() if one.numbers is not None}
        x, more = shaped(path, dict.fromkeys(read, name), x, want)
        notes = (*notes, *more)
    targets = _targets(path, read, columns.target, class_names, want, x)
    return Parts(x, targets.parts, targets.classes, (*notes, *targets.notes), bits)


def _targets(
    path: Path,
    read: Mapping[str, _Read],
    target: str | None,
    class_names: Mapping[str, Sequence[str]],
    want: Wanted,
    x: Mapping[str, Samples],
) -> Targets:
    if target is None:
        raise UserError(f"{shown(path)} has no column of targets", help="add one, and call it `label`")
    y = {part: np.concatenate(one.targets) for part, one in read.items()}
    names = tuple(map(class_name, class_names.get(target, ())))
    if names and want.targets != "numbers" and len(set(names)) == len(names):
        return Targets({part: check_labels(path, labels, len(names)) for part, labels in y.items()}, names)
    return read_targets(path, dict.fromkeys(y, target), y, want)


def _labelled(
    path: Path, read: Mapping[str, _Read], target: str, class_names: Mapping[str, Sequence[str]]
) -> tuple[dict[str, _Read], tuple[str, ...]]:
    """The parts that have labels, and a note on those whose labels are all -1, which means that nobody tells them."""
    secret = [
        part
        for part, one in read.items()
        if part != "train" and target in class_names and all((y == UNLABELLED).all() for y in one.targets)
    ]
    notes = (f"the part `{part}` of {shown(path)} has no labels: not used" for part in secret)
    return {part: one for part, one in read.items() if part not in secret}, tuple(notes)


def _chosen_columns(
    path: Path, parts: Mapping[str, Sequence[ArrowFile]], class_names: Mapping[str, Sequence[str]], want: Wanted
) -> _Columns:
    files = [file for some in parts.values() for file in some]
    schema = files[0].schema
    for file in files[1:]:
        if file.schema.names != schema.names or file.schema.types != schema.types:
            both = f"{shown(files[0].path)} and {shown(file.path)}"
            raise UserError(f"the columns of {both} differ", help="give all parts the same columns")
    names = [name for name in schema.names if name != INDEX]
    if not names or len(names) > MAX_COLUMNS or len(set(names)) < len(names):
        text = f"{shown(path)} has {len(names)} columns, {len(set(names))} of different names"
        raise UserError(f"{text}, expected 1 to {MAX_COLUMNS}, each once")
    images = [name for name in names if is_image(schema.field(name).type)]
    target = target_column(path, names, want.label)
    if images:
        return _beside_images(path, names, images, target, class_names)
    if len(names) < 2:
        raise UserError(f"{shown(path)} has one column, expected numbers and a column of targets")
    notes: tuple[str, ...] = ()
    if target is None:
        target = len(names) - 1
        text = f"the targets of {shown(path)} are its last column, {column_text(names, target)}"
        notes = (f"{text}: a column called `label` or `target` would be taken",)
    inputs = tuple(name for name in names if name != names[target])
    _check_numbers(path, schema, inputs)
    return _Columns(inputs, False, names[target], notes)


def _beside_images(
    path: Path,
    names: Sequence[str],
    images: Sequence[str],
    target: int | None,
    class_names: Mapping[str, Sequence[str]],
) -> _Columns:
    """The image, and as the target what is named so, or the only other column, or the only one of classes."""
    if len(images) > 1:
        text = f"{shown(path)} has {len(images)} columns of images, `{plain(images[0])}` and `{plain(images[1])}`"
        raise UserError(f"{text}, expected one", help="leave the others out")
    others = [name for name in names if name not in images]
    of_classes = [name for name in others if name in class_names]
    only = next((some[0] for some in (others, of_classes) if len(some) == 1), None)
    name = names[target] if target is not None else only
    if name is None and others:
        known = ", ".join(f"`{plain(other)}`" for other in others[:8])
        text = f"{shown(path)} has the columns {known} beside its images, and any may be the targets"
        raise UserError(text, help=f"name it: `label={plain(others[0])}` behind the path")
    unused = [other for other in others if other != name]
    notes = (f"columns of {shown(path)} beside `{name}`, not used: {shown(', '.join(unused))}",) if unused else ()
    return _Columns((images[0],), True, name, notes)


def _check_numbers(path: Path, schema: pa.Schema, inputs: Sequence[str]) -> None:
    """Raises UserError unless all columns are single numbers, or there is one and it is of lists of numbers."""
    import pyarrow.types as types

    for name in inputs:
        kind, depth = inner_type(schema.field(name).type)
        is_number = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
        if not is_number:
            raise UserError(f"the column `{plain(name)}` of {shown(path)} is {kind}, expected numbers", help=HELP)
        if depth and len(inputs) > 1:
            text = f"{shown(path)} has {len(inputs)} columns of samples, and `{plain(name)}` is of lists"
            raise UserError(f"{text}, expected numbers or one column of lists", help="leave the others out")


def _read_part(path: Path, files: Sequence[ArrowFile], columns: _Columns) -> _Read:
    """All rows of a part. Raises UserError where they take more than MAX_BYTES."""
    read = _Read(sum(file.rows for file in files))
    if not read.rows:
        raise UserError(f"{shown(files[0].path)} has no rows", help="a table has a row for each sample")
    wanted = [*columns.inputs, *([] if columns.target is None else [columns.target])]
    for file in files:
        start = read.filled
        with arrow_reading(file.path):
            for batch, mapped in file.batches(wanted):
                _add(file.path, read, columns, batch, start, mapped)
        if read.filled - start != file.rows:
            raise UserError(f"{shown(file.path)} says it has {file.rows} rows, but has {read.filled - start}")
    return read


def _add(path: Path, read: _Read, columns: _Columns, batch: pa.RecordBatch, start: int, mapped: range | None) -> None:
    """Puts the rows of a batch behind those that are read; start: the number of those of other files."""
    row, count = read.filled - start, batch.num_rows
    if read.filled + count > read.rows:
        raise UserError(f"{shown(path)} has more rows than it says, {read.rows}")
    if columns.is_image:
        _add_images(path, read, images_of(path, columns.inputs[0], batch.column(columns.inputs[0]), row, mapped))
    elif len(columns.inputs) == 1:
        _add_numbers(path, read, values_of(path, columns.inputs[0], batch.column(columns.inputs[0]), row))
    else:
        cells = [values_of(path, name, batch.column(name), row) for name in columns.inputs]
        _add_numbers(path, read, np.stack(cells, axis=1).astype(np.float32) if count else np.empty((0, len(cells))))
    if columns.target is not None:
        read.targets.append(values_of(path, columns.target, batch.column(columns.target), row))
    read.filled += count


def _add_numbers(path: Path, read: _Read, values: np.ndarray) -> None:
    values = values if values.ndim > 1 else values[:, None]
    if read.numbers is None:
        if values.dtype != np.uint8:
            values = values.astype(np.float32)
        total = read.rows * int(np.prod(values.shape[1:], dtype=np.float64)) * values.dtype.itemsize
        if total > MAX_BYTES:
            text = f"{shown(path)} has {read.rows} rows, which take {total} bytes, the limit is {MAX_BYTES}"
            raise UserError(text, help="save them as `x.npy` and `y.npy` in a folder, which may be larger than memory")
        read.numbers = np.empty((read.rows, *values.shape[1:]), values.dtype)
    if values.shape[1:] != read.numbers.shape[1:]:
        both = f"{read.numbers.shape[1:]} and {values.shape[1:]}"
        raise UserError(f"the lists of {shown(path)} have different lengths: {both}", help="give each row as many")
    read.numbers[read.filled : read.filled + len(values)] = values


def _add_images(path: Path, read: _Read, images: Sequence[PackedImage]) -> None:
    read.bytes_of_images += sum(len(image.data) for image in images if isinstance(image, ImageBytes))
    if read.bytes_of_images > MAX_BYTES:
        text = f"the images of {shown(path)} are more than {MAX_BYTES} bytes, packed as they are"
        raise UserError(text, help="save them as files in a folder for each class, which may be larger than memory")
    read.images.extend(images)
