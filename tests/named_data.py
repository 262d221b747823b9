"""Small data sets in the formats of the large ones, written where a test wants them."""

import gzip
import os
import struct

import numpy as np
import pytest

from netdsl.ground.catalog import CATALOG

DATA = os.environ.get("NETDSL_DATA_DIR") and os.path.abspath(os.environ["NETDSL_DATA_DIR"])
needs_data = pytest.mark.skipif(not DATA, reason="NETDSL_DATA_DIR is unset: the official MNIST and CIFAR-10 are needed")


def idx_bytes(array):
    """An IDX file of bytes."""
    return struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape) + array.tobytes()


def learnable(shape, labels, rng):
    """(N, *shape) bytes: noise with a bright square whose place is the label's."""
    x = rng.integers(0, 60, (len(labels), *shape)).astype(np.uint8)
    for image, label in zip(x, labels, strict=True):
        row, column = divmod(int(label) % 36, 6)
        image[..., 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 120 + int(label)
    return x


def write_idx(folder, train=40, test=20, zipped=True, seed=0):
    """The four files of MNIST, with so many images; labels 0, 1, 2, ..."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for part, n in (("train", train), ("t10k", test)):
        labels = np.arange(n, dtype=np.uint8) % 10
        for name, array in (("images-idx3", learnable((28, 28), labels, rng)), ("labels-idx1", labels)):
            data = idx_bytes(array)
            path = folder / f"{part}-{name}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(data, 1) if zipped else data)
    return folder


def cifar_records(labels, classes=100, label_bytes=2, seed=0):
    """Records of CIFAR's binary format; the coarse label of CIFAR-100 is one that would be wrong as the fine one."""
    rng = np.random.default_rng(seed)
    labels = np.asarray(labels, np.uint8)
    columns = [labels[:, None]] if label_bytes == 1 else [19 - labels[:, None] % 20, labels[:, None]]
    return np.concatenate([*columns, learnable((3, 32, 32), labels, rng).reshape(len(labels), -1)], axis=1).tobytes()


def write_cifar100(folder, train=200, test=100):
    """`train.bin` and `test.bin`; fine labels 0, 1, 2, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, n in (("train.bin", train), ("test.bin", test)):
        (folder / name).write_bytes(cifar_records(np.arange(n) % len(CATALOG["cifar100"].classes)))
    return folder


@pytest.fixture
def own_home(monkeypatch, tmp_path):
    """A user without data: home, working folder and cache are empty, and no variable names another place."""
    home = tmp_path / "home"
    (home / "work").mkdir(parents=True)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("NETDSL_CACHE_DIR", str(home / "cache"))
    for name in ("NETDSL_DATA_DIR", "TORCH_HOME", "KERAS_HOME", "NETDSL_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(home / "work")
    return home
