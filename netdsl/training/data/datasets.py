"""Data to train on: built-in sets by name, texts, arrays, tables and images in files and folders, all as one
`Dataset`."""

from __future__ import annotations

import math
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from netdsl.graph.recipe import DATA_OPTIONS, DATASETS
from netdsl.graph.types import show_sizes
from netdsl.ground.catalog import CATALOG
from netdsl.ground.diagnostics import UserError, did_you_mean, plain
from netdsl.ground.reading import shown
from netdsl.ground.system.disk import name_in_letters, name_on_disk
from netdsl.training.data.arrays import holds_arrays, npy_parts, npz_parts
from netdsl.training.data.built_in import built_in, text_set
from netdsl.training.data.dataset import Dataset, most_measured, statistics
from netdsl.training.data.folders import class_folders
from netdsl.training.data.idx_sets import holds_idx, idx_parts, is_idx
from netdsl.training.data.images import fitted_bytes, fitted_masks
from netdsl.training.data.labels import class_name
from netdsl.training.data.limits import MAX_BYTES
from netdsl.training.data.masks import mask_folders, mask_parts
from netdsl.training.data.npz import sample_text
from netdsl.training.data.parquet import SUFFIX as PARQUET
from netdsl.training.data.parquet import parquet_files, parquet_parts
from netdsl.training.data.parts import Parts
from netdsl.training.data.recordings import recording_folders
from netdsl.training.data.saved_datasets import is_saved_dataset, saved_dataset_parts
from netdsl.training.data.signal_tables import signal_table_parts
from netdsl.training.data.splits import split_units, stratified
from netdsl.training.data.stored import Samples, Stored, chosen, each, first, joined
from netdsl.training.data.tables import SUFFIXES as TABLES
from netdsl.training.data.tables import table_parts
from netdsl.training.data.texts import is_text, text_file
from netdsl.training.data.wanted import Wanted
from netdsl.training.data.wavs import SUFFIXES as WAVS

TEST_FRACTION = 0.2


def load_dataset(
    name: str, data_dir: Path | None, limit: int | None = None, seed: int = 0, want: Wanted | None = None
) -> Dataset:
    """The data set called `name`: one of `DATASETS`, a text, a file of arrays, a table, or a folder of arrays, tables
    or samples.

    `data_dir` is where the files of `mnist` and `cifar10` are; `limit` keeps the first samples of each part;
    `seed` decides the split of data that has no test part; `want` is what is known of the network. Raises `UserError`.
    """
    if limit is not None and limit < 1:
        raise UserError(f"the limit of samples is {limit}, expected 1 or more")
    if seed < 0:
        raise UserError(f"the seed is {seed}, expected 0 or more")
    want = want or Wanted()
    if name in CATALOG and CATALOG[name].is_text:
        return text_set(name, data_dir, want, limit)
    if name in DATASETS:
        data = _fitted(_limited(built_in(name, data_dir), limit), want)
        return replace(data, layout=data.layout or want.layout_of(data.input_shape))
    if is_text(name, want):
        return text_file(_path(name), want, limit)
    name, rng = name_on_disk(name), np.random.default_rng(seed)
    return _split(_own_name(name), _fitted_parts(name, _own_parts(name, want), want), want, limit, rng)


def _limited(data: Dataset, limit: int | None) -> Dataset:
    arrays = {part: getattr(data, part)[:limit] for part in ("x_train", "y_train", "x_test", "y_test")}
    return replace(data, **arrays)


def _fitted(data: Dataset, want: Wanted) -> Dataset:
    """A built-in set of images in the size that the network takes, where a fit is set."""
    arrays = {"train": data.x_train, "test": data.x_test}
    parts = _fitted_parts(data.name, Parts(arrays, {"train": data.y_train, "test": data.y_test}), want)
    return replace(data, x_train=parts.x["train"], x_test=parts.x["test"], notes=parts.notes)


def _fitted_parts(name: str, parts: Parts, want: Wanted) -> Parts:
    """The parts with their images in the size that the network takes, where a fit is set.

    Raises UserError for samples that are no images of bytes."""
    x, shape = parts.x["train"], want.image_shape
    if want.fit is None or shape is None or x.shape[1:] == shape:
        return parts
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[1] not in (1, 3):
        text = f"`fit {want.fit}` is for images of bytes, but the samples of `{plain(name)}` are {sample_text(x)}"
        raise UserError(text, help=f"leave `fit` out, and bring them to {show_sizes(shape)} yourself")
    total = sum(map(len, parts.x.values())) * math.prod(shape)
    if total > MAX_BYTES and not isinstance(x, Stored):
        raise UserError(f"the images of {show_sizes(shape)} take {total} bytes, the limit is {MAX_BYTES}")
    fit, high, wide = want.fit, *shape[1:]
    are_masks = parts.y["train"].ndim == 3 and parts.y["train"].shape[1:] == x.shape[2:]
    y = {k: each(a, lambda b: fitted_masks(b, (high, wide), fit)) for k, a in parts.y.items()} if are_masks else parts.y
    sizes = f"{show_sizes(x.shape[1:])}: brought to {show_sizes(shape)}"
    note = f"the images of `{plain(name)}` are {sizes} (`fit {want.fit}`)"
    images = {part: each(a, lambda b: fitted_bytes(b, shape, fit)) for part, a in parts.x.items()}
    return replace(parts, x=images, y=y, notes=(*parts.notes, note))


def _path(name: str) -> Path:
    """The path that a user gives by this name."""
    name = name_on_disk(name)
    try:
        name_in_letters(name).encode()
    except UnicodeEncodeError:
        raise UserError(f"the name of the data {shown(name)} is not UTF-8", help="rename it") from None
    return Path(name)


def _own_parts(name: str, want: Wanted) -> Parts:
    """What the file or folder of that name holds."""
    _path(name)
    if name.lower().endswith(".npz"):
        return npz_parts(Path(name), want)
    if name.lower().endswith(TABLES):
        return (signal_table_parts if want.takes_series else table_parts)(Path(name), want)
    if os.path.isdir(name):
        return _folder_parts(Path(name), want)
    if name.lower().endswith(PARQUET) and os.path.isfile(name):
        return parquet_parts(Path(name), want)
    if is_idx(name) and os.path.isfile(name):
        return idx_parts(Path(name), want)
    raise _unknown_data(name)


def _folder_parts(folder: Path, want: Wanted) -> Parts:
    """What a folder holds: arrays, a table in files, else samples in files of their own."""
    if holds_arrays(folder):
        return npy_parts(folder, want)
    if holds_idx(folder):
        return idx_parts(folder, want)
    if is_saved_dataset(folder):
        return saved_dataset_parts(folder, want)
    if parquet_files(folder):
        return parquet_parts(folder, want)
    if want.takes_signals:
        return recording_folders(folder, want)
    pairs, notes = mask_folders(folder)
    return mask_parts(pairs, want, notes) if pairs else class_folders(folder, want)


def _own_name(name: str) -> str:
    return class_name(Path(name).resolve().name if os.path.isdir(name) else Path(name).name)


def _split(name: str, parts: Parts, want: Wanted, limit: int | None, rng: np.random.Generator) -> Dataset:
    """The parts as a data set. Without a test part a fifth of the training samples is it, of each class its share; the
    statistics are those of the training samples that are left once the validation part is taken out."""
    x, y, notes, units = dict(parts.x), dict(parts.y), parts.notes, parts.units
    parts = replace(parts, x={}, y={})  # memory is free as soon as the parts are made of it
    for part in [part for part in x if parts.are_sorted and (part != "train" or "test" in x)]:
        order = rng.permutation(len(x[part]))  # so that the first ones are of all classes
        x[part], y[part] = chosen(x[part], order), chosen(y[part], order)
        units = units[order] if units is not None and part == "train" else units
    if "test" not in x:  # before the limit: a short run is tested on no sample that a longer one learns from
        stay, go = _test_rows(name, y["train"], units, rng)
        units = None if units is None else units[stay]
        x["test"], y["test"] = chosen(x["train"], go), chosen(y["train"], go)
        x["train"], y["train"] = chosen(x["train"], stay), chosen(y["train"], stay)
        if "val" in x:
            notes = (*notes, f"`{name}` has no test part: {len(go)} training samples, a fifth, are it")
    x, y = ({part: first(a, limit) for part, a in arrays.items()} for arrays in (x, y))
    held = len(x.get("val", ()))
    if held:
        x["train"], y["train"] = joined([x["train"], x["val"]]), joined([y["train"], y["val"]])
    arrays = x["train"], y["train"], x["test"], y["test"]
    units = None if held or units is None else units[:limit]
    layout = "ids" if parts.limit else want.layout_of(x["train"].shape[1:])
    data = Dataset(name, *arrays, parts.classes, (), (), held=held, is_own=True, bits=parts.bits, notes=notes)
    data = replace(data, layout=layout, rate=parts.rate, units=units, limit=parts.limit)
    if data.has_ids:  # nothing normalises them
        return replace(data, mean=(0.0,), std=(1.0,))
    return data if want.has_constants else _measured(data, want)


def _measured(data: Dataset, want: Wanted) -> Dataset:
    """The data with the mean and std of the samples that are learned from."""
    rows, _ = data.parts(want.val, want.seed)
    mean, std = statistics(data.x_train, None if len(rows) == len(data.x_train) else rows, data.layout)
    most, notes = most_measured(data.x_train), data.notes
    if len(rows) > most:
        notes = (*notes, f"the mean and std of `{data.name}` are those of {most} evenly spaced training samples")
    return replace(data, mean=mean, std=std, notes=notes)


def _test_rows(
    name: str, y: Samples, units: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The indices of the training and of the test samples, shuffled; whole units where there are such."""
    if units is not None and not isinstance(y, Stored):
        return split_units(units, y, TEST_FRACTION, rng)
    count = len(y)
    if count < 2:
        raise UserError(f"`{plain(name)}` has {count} sample, expected 2 or more to split off a test part")
    held = max(1, round(TEST_FRACTION * count))
    if not isinstance(y, Stored) and y.dtype == np.int64 and y.ndim == 1:
        if len(np.unique(y)) == count:
            text = f"`{plain(name)}` has 1 sample of each class, expected 2 or more to split off a test part"
            raise UserError(text, help="`--loss mse` and one output are for numbers that are to be met")
        return stratified(y, held, rng, least=1)
    order = rng.permutation(count)
    return order[held:], order[:held]


def _unknown_data(name: str) -> UserError:
    own = "a `.npz`, `.csv` or `.parquet` file, `text` and a path, and a folder of images or `.npy` files"
    known = f"known are {', '.join(f'`{n}`' for n in DATASETS)}, {own}"
    if os.path.exists(name):
        return UserError(
            f"cannot use {shown(name)} as data: it is no `.npz`, `.csv` or `.parquet` file and no folder",
            help=_other_help(name) or known,
        )
    behind = re.match(r"(.+?)\s+(\w+)=", name)
    if behind and os.path.exists(behind[1]):
        options = ", ".join(f"`{option}`" for option in DATA_OPTIONS)
        return UserError(f"data have no option `{behind[2]}`", help=f"behind a path may stand {options}")
    near = did_you_mean(name, DATASETS)
    return UserError(
        f"there is no data called {shown(name)}", help=f"did you mean `{near}`? {known}" if near else known
    )


def _other_help(name: str) -> str:
    """What to do with a file of another kind."""
    if name.lower().endswith(".npy"):
        return "name a folder that holds `x.npy` and `y.npy`, or save one file: np.savez(file, x=..., y=...)"
    if name.lower().endswith((".zip", ".tar", ".gz", ".tgz")):
        return "unpack it, and name its folder"
    if name.lower().endswith(WAVS):
        return "put recordings into a folder for each class, and name the folder that holds these"
    return ""
