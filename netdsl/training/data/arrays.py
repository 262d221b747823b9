"""Arrays with names as a data set: which is what by its name, and samples in the shape that the network takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from netdsl.graph.types import Tensor, show_sizes
from netdsl.ground.diagnostics import UserError, plain
from netdsl.ground.reading import shown
from netdsl.training.data.id_arrays import id_parts
from netdsl.training.data.labels import Arrays, Targets, finite, read_targets, words_in
from netdsl.training.data.listing import subfolders
from netdsl.training.data.npy import npy_names, read_npy, stored_npy
from netdsl.training.data.npz import npz_names, read_npz, sample_text
from netdsl.training.data.parts import PART_NAMES, Parts
from netdsl.training.data.stored import Samples, Stored, each
from netdsl.training.data.wanted import Wanted

INPUTS = ("x", "xs", "images", "image", "imgs", "data", "inputs", "input", "features", "samples")
TARGETS = ("y", "ys", "labels", "label", "targets", "target", "masks", "mask")
CLASS_NAMES = ("class_names", "label_names", "target_names")
MAX_WHOLE = 2**24  # whole numbers up to it are exact in float32
OTHER_NAMES = (
    "; `images` and `labels`, `data` and `target` are read too, and with a part, as in "
    "`x_train y_train x_val y_val x_test y_test`"
)
NPZ_HELP = f"use np.savez(file, x=..., y=...){OTHER_NAMES}"
NPY_HELP = f"save `x.npy` and `y.npy`{OTHER_NAMES}"

Load = Callable[[tuple[str, ...], tuple[str, ...]], Mapping[str, Samples]]
"""(names of samples, of everything else) -> these arrays; of the samples perhaps nothing is read yet."""


def npz_parts(path: Path, want: Wanted) -> Parts:
    """The parts that a `.npz` holds, see `array_parts`. Raises UserError."""
    return array_parts(path, npz_names(path), lambda inputs, rest: read_npz(path, (*inputs, *rest)), want, NPZ_HELP)


def npy_parts(folder: Path, want: Wanted) -> Parts:
    """The parts that the `.npy` files of a folder hold, see `array_parts`; the samples are read when they are asked
    for. Raises UserError."""

    def load(inputs: tuple[str, ...], rest: tuple[str, ...]) -> Mapping[str, Samples]:
        whole = {name: read_npy(folder, name) for name in rest}
        return {**whole, **{name: stored_npy(folder, name) for name in inputs}}

    return array_parts(folder, npy_names(folder), load, want, NPY_HELP)


def holds_arrays(folder: Path) -> bool:
    """Whether a folder has `.npy` files of samples, or others and no folders."""
    names = npy_names(folder)
    return any(_part_and_word(name)[1] in INPUTS for name in names) or bool(names and not subfolders(folder))


def array_parts(path: Path, held: tuple[str, ...], load: Load, want: Wanted, help_text: str) -> Parts:
    """The training samples that a file or folder holds as arrays, and its validation and test samples where it has any.

    held: the names of the arrays. help_text: how they are to be called. Without targets the inputs are the targets,
    bytes as 0 to 1: what an autoencoder learns. Raises UserError.
    """
    inputs, targets = _roles(path, held, help_text)
    return named_parts(path, inputs, targets, tuple(name for name in CLASS_NAMES if name in held)[:1], load, want)


def named_parts(
    path: Path,
    inputs: Mapping[str, str],
    targets: Mapping[str, str],
    named: tuple[str, ...],
    load: Load,
    want: Wanted,
) -> Parts:
    """The arrays as parts; inputs, targets: part -> the name of its array; named: that of the names of classes, if
    there is one. Raises UserError."""
    arrays = load(tuple(inputs.values()), (*targets.values(), *named))
    x: Mapping[str, Samples] = {part: arrays[name] for part, name in inputs.items()}
    y = {part: np.asarray(arrays[name]) for part, name in targets.items()}
    _check_lengths(path, inputs, targets, x, y)
    if want.takes is not None and want.takes.is_ids:
        return id_parts(path, inputs, x, read_targets(path, targets, y, want) if targets else None, want)
    x, notes = shaped(path, inputs, x, want)
    notes = (*notes, *want.unused("arrays"))
    if not targets and want.needs_labels:
        text = f"{shown(path)} has no labels `y`, which the loss `{want.loss}` needs"
        raise UserError(text, help="add y=...; an autoencoder, whose inputs are its targets, learns by `--loss mse`")
    if not targets:
        return Parts(x, {part: each(a, _scaled) for part, a in x.items()}, (), notes)
    targets_read = read_targets(path, targets, y, want)
    classes = _named(path, targets_read, np.asarray(arrays[named[0]])) if named else targets_read.classes
    return Parts(x, targets_read.parts, classes, (*notes, *targets_read.notes))


def _named(path: Path, targets: Targets, names: np.ndarray) -> tuple[str, ...]:
    """The names of the classes where they are one for each, else their numbers."""
    words = tuple(words_in(path, "class_names", names.ravel())) if names.dtype.kind in "US" else ()
    fits = len(words) == len(set(words)) == len(targets.classes) and all(words)
    return words if fits and targets.classes == tuple(map(str, range(len(words)))) else targets.classes


def _scaled(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x


def _roles(path: Path, held: tuple[str, ...], help_text: str) -> tuple[dict[str, str], dict[str, str]]:
    """-> part -> name of its inputs, part -> name of its targets; parts are `train`, `val` and `test`."""
    inputs: dict[str, list[str]] = {}
    targets: dict[str, list[str]] = {}
    for name in held:
        part, word = _part_and_word(name)
        for known, names_of in ((INPUTS, inputs), (TARGETS, targets)):
            if word in known:
                names_of.setdefault(part, []).append(name)
    if not inputs and set(held) <= {"arr_0", "arr_1"}:  # np.savez(file, x, y)
        inputs = {"": ["arr_0"]} if "arr_0" in held else {}
        targets = {"": ["arr_1"]} if "arr_1" in held else {}
    input_of, target_of = _chosen(path, inputs), _chosen(path, targets)
    if "train" not in input_of or not set(target_of) <= set(input_of):
        raise _no_inputs(path, held, help_text)
    return input_of, target_of


def _part_and_word(name: str) -> tuple[str, str]:
    """`x_train`, `train_images` and `trainX` -> the part and the rest, in small letters."""
    lower = name.lower()
    for part, words in PART_NAMES.items():
        for word in sorted(words, key=len, reverse=True):
            for rest in (lower.removeprefix(word), lower.removesuffix(word)):
                if rest != lower and rest.strip("_-. ") in (*INPUTS, *TARGETS):
                    return part, rest.strip("_-. ")
    return "", lower


def _chosen(path: Path, names_of: Mapping[str, list[str]]) -> dict[str, str]:
    """One name for each part; that of no part is the training part's. `x` and `y` win over every other name."""
    chosen: dict[str, str] = {}
    for part, names in names_of.items():
        exact = [name for name in names if name in ("x", "y")]
        part = part or "train"
        both = [chosen[part]] if part in chosen else []
        both += exact or names
        if len(both) > 1:
            text = f"{shown(path)} holds {' and '.join(f'`{plain(n)}`' for n in both[:2])}, and either may be meant"
            raise UserError(text, help="keep one of them: np.savez(file, x=..., y=...)")
        chosen[part] = both[0]
    return chosen


def _no_inputs(path: Path, held: tuple[str, ...], help_text: str) -> UserError:
    names = ", ".join(f"`{plain(name)}`" for name in held[:10]) or "nothing"
    return UserError(f"{shown(path)} has no array `x` of training samples; it holds {names}", help=help_text)


def _check_lengths(
    path: Path, inputs: Mapping[str, str], targets: Mapping[str, str], x: Mapping[str, Samples], y: Arrays
) -> None:
    for part, name in inputs.items():
        if bool(targets) != (part in targets):
            both = f"`{plain(name)}` and `{plain(_other(name))}`"
            raise UserError(f"{shown(path)} has only one of {both}, expected both or neither")
        a, b = x[part], y.get(part)
        if a.ndim < 2 or not a.size or (b is not None and (b.ndim < 1 or not b.size or len(a) != len(b))):
            shapes = f"`{plain(name)}` of shape {a.shape}"
            shapes += f" and `{plain(targets[part])}` of shape {b.shape}" if b is not None else ""
            raise UserError(f"{shown(path)} has {shapes}, expected (N, ...) and (N,) with one N >= 1")


def _other(name: str) -> str:
    """The name that the targets of these inputs could have: `y_test` of `x_test`."""
    for given, other in zip(("x", "X", "images", "data"), ("y", "Y", "labels", "target"), strict=True):
        if given in name:
            return name.replace(given, other, 1)
    return "y"


def shaped(
    path: Path, names: Mapping[str, str], parts: Mapping[str, Samples], want: Wanted
) -> tuple[Mapping[str, Samples], tuple[str, ...]]:
    """Samples (N, ...) -> uint8 or float32 in the shape of the network's input where that is certain, and notes.

    What is certain: a channel axis that is missing, channels that stand last, a map of one channel in a line.
    Raises UserError.
    """
    parts = {part: _numbers(path, names[part], a) for part, a in parts.items()}
    first = next(iter(parts))
    for part, a in parts.items():
        if a.shape[1:] != parts[first].shape[1:] or a.dtype != parts[first].dtype:
            both = f"{sample_text(parts[first])} and {sample_text(a)}"
            text = f"the samples of `{plain(names[first])}` and `{plain(names[part])}` in {shown(path)} differ"
            raise UserError(f"{text}: {both}")
    shape, takes = parts[first].shape[1:], want.takes
    sizes = None if takes is None else takes.sizes
    where = f"the samples `{plain(names[first])}` of {shown(path)}"
    if sizes == shape:
        return parts, ()
    if takes is not None and takes.is_map and (shape[-1], *shape[:-1]) == sizes:
        moved = {part: each(a, _with_channels_first) for part, a in parts.items()}
        return moved, (f"{where} are {show_sizes(shape)}, channels last: read as {takes.show()}",)
    is_bytes = parts[first].dtype == np.uint8
    may_be_images = takes is None or not takes.is_map or takes.is_image
    is_grey = is_bytes and len(shape) == 2 and may_be_images
    if is_grey or (sizes == (1, *shape) and takes is not None and takes.is_map):
        note = f"{where} are {show_sizes(shape)}: read as one channel, {show_sizes((1, *shape))}"
        return {part: each(a, _with_a_channel) for part, a in parts.items()}, () if is_grey else (note,)
    if takes is not None and len(shape) == 1 and not takes.is_vector and takes.size == shape[0]:
        return _unrolled(path, names[first], parts, takes)
    if len(shape) == 3 and shape[2] in (1, 3, 4) and min(shape[:2]) > 4 and (takes or is_bytes) and may_be_images:
        text = f"the images `{plain(names[first])}` of {shown(path)} are {sample_text(parts[first])}"
        raise UserError(f"{text}, expected C x H x W", help=_last_help(shape, sizes))
    if takes is not None and takes.axes == 1 and shape[:-1] == takes.space != shape[1:]:
        text = f"the signals `{plain(names[first])}` of {shown(path)} are {sample_text(parts[first])}, expected C x L"
        spec = f"begin the spec with `input {show_sizes(shape[::-1])} map`"
        raise UserError(text, help=f"use x.{channels_first(1)}, and {spec}")
    return parts, ()


def _with_channels_first(a: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(a, -1, 1))


def _with_a_channel(a: np.ndarray) -> np.ndarray:
    return a[:, None]


def channels_first(axes: int) -> str:
    """The call that moves channels from behind so many axes of space to before them: `transpose(0, 3, 1, 2)`."""
    return f"transpose(0, {axes + 1}, {', '.join(map(str, range(1, axes + 1)))})"


def _last_help(shape: tuple[int, ...], takes: tuple[int, ...] | None) -> str:
    first = show_sizes((shape[2], *shape[:2]))
    rest = f", and begin the spec with `input {first}`" if takes is not None and takes != (shape[2], *shape[:2]) else ""
    return f"use x.{channels_first(2)}{rest}"


def _unrolled(
    path: Path, name: str, parts: Mapping[str, Samples], takes: Tensor
) -> tuple[Mapping[str, Samples], tuple[str, ...]]:
    """(N, D) -> (N, *sizes) of maps whose places stand in a line. Raises UserError where their order is not known."""
    if not takes.is_map or takes.channels != 1:
        text = f"`{plain(name)}` of {shown(path)} has {takes.size} numbers a sample"
        text += f", but the network takes {takes.show()}"
        planes = f"x.reshape(-1, {', '.join(map(str, takes.sizes))})"
        places = f"x.reshape(-1, {', '.join(map(str, (*takes.space, takes.channels)))}).{channels_first(takes.axes)}"
        rest = f", {places} where channels stand last" if takes.is_map else ""
        raise UserError(text, help=f"use {planes} where channels stand first{rest}")
    lines = f"lines of {takes.size} {'pixels' if takes.is_image else 'numbers'}: read as {takes.show()}"
    note = f"the samples `{plain(name)}` of {shown(path)} are {lines}"
    return {part: each(a, lambda b: b.reshape(len(b), *takes.sizes)) for part, a in parts.items()}, (note,)


def _numbers(path: Path, name: str, a: Samples) -> Samples:
    """uint8 as it is, floats and whole numbers as float32. Raises UserError for what is no number; of what is read when
    it is asked for, it is said then whether its numbers are some."""
    if a.dtype.kind not in "iufb":
        where = f"the array `{plain(name)}` of {shown(path)}"
        raise UserError(f"{where} has dtype {a.dtype}, expected integers or floats", help="save numbers")
    if a.dtype == np.uint8:
        return a
    return each(a, lambda b: _as_floats(path, name, b, isinstance(a, Stored)))


def _as_floats(path: Path, name: str, a: np.ndarray, is_piece: bool) -> np.ndarray:
    """is_piece: whether these are a few of the samples, so that their number is not said."""
    where = f"the array `{plain(name)}` of {shown(path)}"
    if a.dtype.kind == "f":
        try:
            return finite(path, name, a)
        except UserError as error:
            text = f"{where} has values that are NaN or infinite as float32"
            raise UserError(text if is_piece else error.message, help=error.help) from None
    if a.dtype.itemsize > 2 and a.size and max(-int(a.min()), int(a.max())) > MAX_WHOLE:
        raise UserError(f"{where} has numbers that float32 cannot hold", help="use x.astype(np.float32)")
    return a.astype(np.float32)
