"""Checkpoints: one safetensors file each, with the weights under PyTorch's names.

Names that begin with `netdsl.` are what only training needs, as the optimizer's state; whoever wants the weights leaves
them out. The metadata are one key of JSON, since safetensors writes several in any order; among them is the sha256 of
all the rest, so that a damaged file is known as one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netdsl.graph.types import show_sizes
from netdsl.ground.diagnostics import UserError, plain
from netdsl.ground.files import temporary_name, write_atomic
from netdsl.ground.ranks import ALONE, Ranks
from netdsl.ground.reading import reading, shown
from netdsl.ground.system.disk import has_second_name, replace, sync_folder

if TYPE_CHECKING:
    from safetensors import safe_open

    from netdsl.targets.contract import Model

KEY, DIGEST, PRIVATE = "netdsl", "sha256", "netdsl."
CHECKPOINTS = ("last", "prev", "best")  # as they are tried, to go on from
DTYPES = {"F16": "float16", "F32": "float32", "F64": "float64"}
MAX_LISTED = 5  # names in a message


def checkpoint_path(run: Path, which: str) -> Path:
    """`which` is "best", "last" or "prev", the one before the last."""
    return run / "checkpoints" / f"{which}.safetensors"


def weights_of(model: Model) -> dict[str, np.ndarray]:
    """The model's own params and buffers, in one dict."""
    return {**model.params, **model.buffers}


def save_checkpoint(path: Path, arrays: Mapping[str, np.ndarray], info: Mapping[str, object]) -> None:
    """Writes the arrays and `info` (anything JSON holds), all or nothing; the same content gives the same bytes.

    Raises OSError.
    """
    from safetensors.numpy import save

    held = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    text = json.dumps({**info, DIGEST: _digest(held, info)}, sort_keys=True)  # sorted: the same content, the same bytes
    write_atomic(path, save(held, {KEY: text}))


def rename_copy(source: Path, target: Path) -> None:
    """Makes `target` what `source` is, all or nothing: a second name of the same file, which nobody changes.

    Raises OSError.
    """
    # a link costs nothing where a copy would cost the disk a checkpoint; it goes to a new name first, since a name that
    # is taken cannot be linked to, and a rename replaces it in one step
    temp = target.with_name(temporary_name(target.name))
    if not has_second_name(source, temp):
        write_atomic(target, source.read_bytes())
        return
    try:
        replace(temp, target)
    except BaseException:
        if os.path.lexists(temp):
            os.unlink(temp)
        raise
    if os.path.lexists(temp):  # two names of one file already: the system does nothing then
        os.unlink(temp)
    sync_folder(os.fspath(target.parent))


def load_checkpoint(path: Path, model: Model, ranks: Ranks = ALONE) -> dict[str, object]:
    """Copies the file's weights into the model's, in place, and returns the file's `info`. The first process reads for
    all.

    Names, shapes and dtypes are compared first: when the UserError about them is raised, the model is untouched.
    """
    expected = weights_of(model)
    arrays, info = ranks.shared(lambda: read_checkpoint(path, expected))
    for name, array in weights_of(model).items():
        array[...] = arrays[name]
    return info


def read_checkpoint(
    path: Path, expected: Mapping[str, np.ndarray], is_whole: bool = False, optional: Collection[str] = ()
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """-> all arrays of the file and its `info`. It must hold arrays like those expected, finite weights, and no others.

    is_whole: whether `netdsl.` names are among the expected ones; else it may have any of them. optional: names that it
    may have though they are not expected, or lack though they are. Raises UserError.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with reading(path), safe_open(path, "np") as file:
            _check_fits(path, file, expected, is_whole, optional)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
            info = json.loads((file.metadata() or {}).get(KEY, "{}"))
            digest = info.pop(DIGEST, None) if isinstance(info, dict) else ""
            is_whole_file = digest is None or digest == _digest(arrays, info)
    except SafetensorError as error:
        reason = plain(" ".join(str(error).split()))[:200]
        raise UserError(f"{shown(path)} is not a whole safetensors file: {reason}") from None
    if not is_whole_file:
        raise UserError(f"{shown(path)} is damaged: its {DIGEST} is another than when it was written")
    weights = [name for name in expected if not name.startswith(PRIVATE)]
    wrong = [f"`{name}`" for name in weights if not np.isfinite(arrays[name]).all()]
    if wrong:
        raise UserError(_listed(f"{shown(path)} has numbers that are not finite in", wrong))
    return arrays, info


def _digest(arrays: Mapping[str, np.ndarray], info: Mapping[str, object]) -> str:
    """The sha256 of everything in a checkpoint but itself."""
    digest = hashlib.sha256(json.dumps(info, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(f"\n{name} {arrays[name].dtype} {arrays[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def _check_fits(
    path: Path, file: safe_open, expected: Mapping[str, np.ndarray], is_whole: bool, optional: Collection[str]
) -> None:
    """Raises a UserError that lists what is missing, what is too much and what differs."""
    there = sorted(file.keys())  # type: ignore[no-untyped-call]  # safetensors gives its methods no types
    names = [name for name in there if is_whole or not name.startswith(PRIVATE)]
    held = {name: _kind(file, name) for name in names}
    wanted = {name: f"{show_sizes(array.shape) or 'scalar'} {array.dtype}" for name, array in expected.items()}
    different = [f"`{n}` ({held[n]}, expected {wanted[n]})" for n in wanted if n in held and held[n] != wanted[n]]
    complaints = [
        _listed("it has no", [f"`{name}`" for name in wanted if name not in held and name not in optional]),
        _listed("it has also", [f"`{plain(name)}`" for name in held if name not in wanted and name not in optional]),
        _listed("differs in", different),
    ]
    if any(complaints):
        text = "; ".join(filter(None, complaints))
        raise UserError(f"{shown(path)} does not fit the network: {text}", help="was it trained with another spec?")


def _kind(file: safe_open, name: str) -> str:
    """`6x1x5x5 float32` of one of the file's arrays, which is not read."""
    array = file.get_slice(name)  # type: ignore[no-untyped-call]  # safetensors gives its methods no types
    return f"{show_sizes(array.get_shape()) or 'scalar'} {DTYPES.get(array.get_dtype(), array.get_dtype())}"


def _listed(start: str, names: list[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return f"{start} {', '.join(names[:MAX_LISTED])}{more}" if names else ""
