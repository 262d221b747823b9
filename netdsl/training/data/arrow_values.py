"""Columns of Arrow's as arrays and images, none of them believed; what pyarrow says of damaged files, as one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl.ground.diagnostics import UserError, plain
from netdsl.ground.reading import parsing, shown
from netdsl.training.data.image_files import ImageBytes, ImageSlice, PackedImage
from netdsl.training.data.limits import MAX_CLASSES

if TYPE_CHECKING:
    import pyarrow as pa

MAX_NAMES_BYTES = 2**24  # of the text that says what classes are called
HELP = "leave the column out, or give each of its words a number"


def require_pyarrow(path: Path) -> None:
    """Raises UserError where pyarrow, which reads such files, is not installed."""
    if find_spec("pyarrow") is None:
        text = f"{shown(path)} is read by pyarrow, which is not installed"
        raise UserError(text, help="`pip install 'netdsl[parquet]'`, or `pip install pyarrow`")


@contextmanager
def arrow_reading(path: Path) -> Iterator[None]:
    """Turns what pyarrow says about a damaged file into a UserError."""
    import pyarrow as pa

    with parsing(path):
        try:
            yield
        except pa.ArrowException as error:
            if isinstance(error, MemoryError | OSError):
                raise
            raise ValueError(str(error)) from None


def is_image(kind: pa.DataType) -> bool:
    """Whether a column is bytes, or as `datasets` stores images, bytes beside a path."""
    import pyarrow.types as types

    if types.is_struct(kind):
        return "bytes" in [kind.field(i).name for i in range(kind.num_fields)]
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def inner_type(kind: pa.DataType) -> tuple[pa.DataType, int]:
    """The type of the values of nested lists, and how deep they are nested."""
    import pyarrow as pa
    import pyarrow.types as types

    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner, depth = inner_type(kind.value_type)
        return inner, depth + 1
    return kind, 0


def values_of(path: Path, name: str, column: pa.Array, row: int) -> np.ndarray:
    """(n, ...) of a column: numbers, words, or nested lists of one length. Raises UserError for what is missing."""
    import pyarrow as pa
    import pyarrow.types as types

    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    if column.null_count:
        at = row + int(np.argmin(column.is_valid().to_numpy(zero_copy_only=False))) + 1
        text = f"row {at}, column `{plain(name)}` of {shown(path)} is missing"
        raise UserError(text, help="fill it in, or leave the row or the column out")
    kind = column.type
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = values_of(path, name, column.flatten(), row)
        lengths = np.unique(column.value_lengths().to_numpy(zero_copy_only=False)) if len(column) else np.array([0])
        if len(lengths) > 1 or len(inner) != len(column) * int(lengths[0]):
            text = f"the lists in column `{plain(name)}` of {shown(path)} have different lengths"
            raise UserError(f"{text}, {lengths[0]} and {lengths[-1]}", help="give each row as many numbers")
        return inner.reshape(len(column), int(lengths[0]), *inner.shape[1:])
    if types.is_string(kind) or types.is_large_string(kind):
        return np.array(column.to_pylist(), np.str_)
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        raise UserError(f"the column `{plain(name)}` of {shown(path)} is {kind}, expected numbers or words", help=HELP)
    values: np.ndarray = column.to_numpy(zero_copy_only=False)
    return values.astype(np.uint8) if values.dtype == bool else values


def images_of(path: Path, name: str, column: pa.Array, row: int, mapped: range | None) -> list[PackedImage]:
    """The images of a column that begins at this row of the file: where they lie in it, if it is mapped to these
    addresses, else their bytes. Raises UserError where one is missing."""
    import pyarrow as pa

    data = column.field("bytes") if isinstance(column, pa.StructArray) else column
    for part in (column, data):
        if part.null_count:
            at = row + int(np.argmin(part.is_valid().to_numpy(zero_copy_only=False))) + 1
            text = f"row {at}, column `{plain(name)}` of {shown(path)} has no bytes of an image"
            raise UserError(text, help="save the images themselves, not their paths")
    _, offsets, values = data.buffers()
    if mapped is None or not len(data) or values is None or values.address not in mapped:
        return [ImageBytes(f"{path}[{row + i}]", value) for i, value in enumerate(data.to_pylist())]
    kind = np.int64 if pa.types.is_large_binary(data.type) else np.int32
    places = np.frombuffer(offsets, kind)[data.offset : data.offset + len(data) + 1].astype(np.int64)
    edges = (places + values.address - mapped.start).tolist()
    return [ImageSlice(path, row + i, a, b - a) for i, (a, b) in enumerate(zip(edges, edges[1:], strict=False))]


def names_of_classes(features: Any) -> dict[str, tuple[str, ...]]:
    """column -> the names of its classes, of the features of a data set as Hugging Face's `datasets` describes them."""
    names = {}
    for column, feature in features.items() if isinstance(features, dict) else ():
        given = feature.get("names") if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None
        if isinstance(given, list) and given and len(given) <= MAX_CLASSES and all(isinstance(n, str) for n in given):
            names[column] = tuple(given)
    return names


def names_in_schema(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """column -> the names of its classes, where `datasets` has written the file."""
    text = (schema.metadata or {}).get(b"huggingface", b"")
    try:
        said: Any = json.loads(text) if len(text) <= MAX_NAMES_BYTES else None
        return names_of_classes(said["info"]["features"])
    except (ValueError, TypeError, LookupError, RecursionError):
        return {}
