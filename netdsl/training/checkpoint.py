"""Checkpoints: the params and buffers of a model as one safetensors file, under PyTorch's names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netdsl.diagnostics import UserError, plain
from netdsl.files import write_atomic
from netdsl.training.idx import reading, shown, size_text

if TYPE_CHECKING:
    from safetensors import safe_open

    from netdsl.backends.network import Network

KEY = "netdsl"  # one key of metadata, since safetensors writes several in any order
DTYPES = {"F16": "float16", "F32": "float32", "F64": "float64"}
MAX_LISTED = 5  # names in a message


def save_checkpoint(
    path: Path, params: Mapping[str, np.ndarray], buffers: Mapping[str, np.ndarray], info: Mapping[str, object]
) -> None:
    """Writes the arrays and `info` (anything JSON holds), all or nothing; the same content gives the same bytes.

    Raises OSError.
    """
    from safetensors.numpy import save

    arrays = {name: np.asarray(array, order="C") for name, array in {**params, **buffers}.items()}
    write_atomic(path, save(arrays, {KEY: json.dumps(info, sort_keys=True)}))


def load_checkpoint(path: Path, model: Network) -> dict[str, object]:
    """Copies the file's arrays into the model's, in place, and returns the file's `info`.

    Names, shapes and dtypes are compared first: when the UserError about them is raised, the model is untouched.
    """
    from safetensors import SafetensorError, safe_open

    expected = {**model.params, **model.buffers}
    try:
        with reading(path), safe_open(path, "np") as file:
            _check_fits(path, file, expected)
            arrays = {name: file.get_tensor(name) for name in expected}
            info = json.loads((file.metadata() or {}).get(KEY, "{}"))
    except SafetensorError as error:
        reason = plain(" ".join(str(error).split()))[:200]
        raise UserError(f"{shown(path)} is not a whole safetensors file: {reason}") from None
    for name, array in arrays.items():
        expected[name][...] = array
    return info


def _check_fits(path: Path, file: safe_open, expected: Mapping[str, np.ndarray]) -> None:
    """Raises a UserError that lists what is missing, what is too much and what differs."""
    held = {name: _kind(file, name) for name in sorted(file.keys())}
    wanted = {name: f"{size_text(array.shape) or 'scalar'} {array.dtype}" for name, array in expected.items()}
    different = [f"`{n}` ({held[n]}, expected {wanted[n]})" for n in wanted if n in held and held[n] != wanted[n]]
    complaints = [
        _listed("it has no", [f"`{name}`" for name in wanted if name not in held]),
        _listed("it has also", [f"`{plain(name)}`" for name in held if name not in wanted]),
        _listed("differs in", different),
    ]
    if any(complaints):
        text = "; ".join(filter(None, complaints))
        raise UserError(f"{shown(path)} does not fit the network: {text}", help="was it trained with another spec?")


def _kind(file: safe_open, name: str) -> str:
    """`6x1x5x5 float32` of one of the file's arrays, which is not read."""
    array = file.get_slice(name)
    return f"{size_text(array.get_shape()) or 'scalar'} {DTYPES.get(array.get_dtype(), array.get_dtype())}"


def _listed(start: str, names: list[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return f"{start} {', '.join(names[:MAX_LISTED])}{more}" if names else ""
