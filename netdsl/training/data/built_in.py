"""The data sets that netdsl knows by name: those that come with it, and those whose files it finds."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from netdsl.ground.catalog import CATALOG, NamedData, Reader
from netdsl.ground.diagnostics import UserError
from netdsl.ground.reading import reading, shown
from netdsl.training.data.dataset import Dataset
from netdsl.training.data.idx import read_cifar, read_idx
from netdsl.training.data.labels import check_labels
from netdsl.training.data.missing import MINI_HELP, TEXT_HELP, missing_files
from netdsl.training.data.mnist1d import TRAIN as MNIST1D_TRAIN
from netdsl.training.data.mnist1d import mnist1d
from netdsl.training.data.npz import read_npz
from netdsl.training.data.places import Place, package_file, readable_place, roots
from netdsl.training.data.shapes import TRAIN as SHAPES_TRAIN
from netdsl.training.data.shapes import shapes
from netdsl.training.data.texts import Text, text_dataset, text_of
from netdsl.training.data.wanted import Wanted

SPIRAL_TRAIN, SPIRAL_TEST, SPIRAL_NOISE = 1500, 300, 0.2  # points, points, radians

MOST_OF_TEXT = 4  # times the size of a published text, that another one of its name may have

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""x_train, y_train, x_test, y_test as in a `Dataset`."""


def built_in(name: str, data_dir: Path | None) -> Dataset:
    """The data set of that name. data_dir: where its files are looked for first. Raises UserError where they are
    nowhere."""
    return LOADERS[name](data_dir)


def _dataset(name: str, *arrays: np.ndarray) -> Dataset:
    """The arrays x_train, y_train, x_test, y_test with what the catalog says of the set."""
    x_train, y_train, x_test, y_test = arrays
    data = CATALOG[name]
    return Dataset(name, x_train, y_train, x_test, y_test, data.classes, data.mean, data.std)


def _halves(name: str, x: np.ndarray, y: np.ndarray, train: int) -> Dataset:
    """The first samples to learn from, the others to test."""
    return _dataset(name, x[:train], y[:train], x[train:], y[train:])


def _mnist_mini(data_dir: Path | None) -> Dataset:
    """5,000 + 1,000 MNIST digits that come with the package; see mnist_mini.md."""
    return _dataset("mnist-mini", *_npz_arrays(package_file("mnist-mini")))


def _npz_arrays(path: Path) -> Arrays:
    """Grey images and their labels as Keras' `mnist.npz` and netdsl's own have them. Nothing is unpickled."""
    a = read_npz(path, ("x_train", "y_train", "x_test", "y_test"))
    for part in ("train", "test"):
        x, y = a[f"x_{part}"], a[f"y_{part}"]
        if x.dtype != np.uint8 or x.ndim != 3 or y.dtype.kind not in "iu" or y.shape != x.shape[:1] or not len(x):
            text = f"{shown(path)} has `x_{part}` of {x.dtype} {x.shape} and `y_{part}` of {y.dtype} {y.shape}"
            raise UserError(f"{text}, expected bytes (N, 28, 28) and labels (N,)")
    y_train, y_test = (check_labels(path, a[name], 10) for name in ("y_train", "y_test"))
    return a["x_train"][:, None], y_train, a["x_test"][:, None], y_test


def _of_files(name: str, data_dir: Path | None) -> Dataset:
    """A set from the first place that has files enough. Raises UserError where there is none."""
    data, where = CATALOG[name], roots(data_dir)
    _check_folder(data, data_dir)
    place = readable_place(data, where)
    if place is None:
        raise missing_files(data, where)
    return _dataset(name, *READERS[data.reader](data, place))


def _check_folder(data: NamedData, data_dir: Path | None) -> None:
    if data_dir is not None and not os.path.isdir(data_dir):
        text = f"NETDSL_DATA_DIR is {shown(data_dir)}, which is not a folder"
        raise UserError(text, help=TEXT_HELP if data.is_text else MINI_HELP)


def named_text(name: str, data_dir: Path | None, names: tuple[str, ...] = ()) -> Text:
    """The text of that name, from the package or the first place that has it. names: the vocabulary of a run.

    A note says where it is not the published one. Raises UserError.
    """
    data, where = CATALOG[name], roots(data_dir)
    if not data.has_files:
        path = package_file(name)
        return text_of(f"`{name}`", _unpacked(path, MOST_OF_TEXT * (data.train + data.test)), names=names)
    _check_folder(data, data_dir)
    (member,), place = data.members, readable_place(data, where)
    if place is None:
        raise missing_files(data, where)
    path = place.files[member.name]
    raw = _unpacked(path, MOST_OF_TEXT * member.size)
    text = text_of(shown(path), raw, names=names)
    if hashlib.sha256(raw).hexdigest() == member.sha256:
        return text
    note = f"{shown(path)} is not the `{name}` that was published ({len(raw):,} bytes, that one has {member.size:,})"
    return replace(text, notes=(*text.notes, note))


def _unpacked(path: Path, most: int) -> bytes:
    """The bytes of a file, of a `.gz` those that it unpacks to. Raises UserError where they are more than `most`."""
    with reading(path):
        with open(path, "rb") as file:
            is_zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if is_zipped else open(path, "rb") as file:
            raw = file.read(most + 1)
    if len(raw) > most:
        raise UserError(f"{shown(path)} has more than {most} bytes", help='name a text of your own: `data text "..."`')
    return raw


def text_set(name: str, data_dir: Path | None, want: Wanted | None = None, limit: int | None = None) -> Dataset:
    """The text of that name in windows of the network's length. Raises UserError."""
    want = want or Wanted()
    return text_dataset(name, named_text(name, data_dir, want.names), want, limit)


def _from_idx(data: NamedData, place: Place) -> Arrays:
    """The four IDX files, each with or without `.gz`, or Keras' `.npz`. Subsets and look-alikes are welcome."""
    if data.npz is not None and data.npz.name in place.files:
        return _npz_arrays(place.path)
    train_images, train_labels, test_images, test_labels = (place.files[group[0]] for group in data.needs)
    return (*_read_idx(data, train_images, train_labels), *_read_idx(data, test_images, test_labels))


def _read_idx(data: NamedData, images: Path, labels: Path) -> tuple[np.ndarray, np.ndarray]:
    """-> x (N, 1, 28, 28) uint8, y (N,) int64."""
    most = data.train + data.test
    x, y = read_idx(images, data.shape[1:], most), read_idx(labels, (), most)
    if len(x) != len(y):
        raise UserError(f"{shown(images)} has {len(x)} images, but {shown(labels)} has {len(y)} labels")
    return x[:, None], check_labels(labels, y, len(data.classes))


def _from_cifar(data: NamedData, place: Place) -> Arrays:
    """Those of the training files that exist, in order; the test file or what is there of it."""
    train, test = ([place.files[name] for name in group if name in place.files] for group in data.needs)
    return (*_read_batches(data, train), *_read_batches(data, test[:1]))


def _read_batches(data: NamedData, paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """-> x (N, 3, 32, 32) uint8, y (N,) int64 of all the files together."""
    most = data.train // len(data.needs[0])
    batches = [read_cifar(path, data.label_bytes, len(data.classes), most) for path in paths]
    if len(batches) == 1:  # as in CIFAR-100, whose images need not be there twice
        return batches[0]
    return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])


def _spiral(data_dir: Path | None) -> Dataset:
    """Three interleaved arms, x (N, 2): radius r in 0..1, angle 4 * (r + arm) + noise (after Stanford's cs231n).

    The same points for everybody: RandomState's stream is frozen by NumPy's policy, a Generator's is not.
    """
    rng = np.random.RandomState(0)
    n = SPIRAL_TRAIN + SPIRAL_TEST
    y = np.arange(n, dtype=np.int64) % 3
    r = np.repeat(np.linspace(0, 1, n // 3), 3)
    angle = 4 * (r + y) + SPIRAL_NOISE * rng.randn(n)
    x = np.stack([r * np.sin(angle), r * np.cos(angle)], axis=1).astype(np.float32)
    order = rng.permutation(n)
    return _halves("spiral", x[order], y.astype(np.int64)[order], SPIRAL_TRAIN)


def _shapes(data_dir: Path | None) -> Dataset:
    """Discs, squares and triangles on noise, with masks."""
    return _halves("shapes", *shapes(), SHAPES_TRAIN)


def _mnist1d(data_dir: Path | None) -> Dataset:
    """4,000 + 1,000 digits as signals of one channel."""
    return _halves("mnist1d", *mnist1d(), MNIST1D_TRAIN)


READERS: Mapping[Reader, Callable[[NamedData, Place], Arrays]] = {"idx": _from_idx, "cifar": _from_cifar}
"""What reads the files of each kind."""

LOADERS: Mapping[str, Callable[[Path | None], Dataset]] = {
    "mnist-mini": _mnist_mini,
    **{name: partial(_of_files, name) for name, data in CATALOG.items() if data.reader in READERS},
    "spiral": _spiral,
    "shapes": _shapes,
    "mnist1d": _mnist1d,
    **{name: partial(text_set, name) for name, data in CATALOG.items() if data.is_text},
}
"""What makes each of `recipe.DATASETS`."""
