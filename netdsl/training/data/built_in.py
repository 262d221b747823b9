"""The data sets that netdsl knows by name: those that come with it, and those whose files it finds."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from netdsl.ground.diagnostics import UserError
from netdsl.ground.reading import shown
from netdsl.training.data.dataset import Dataset
from netdsl.training.data.idx import read_cifar, read_idx
from netdsl.training.data.labels import check_labels
from netdsl.training.data.mnist1d import TRAIN as MNIST1D_TRAIN
from netdsl.training.data.mnist1d import mnist1d
from netdsl.training.data.npz import read_npz
from netdsl.training.data.shapes import CLASSES as SHAPES
from netdsl.training.data.shapes import TRAIN as SHAPES_TRAIN
from netdsl.training.data.shapes import shapes

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


def built_in(name: str, data_dir: Path | None) -> Dataset:
    """The data set of that name. Raises UserError where its files are not in `data_dir`."""
    return LOADERS[name](data_dir)


def _mnist_mini(data_dir: Path | None) -> Dataset:
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
    files = _find(data_dir, ("", "mnist", "MNIST/raw"), MNIST_FILES)
    missing = [name for name in MNIST_FILES if name not in files]
    if missing:
        raise UserError(f"{shown(data_dir)} has no `{missing[0]}.gz`", help=f"it needs {FILES['mnist']}; {MINI_HELP}")
    train_images, train_labels, test_images, test_labels = (files[name] for name in MNIST_FILES)
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
    """CIFAR-10: those of the five training batches that exist, in order; the test batch or its first 1,000 images."""
    data_dir = _data_folder("cifar10", data_dir)
    files = _find(data_dir, ("", "cifar10", "cifar-10-batches-bin"), CIFAR_TRAIN_FILES + CIFAR_TEST_FILES)
    train = [files[name] for name in CIFAR_TRAIN_FILES if name in files]
    test = [files[name] for name in CIFAR_TEST_FILES if name in files][:1]
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
        existing = {name: [p for p in both if os.path.exists(p)] for name, both in paths.items()}
        if any(existing.values()):
            return {name: both[0] for name, both in existing.items() if both}
    return {}


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
    train, test = order[:SPIRAL_TRAIN], order[SPIRAL_TRAIN:]
    y = y.astype(np.int64)
    return Dataset("spiral", x[train], y[train], x[test], y[test], ("arm 0", "arm 1", "arm 2"), (0.0,), (1.0,))


def _shapes(data_dir: Path | None) -> Dataset:
    """Discs, squares and triangles on noise, with masks."""
    x, y = shapes()
    n = SHAPES_TRAIN
    return Dataset("shapes", x[:n], y[:n], x[n:], y[n:], SHAPES, SHAPES_MEAN, SHAPES_STD)


def _mnist1d(data_dir: Path | None) -> Dataset:
    """4,000 + 1,000 digits as signals of one channel."""
    x, y = mnist1d()
    n = MNIST1D_TRAIN
    return Dataset("mnist1d", x[:n], y[:n], x[n:], y[n:], DIGITS, (0.0,), (1.0,))


LOADERS: Mapping[str, Callable[[Path | None], Dataset]] = {
    "mnist-mini": _mnist_mini,
    "mnist": _mnist,
    "cifar10": _cifar10,
    "spiral": _spiral,
    "shapes": _shapes,
    "mnist1d": _mnist1d,
}
"""What makes each of `recipe.DATASETS`."""
