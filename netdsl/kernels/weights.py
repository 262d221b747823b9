"""Weights in a file, with numpy alone: `.safetensors` (huggingface.co/docs/safetensors) or `.npz`."""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from netdsl.kernels.arrays import Array, Shape

Place: TypeAlias = tuple[str, Shape, Any]
"""Dtype and shape of an array in a file, and where it lies there."""


def read_weights(path: str | os.PathLike[str], expected: Mapping[str, Array]) -> dict[str, Array]:
    """A `.safetensors` or `.npz` file -> {name: array}, with the names, shapes and dtypes of the arrays `expected`.

    float16, float32 and float64 are converted; names that begin with `netdsl.` (the optimizer of a checkpoint) or end
    with `.num_batches_tracked` (PyTorch's counters) are passed over. Names, dtypes, shapes and sizes are compared
    before any data is read. Raises ValueError, which names the file and the tensor, where they differ, where the file
    is damaged and where a number is not finite; FileNotFoundError where there is none.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path} is not a file")
    size, names = os.path.getsize(path), 2**22 + 2000 * len(expected)  # bytes of the file, and at most of its names
    try:
        if not str(path).endswith(".npz"):
            return take_weights(path, find_tensors(path, size, names), expected)
        if size > names + 8 * sum(array.size for array in expected.values()):
            raise ValueError(f"it has {size} bytes, more than these weights can take")
        with zipfile.ZipFile(path) as archive:
            return take_weights(archive, find_arrays(archive), expected)
    except Exception as error:  # whatever a decoder raises on damaged bytes
        raise ValueError(f"{path}: {str(error)[:300] or type(error).__name__}") from error


def take_weights(file: Any, held: Mapping[str, Place], expected: Mapping[str, Array]) -> dict[str, Array]:
    """held {name: (dtype, shape, place)} -> {name: array}, read from the file once all of `expected` are there."""
    passed = {name for name in held if name.startswith("netdsl.") or name.endswith(".num_batches_tracked")}
    for name in sorted((held.keys() | expected.keys()) - passed):
        dtype, shape, _ = held.get(name, ("", "nothing", 0))
        wanted = expected[name].shape if name in expected else "nothing"
        if shape != wanted:
            raise ValueError(f"{name!r} should be {wanted}, the file has {shape}")
        if dtype not in ("float16", "float32", "float64"):
            raise ValueError(f"{name!r} is {dtype}, expected float16, float32 or float64")
    weights = {}
    for name, array in expected.items():
        dtype, shape, place = held[name]
        if isinstance(file, zipfile.ZipFile):
            with file.open(place) as member:
                data = np.lib.format.read_array(member, allow_pickle=False)
        else:
            data = np.fromfile(file, np.dtype(dtype).newbyteorder("<"), math.prod(shape), offset=place).reshape(shape)
        with np.errstate(over="ignore"):
            weights[name] = data.astype(array.dtype, copy=False)
        if not np.isfinite(weights[name]).all():
            raise ValueError(f"{name!r} has numbers that are not finite in {array.dtype}")
    return weights


def find_tensors(path: str | os.PathLike[str], size: int, names: int) -> dict[str, Place]:
    """A safetensors file of `size` bytes, at most `names` of them its header -> {name: (dtype, shape, first byte)}.

    It is the length of the header (8 bytes), the header (JSON: dtype, shape and place of each tensor) and the data,
    every byte of which belongs to one tensor.
    """
    length = int(np.fromfile(path, "<u8", 1)[0]) if size >= 8 else 0
    if not 2 <= length <= min(size - 8, names):
        raise ValueError(f"the header is cut or too long: {length} bytes in a file of {size}")
    text = np.fromfile(path, np.uint8, length, offset=8).tobytes().decode()
    header = json.loads(text, object_pairs_hook=named_once)
    if not isinstance(header, dict):
        raise ValueError("the header is not a JSON object")
    header.pop("__metadata__", None)
    places, ranges = {}, []
    for name, entry in header.items():
        try:
            dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
            dtype, item = {"F16": ("float16", 2), "F32": ("float32", 4), "F64": ("float64", 8)}.get(dtype, (dtype, 0))
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{name!r} has no dtype, shape and data_offsets") from None
        is_right = all(type(n) is int and n >= 0 for n in (*shape, begin, end)) and begin <= end
        if not is_right or item and math.prod(shape) * item != end - begin:
            raise ValueError(f"{name!r} cannot be {dtype} of shape {shape} at the bytes {begin} to {end}")
        places[name] = dtype, shape, 8 + length + begin
        ranges.append((begin, end, repr(name)))
    last = 0
    for begin, end, name in [*sorted(ranges), (size - 8 - length, 0, "the end")]:
        if begin != last:
            raise ValueError(f"{name} is at byte {begin} of the data, but what is before it ends at {last}")
        last = end
    return places


def named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The dict of the pairs; raises ValueError where a name comes twice."""
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a name comes twice in the header")
    return dict(pairs)


def find_arrays(archive: zipfile.ZipFile) -> dict[str, Place]:
    """An open `.npz`, a zip file of `.npy` files as `np.savez` writes -> {name: (dtype, shape, member)}."""
    places = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name in places or member.compress_type not in (0, 8):
            raise ValueError(f"{name!r} comes twice, or is packed in another way than by NumPy")
        try:
            with archive.open(member) as file:
                if np.lib.format.read_magic(file) != (1, 0):
                    raise ValueError("not the first version of the format")
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
                held = member.file_size - file.tell()
        except Exception as error:  # whatever the decoders raise on damaged bytes
            raise ValueError(f"{name!r} is no array: {error}") from error
        if held != math.prod(shape) * dtype.itemsize or held > 1032 * member.compress_size + 1024:
            raise ValueError(f"{name!r} cannot be {dtype} of shape {shape} in {held} bytes")
        places[name] = dtype.name, shape, member
    return places


def write_weights(path: str | os.PathLike[str], weights: Mapping[str, Any]) -> None:
    """{name: array} -> a `.safetensors` or `.npz` file."""
    if str(path).endswith(".npz"):
        np.savez(path, **weights)
        return
    header, end = {}, 0
    for name, array in weights.items():
        dtype = {"f8": "F64", "f4": "F32", "f2": "F16"}[array.dtype.str[1:]]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    parts = [np.array([len(text)], "<u8"), np.frombuffer(text, np.uint8), *weights.values()]
    np.concatenate([np.ascontiguousarray(part).reshape(-1).view(np.uint8) for part in parts]).tofile(path)
