"""Data to train on: built-in sets by name, `.npz` files, tables and folders of images, all as one `Dataset`."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np

from netdsl.graph.recipe import DATASETS
from netdsl.ground.diagnostics import UserError, did_you_mean, plain
from netdsl.training.data.arrays import npz_parts
from netdsl.training.data.folders import class_folders
from netdsl.training.data.idx import (
    MAX_BYTES,
    check_labels,
    read_cifar,
    read_idx,
    read_npz,
    sample_text,
    shown,
    size_text,
)
from netdsl.training.data.images import fitted_bytes, fitted_masks
from netdsl.training.data.labels import class_name
from netdsl.training.data.masks import mask_folders, mask_parts
from netdsl.training.data.parts import Parts
from netdsl.training.data.shapes import CLASSES as SHAPES
from netdsl.training.data.shapes import TRAIN as SHAPES_TRAIN
from netdsl.training.data.shapes import shapes
from netdsl.training.data.splits import split_rows, stratified
from netdsl.training.data.tables import SUFFIXES as TABLES
from netdsl.training.data.tables import table_parts
from netdsl.training.data.wanted import Wanted

BUILT_IN: tuple[str, ...] = DATASETS
TEST_FRACTION = 0.2
MAX_CONSTANTS = 64  # features or channels normalised one by one; more of them share one mean and std
CHUNK = 2**22  # values looked at together for the statistics, to bound memory

MNIST_MEAN, MNIST_STD = (0.1307,), (0.3081,)
MNIST_MAX_IMAGES = 70_000  # MNIST's training and test images together
MNIST_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
DIGITS = tuple(str(digit) for digit in range(10))

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
CIFAR_TRAIN_FILES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
CIFAR_TEST_FILES = ("test_batch.bin", "test_batch_1000.bin")
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

FILES = {
    "mnist": ", ".join(f"`{name}.gz`" for name in MNIST_FILES) + " (or without .gz)",
    "cifar10": "`data_batch_1.bin` (to `data_batch_5.bin`) and `test_batch.bin` (or with .gz)",
}
MINI_HELP = "or use `--data mnist-mini`"

SHAPES_MEAN, SHAPES_STD = (0.4906,), (0.1827,)
SPIRAL_TRAIN, SPIRAL_TEST, SPIRAL_NOISE = 1500, 300, 0.2  # points, points, radians


@dataclass(frozen=True)
class Dataset:
    """x (N, *input_shape) uint8 or float32; y int64 labels (N,) or masks (N, H, W) with `classes`, or float32 targets
    (N, ...) without.

    `mean` and `std` have one entry per index of x's axis 1, or one in all; those of uint8 data are of x / 255. held:
    so many samples at the end of the training arrays are the validation part that the data brought. is_own: neither
    built in nor made by hand: its classes are split alike. bits: how many of their bits 16-bit images use, None
    without such. notes: what
    was changed on reading, in words. is_fed_raw: the network normalises by itself
    (netdsl.training.data.normalization).
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    is_fed_raw: bool = False
    held: int = 0
    is_own: bool = False
    bits: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample, (C, H, W) of images."""
        return self.x_train.shape[1:]

    def parts(self, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """-> the indices of the training and of the validation samples in the training arrays.

        fraction: the share for validation; 0: none; of data that brought their own validation part just that, or none.
        Labels of one's own data are in both parts alike. Raises UserError where no sample is left to learn from.
        """
        if self.held:
            rows = np.arange(len(self.x_train))
            return rows[: -self.held], rows[-self.held :] if fraction else rows[:0]
        has_labels = self.is_own and self.y_train.ndim == 1
        return split_rows(len(self.x_train), fraction, seed, self.y_train if has_labels else None)

    def digest(self) -> str:
        """Of the training samples, their targets and how they are split: BLAKE2b, which is fast, in hexadecimal."""
        found = blake2b(f"alike {self.held}\n".encode() if self.is_own else b"", digest_size=16)
        for array in (self.x_train, self.y_train):
            found.update(f"{array.dtype.str} {array.shape}\n".encode())
            found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()

    def normalized(self, x: np.ndarray) -> np.ndarray:
        """x (N, *input_shape) -> float32 of the same shape, as the network is fed: raw if it normalises by itself."""
        return raw(x) if self.is_fed_raw else normalize(x, self.mean, self.std)


def raw(x: np.ndarray) -> np.ndarray:
    """x (N, ...) -> float32 of the same shape; uint8 is divided by 255."""
    return np.divide(x, 255, dtype=np.float32) if x.dtype == np.uint8 else x.astype(np.float32)


def normalize(x: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """x (N, C, ...) -> float32 (x - mean) / std per channel, or by one mean and std; uint8 is divided by 255 first."""
    assert len(mean) == len(std) and len(mean) in (1, *x.shape[1:2]), (x.shape, mean, std)
    columns = (-1, *[1] * (x.ndim - 2)) if len(mean) > 1 else ()
    m, s = (np.array(v, np.float32).reshape(columns) for v in (mean, std))
    values = raw(x)
    values -= m  # in place: memory asked for anew costs as much as the arithmetic
    values /= s
    return values


def load_dataset(
    name: str, data_dir: Path | None, limit: int | None = None, seed: int = 0, want: Wanted | None = None
) -> Dataset:
    """The data set called `name`: one of `BUILT_IN`, the path of a `.npz` or a `.csv`, or a folder of images.

    `data_dir` is where the files of `mnist` and `cifar10` are; `limit` keeps the first samples of each part;
    `seed` decides the split of data that has no test part; `want` is what is known of the network. Raises `UserError`.
    """
    if limit is not None and limit < 1:
        raise UserError(f"the limit of samples is {limit}, expected 1 or more")
    if seed < 0:
        raise UserError(f"the seed is {seed}, expected 0 or more")
    want = want or Wanted()
    if name in BUILT_IN:
        return _fitted(_limited(_built_in(name, data_dir), limit), want)
    rng = np.random.default_rng(seed)
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
    """The same for what was read as arrays. Raises UserError for samples that are no images of bytes."""
    x, shape = parts.x["train"], want.image_shape
    if want.fit is None or shape is None or x.shape[1:] == shape:
        return parts
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[1] not in (1, 3):
        text = f"`fit {want.fit}` is for images of bytes, but the samples of `{plain(name)}` are {sample_text(x)}"
        raise UserError(text, help=f"leave `fit` out, and bring them to {size_text(shape)} yourself")
    total = sum(map(len, parts.x.values())) * math.prod(shape)
    if total > MAX_BYTES:
        raise UserError(f"the images of {size_text(shape)} take {total} bytes, the limit is {MAX_BYTES}")
    are_masks = parts.y["train"].ndim == 3 and parts.y["train"].shape[1:] == x.shape[2:]
    y = {k: fitted_masks(a, shape[1:], want.fit) for k, a in parts.y.items()} if are_masks else parts.y
    note = (
        f"the images of `{plain(name)}` are {size_text(x.shape[1:])}: brought to {size_text(shape)} (`fit {want.fit}`)"
    )
    x = {part: fitted_bytes(a, shape, want.fit) for part, a in parts.x.items()}
    return replace(parts, x=x, y=y, notes=(*parts.notes, note))


def _built_in(name: str, data_dir: Path | None) -> Dataset:
    if name == "mnist-mini":
        return _mnist_mini()
    if name == "mnist":
        return _mnist(data_dir)
    if name == "cifar10":
        return _cifar10(data_dir)
    return _spiral() if name == "spiral" else _shapes()


def _own_parts(name: str, want: Wanted) -> Parts:
    """What the file or folder of that name holds."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UserError(f"the name of the data {shown(name)} is not UTF-8", help="rename it") from None
    if name.lower().endswith(".npz"):
        return npz_parts(Path(name), want)
    if name.lower().endswith(TABLES):
        return table_parts(Path(name), want)
    if not os.path.isdir(name):
        raise _unknown_data(name)
    pairs, notes = mask_folders(Path(name))
    return mask_parts(pairs, want, notes) if pairs else class_folders(Path(name), want)


def _own_name(name: str) -> str:
    return class_name(Path(name).resolve().name if os.path.isdir(name) else Path(name).name)


def _split(name: str, parts: Parts, want: Wanted, limit: int | None, rng: np.random.Generator) -> Dataset:
    """The parts as a data set. Without a test part a fifth of the training samples is it, of each class its share; the
    statistics are those of the training samples that are left once the validation part is taken out."""
    x, y, notes = dict(parts.x), dict(parts.y), parts.notes
    parts = replace(parts, x={}, y={})  # memory is free as soon as the parts are made of it
    for part in [part for part in x if parts.are_sorted and (part != "train" or "test" in x)]:
        order = rng.permutation(len(x[part]))  # so that the first ones are of all classes
        x[part], y[part] = x[part][order], y[part][order]
    if "test" not in x:
        stay, go = _test_rows(name, y["train"], rng)
        x["test"], y["test"] = x["train"][go], y["train"][go]
        x["train"], y["train"] = x["train"][stay], y["train"][stay]
        if "val" in x:
            notes = (*notes, f"`{name}` has no test part: {len(go)} training samples, a fifth, are it")
    x, y = ({part: a[:limit] for part, a in arrays.items()} for arrays in (x, y))
    held = len(x.get("val", ()))
    if held:
        x["train"], y["train"] = np.concatenate([x["train"], x["val"]]), np.concatenate([y["train"], y["val"]])
    data = Dataset(
        name,
        x["train"],
        y["train"],
        x["test"],
        y["test"],
        parts.classes,
        (),
        (),
        held=held,
        is_own=True,
        bits=parts.bits,
        notes=notes,
    )
    rows, _ = data.parts(want.val, want.seed)
    mean, std = statistics(data.x_train, None if len(rows) == len(data.x_train) else rows)
    return replace(data, mean=mean, std=std)


def _test_rows(name: str, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The indices of the training and of the test samples, shuffled."""
    count = len(y)
    if count < 2:
        raise UserError(f"`{plain(name)}` has {count} sample, expected 2 or more to split off a test part")
    held = max(1, round(TEST_FRACTION * count))
    if y.dtype == np.int64 and y.ndim == 1:
        if len(np.unique(y)) == count:
            text = f"`{plain(name)}` has 1 sample of each class, expected 2 or more to split off a test part"
            raise UserError(text, help="`--loss mse` and one output are for numbers that are to be met")
        return stratified(y, held, rng, least=1)
    order = rng.permutation(count)
    return order[held:], order[:held]


def _unknown_data(name: str) -> UserError:
    known = f"known are {', '.join(f'`{n}`' for n in BUILT_IN)}, a `.npz` or `.csv` file and a folder of images"
    if os.path.exists(name):
        return UserError(
            f"cannot use {shown(name)} as data: it is no `.npz` or `.csv` file and no folder",
            help=_other_help(name) or known,
        )
    near = did_you_mean(name, BUILT_IN)
    return UserError(
        f"there is no data called {shown(name)}", help=f"did you mean `{near}`? {known}" if near else known
    )


def _other_help(name: str) -> str:
    """What to do with a file of another kind."""
    if name.lower().endswith(".npy"):
        return "put samples and labels into one file: np.savez(file, x=..., y=...)"
    if name.lower().endswith((".zip", ".tar", ".gz", ".tgz")):
        return "unpack it, and name its folder"
    return ""


def _mnist_mini() -> Dataset:
    """5,000 + 1,000 MNIST digits that come with the package; see mnist_mini.md."""
    a = read_npz(Path(__file__).with_name("mnist_mini.npz"), ("x_train", "y_train", "x_test", "y_test"))
    return Dataset(
        "mnist-mini",
        a["x_train"][:, None],
        a["y_train"].astype(np.int64),
        a["x_test"][:, None],
        a["y_test"].astype(np.int64),
        DIGITS,
        MNIST_MEAN,
        MNIST_STD,
    )


def _mnist(data_dir: Path | None) -> Dataset:
    """The four IDX files, each with or without `.gz`. Subsets and look-alikes such as Fashion-MNIST are welcome."""
    data_dir = _data_folder("mnist", data_dir)
    found = _find(data_dir, ("", "mnist", "MNIST/raw"), MNIST_FILES)
    missing = [name for name in MNIST_FILES if name not in found]
    if missing:
        raise UserError(f"{shown(data_dir)} has no `{missing[0]}.gz`", help=f"it needs {FILES['mnist']}; {MINI_HELP}")
    train_images, train_labels, test_images, test_labels = (found[name] for name in MNIST_FILES)
    x_train, y_train = _read_mnist(train_images, train_labels)
    x_test, y_test = _read_mnist(test_images, test_labels)
    return Dataset("mnist", x_train, y_train, x_test, y_test, DIGITS, MNIST_MEAN, MNIST_STD)


def _read_mnist(images: Path, labels: Path) -> tuple[np.ndarray, np.ndarray]:
    """-> x (N, 1, 28, 28) uint8, y (N,) int64."""
    x, y = read_idx(images, (28, 28), MNIST_MAX_IMAGES), read_idx(labels, (), MNIST_MAX_IMAGES)
    if len(x) != len(y):
        raise UserError(f"{shown(images)} has {len(x)} images, but {shown(labels)} has {len(y)} labels")
    return x[:, None], check_labels(labels, y, 10)


def _cifar10(data_dir: Path | None) -> Dataset:
    """Those of the five training batches that exist, in order; the test batch or its first 1,000 images."""
    data_dir = _data_folder("cifar10", data_dir)
    found = _find(data_dir, ("", "cifar10", "cifar-10-batches-bin"), CIFAR_TRAIN_FILES + CIFAR_TEST_FILES)
    train = [found[name] for name in CIFAR_TRAIN_FILES if name in found]
    test = [found[name] for name in CIFAR_TEST_FILES if name in found][:1]
    if not train or not test:
        missing = CIFAR_TEST_FILES[0] if train else CIFAR_TRAIN_FILES[0]
        raise UserError(f"{shown(data_dir)} has no `{missing}`", help=f"it needs {FILES['cifar10']}")
    x_train, y_train = _read_batches(train)
    x_test, y_test = _read_batches(test)
    return Dataset("cifar10", x_train, y_train, x_test, y_test, CIFAR_CLASSES, CIFAR_MEAN, CIFAR_STD)


def _read_batches(paths: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """-> x (N, 3, 32, 32) uint8, y (N,) int64 of all the files together."""
    batches = [read_cifar(path) for path in paths]
    return np.concatenate([x for x, _ in batches]), np.concatenate([y for _, y in batches])


def _data_folder(name: str, data_dir: Path | None) -> Path:
    if data_dir is None:
        raise UserError(f"`{name}` is not here: set NETDSL_DATA_DIR to a folder with {FILES[name]}", help=MINI_HELP)
    if not os.path.isdir(data_dir):
        raise UserError(f"NETDSL_DATA_DIR is {shown(data_dir)}, which is not a folder", help=MINI_HELP)
    return data_dir


def _find(data_dir: Path, folders: tuple[str, ...], names: tuple[str, ...]) -> dict[str, Path]:
    """The paths by plain name in the first of the folders that has any of the files; unzipped before `.gz`."""
    for folder in folders:
        paths = {name: (data_dir / folder / name, data_dir / folder / f"{name}.gz") for name in names}
        found = {name: [p for p in both if os.path.exists(p)] for name, both in paths.items()}
        if any(found.values()):
            return {name: both[0] for name, both in found.items() if both}
    return {}


def _spiral() -> Dataset:
    """Three interleaved arms, x (N, 2): radius r in 0..1, angle 4 * (r + arm) + noise (after Stanford's cs231n).

    The same points for everybody: RandomState's stream is frozen by NumPy's policy, a Generator's is not.
    """
    rng = np.random.RandomState(0)
    n = SPIRAL_TRAIN + SPIRAL_TEST
    y = np.arange(n) % 3
    r = np.repeat(np.linspace(0, 1, n // 3), 3)
    angle = 4 * (r + y) + SPIRAL_NOISE * rng.randn(n)
    x = np.stack([r * np.sin(angle), r * np.cos(angle)], axis=1).astype(np.float32)
    order = rng.permutation(n)
    train, test = order[:SPIRAL_TRAIN], order[SPIRAL_TRAIN:]
    y = y.astype(np.int64)
    return Dataset("spiral", x[train], y[train], x[test], y[test], ("arm 0", "arm 1", "arm 2"), (0.0,), (1.0,))


def _shapes() -> Dataset:
    """Discs, squares and triangles on noise, with masks."""
    x, y = shapes()
    n = SHAPES_TRAIN
    return Dataset("shapes", x[:n], y[:n], x[n:], y[n:], SHAPES, SHAPES_MEAN, SHAPES_STD)


def statistics(x: np.ndarray, rows: np.ndarray | None = None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """x (N, C, ...) -> mean, std for `normalize`: per feature of (N, D), per channel of (N, C, H, W), else one each.

    Those of the samples `rows`, None: of all. A constant feature gets std 1.
    """
    samples = len(x) if rows is None else len(rows)
    is_apart = x.ndim in (2, 4) and x.shape[1] <= MAX_CONSTANTS
    axes = (0, *range(2, x.ndim)) if is_apart else tuple(range(x.ndim))
    scale = 255 if x.dtype == np.uint8 else 1
    size = max(1, CHUNK * len(x) // x.size)
    pieces = [slice(i, i + size) for i in range(0, samples, size)]
    chunks = pieces if rows is None else [rows[piece] for piece in pieces]
    count = samples * (x[0].size // x.shape[1] if is_apart else x[0].size)
    mean = sum((x[c].astype(np.float64) / scale).sum(axes, keepdims=True) for c in chunks) / count
    var = sum(((x[c].astype(np.float64) / scale - mean) ** 2).sum(axes, keepdims=True) for c in chunks) / count
    std = np.sqrt(var).ravel()
    is_constant = std <= np.maximum(1e-30, 1e-12 * np.abs(mean.ravel()))  # but for rounding
    return tuple(mean.ravel().tolist()), tuple(np.where(is_constant, 1.0, std).tolist())
