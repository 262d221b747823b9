"""Data: every source gives the arrays it should, and every damaged or hostile file one clear `UserError`."""

import gzip
import io
import os
import pickle
import re
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netdsl.graph.recipe import DATASETS
from netdsl.ground.catalog import CATALOG
from netdsl.ground.diagnostics import UserError
from netdsl.training.data import datasets, idx
from netdsl.training.data import npz as npz_files
from netdsl.training.data.dataset import normalize, statistics
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.images import looks_inverted, read_image

RNG = np.random.default_rng(0)
DATA = os.environ.get("NETDSL_DATA_DIR")
needs_data = pytest.mark.skipif(
    not DATA, reason="NETDSL_DATA_DIR is unset: the official MNIST and CIFAR-10 files are needed"
)


def refuses(match, call, *args, **kwargs):
    """Asserts that the call ends in a UserError of one line, without a full stop, that matches; returns it."""
    with pytest.raises(UserError, match=match) as caught:
        call(*args, **kwargs)
    assert "\n" not in caught.value.message and not caught.value.message.endswith(".")
    return caught.value


def load(name, data_dir=None, **kwargs):
    return load_dataset(str(name), data_dir, **kwargs)


# what the sources have in common


def test_unknown_name_is_answered_with_the_nearest_and_all_names():
    error = refuses("no data called `mnist-mimi`", load, "mnist-mimi")
    assert "did you mean `mnist-mini`?" in error.help
    assert all(f"`{name}`" in error.help for name in DATASETS)


@pytest.mark.parametrize("name", ["", "\0", "x" * 5000, "a\nb", "no/such/folder"])
def test_odd_names_are_unknown_data(name):
    refuses("no data called", load, name)


def test_a_file_that_is_no_npz_is_not_data(tmp_path):
    for name, help in (("a.dat", "known are"), ("a.npy", "np.savez(file, x=..., y=...)"), ("a.zip", "unpack it")):
        (tmp_path / name).write_text("1,2\n")
        assert help in refuses("it is no `.npz`, `.csv` or `.parquet` file and no folder", load, tmp_path / name).help


@pytest.mark.parametrize("limit", [0, -3])
def test_limit_below_one_is_refused(limit):
    refuses(f"limit of samples is {limit}, expected 1 or more", load, "spiral", limit=limit)


def test_negative_seed_is_refused():
    refuses("seed is -1", load, "spiral", seed=-1)


def test_limit_keeps_the_first_samples_of_both_parts():
    full, some = load("spiral"), load("spiral", limit=400)
    assert (len(some.x_train), len(some.y_train), len(some.x_test), len(some.y_test)) == (400, 400, 300, 300)
    assert np.array_equal(some.x_train, full.x_train[:400])


def test_normalize_divides_bytes_by_255_and_works_per_channel():
    x = RNG.integers(0, 256, (4, 3, 5, 6)).astype(np.uint8)
    mean, std = (0.1, 0.2, 0.3), (1.0, 2.0, 4.0)
    expected = (x / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    got = normalize(x, mean, std)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)  # float32 rounding of numbers near 1


def test_normalize_leaves_floats_in_their_units():
    x = RNG.standard_normal((7, 2)).astype(np.float32)
    assert np.array_equal(normalize(x, (0.0,), (1.0,)), x)
    np.testing.assert_allclose(
        normalize(x, (1.0, 2.0), (2.0, 4.0)), (x - [1, 2]) / [2, 4], rtol=0, atol=1e-6
    )  # float32


# mnist-mini and spiral


def test_mnist_mini_is_balanced_and_needs_no_folder():
    d = load("mnist-mini")
    assert (d.x_train.shape, d.x_test.shape) == ((5000, 1, 28, 28), (1000, 1, 28, 28))
    assert (d.x_train.dtype, d.y_train.dtype, d.input_shape) == (np.uint8, np.int64, (1, 28, 28))
    assert np.bincount(d.y_train).tolist() == [500] * 10 and np.bincount(d.y_test).tolist() == [100] * 10
    assert len(set(d.y_train[:50].tolist())) == 10, "the samples are not shuffled"
    assert abs(d.normalized(d.x_train).mean()) < 0.01 and d.classes == tuple("0123456789")


def test_mnist_mini_is_about_a_megabyte_and_has_its_attribution():
    folder = Path(datasets.__file__).parent
    assert (folder / "mnist_mini.npz").stat().st_size < 1_100_000
    text = (folder / "mnist_mini.md").read_text()
    assert all(word in text for word in ("LeCun", "Cortes", "Burges", "ShareAlike 3.0"))


@needs_data
def test_the_code_in_mnist_mini_md_makes_mnist_mini():
    namespace = {}
    text = Path(datasets.__file__).with_name("mnist_mini.md").read_text()
    exec(re.search(r"```python\n(.*?)```", text, re.S)[1], namespace)
    d, arrays = load("mnist-mini"), namespace["arrays"]
    assert np.array_equal(d.x_train[:, 0], arrays["x_train"]) and np.array_equal(d.y_train, arrays["y_train"])
    assert np.array_equal(d.x_test[:, 0], arrays["x_test"]) and np.array_equal(d.y_test, arrays["y_test"])


def test_spiral_is_the_same_for_every_seed_and_balanced():
    a, b = load("spiral", seed=0), load("spiral", seed=5)
    assert np.array_equal(a.x_train, b.x_train) and np.array_equal(a.y_test, b.y_test)
    assert (a.x_train.shape, a.x_test.shape, a.x_train.dtype, a.y_train.dtype) == (
        (1500, 2),
        (300, 2),
        np.float32,
        np.int64,
    )
    assert np.bincount(np.concatenate([a.y_train, a.y_test])).tolist() == [600] * 3
    assert np.array_equal(a.normalized(a.x_test), a.x_test)


def test_spiral_can_be_learned_to_95_percent_by_a_small_mlp():
    d, rng = load("spiral"), np.random.default_rng(0)
    sizes = [2, 32, 16, 3]
    params = [rng.standard_normal(s) * np.sqrt(2 / s[0]) for s in zip(sizes, sizes[1:], strict=False)]
    params += [np.zeros(s) for s in sizes[1:]]
    moments = [(np.zeros_like(p), np.zeros_like(p)) for p in params]
    for step in range(1, 1501):  # Adam on batches of 100
        rows = rng.integers(0, len(d.x_train), 100)
        for p, (m, v), g in zip(params, moments, mlp_gradients(params, d.x_train[rows], d.y_train[rows]), strict=True):
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            p -= 0.01 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    assert (mlp_forward(params, d.x_test)[-1].argmax(1) == d.y_test).mean() > 0.95


def mlp_forward(params, x):
    hidden1 = np.maximum(x @ params[0] + params[3], 0)
    hidden2 = np.maximum(hidden1 @ params[1] + params[4], 0)
    return x, hidden1, hidden2, hidden2 @ params[2] + params[5]


def mlp_gradients(params, x, y):
    x, h1, h2, logits = mlp_forward(params, x)
    p = np.exp(logits - logits.max(1, keepdims=True))
    d3 = (p / p.sum(1, keepdims=True) - np.eye(3)[y]) / len(x)
    d2 = d3 @ params[2].T * (h2 > 0)
    d1 = d2 @ params[1].T * (h1 > 0)
    return [x.T @ d1, h1.T @ d2, h2.T @ d3, d1.sum(0), d2.sum(0), d3.sum(0)]


# mnist


def idx_bytes(array, magic=None):
    return struct.pack(f">{1 + array.ndim}I", magic or 0x0800 + array.ndim, *array.shape) + array.tobytes()


def mnist_parts(n_train=20, n_test=10):
    parts = {}
    for name, n in (("train", n_train), ("t10k", n_test)):
        parts[f"{name}-images-idx3-ubyte"] = idx_bytes(RNG.integers(0, 256, (n, 28, 28)).astype(np.uint8))
        parts[f"{name}-labels-idx1-ubyte"] = idx_bytes((np.arange(n) % 10).astype(np.uint8))
    return parts


def write_mnist(folder, zipped=True, **replaced):
    """The four files; `train_images=...` and so on replace the bytes of one as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = {"train_images": 0, "train_labels": 1, "t10k_images": 2, "t10k_labels": 3}
    for i, (name, data) in enumerate(mnist_parts().items()):
        other = next((v for k, v in replaced.items() if keys[k] == i), None)
        data = (gzip.compress(data) if zipped else data) if other is None else other
        (folder / (name + (".gz" if zipped else ""))).write_bytes(data)
    return folder


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("folder", ["", "mnist", "MNIST/raw"])
def test_mnist_is_found_in_three_folders_zipped_or_not(tmp_path, folder, zipped):
    write_mnist(tmp_path / folder, zipped)
    d = load("mnist", tmp_path)
    assert (d.x_train.shape, d.x_test.shape, d.x_train.dtype) == ((20, 1, 28, 28), (10, 1, 28, 28), np.uint8)
    assert d.y_train.tolist() == [*range(10)] * 2 and d.y_train.dtype == np.int64
    d.x_train[0] = 0  # the arrays are writable


def test_gzip_of_several_members_is_one_file(tmp_path):
    data = idx_bytes(np.arange(20, dtype=np.uint8) % 10)
    write_mnist(tmp_path, train_labels=gzip.compress(data[:9]) + gzip.compress(data[9:]))
    assert load("mnist", tmp_path).y_train.tolist() == [*range(10)] * 2


def test_mnist_that_is_nowhere_says_what_to_set_and_names_the_files(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    error = refuses("the files of `mnist` are not on this machine", load, "mnist")
    assert all(f"`{name}`" in error.help for name in (d.name for d in CATALOG["mnist"].downloads))
    assert "set NETDSL_DATA_DIR" in error.help and error.help.endswith("or use `--data mnist-mini`")
    assert (
        "`data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin` (or with .gz)"
        in refuses("`cifar10` are not", load, "cifar10").help
    )


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_missing_files_and_folders_are_named(tmp_path, name):
    refuses("has no `(train-images|data_batch_1)", load, name, tmp_path)
    refuses("missing`, which is not a folder", load, name, tmp_path / "missing")


def test_one_missing_mnist_file_is_named(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    refuses("has no `t10k-labels-idx1-ubyte.gz`", load, "mnist", tmp_path)


IMAGES = np.zeros((3, 28, 28), np.uint8)
BAD_IDX = {
    "an empty file": (b"", "truncated: it has 0 bytes"),
    "half a header": (idx_bytes(IMAGES)[:9], "truncated: it has 9 bytes, the header alone has 16"),
    "half the data": (idx_bytes(IMAGES)[:1000], "truncated: it has 984 bytes of data, its header says 2352"),
    "a byte too many": (idx_bytes(IMAGES) + b"x", "more than the 2352 bytes"),
    "labels for images": (idx_bytes(np.zeros(3000, np.uint8)), "starts with 0x00000801, expected 0x00000803"),
    "text": (b"<html>404 not found</html>", "not an IDX file of images: it starts with 0x3c68746d"),
    "another size": (idx_bytes(np.zeros((3, 32, 32), np.uint8)), "images of 32x32 pixels, expected 28x28"),
    "no images": (idx_bytes(IMAGES[:0]), "declares 0 items, expected 1 to 70000"),
    "too many images": (struct.pack(">4I", 0x803, 2**32 - 1, 28, 28), "declares 4294967295 items, expected 1 to 70000"),
    "fewer than labels": (idx_bytes(IMAGES), "has 3 images, but .*train-labels.* has 20 labels"),
}


@pytest.mark.parametrize("case", BAD_IDX)
@pytest.mark.parametrize("zipped", [True, False])
def test_bad_idx_files_are_refused(tmp_path, case, zipped):
    data, match = BAD_IDX[case]
    write_mnist(tmp_path, zipped, train_images=gzip.compress(data) if zipped else data)
    error = refuses(match, load, "mnist", tmp_path)
    assert "train-images-idx3-ubyte" in error.message


def test_mnist_labels_above_nine_are_refused(tmp_path):
    write_mnist(tmp_path, train_labels=gzip.compress(idx_bytes(np.full(20, 12, np.uint8))))
    refuses("has the label 12, expected 0 to 9", load, "mnist", tmp_path)


def test_every_truncation_and_byte_flip_of_a_gzip_is_loaded_or_refused(tmp_path):
    good = gzip.compress(idx_bytes(np.arange(20, dtype=np.uint8) % 10), mtime=0)
    cut = [good[:n] for n in range(len(good))]
    flipped = [good[:i] + bytes([good[i] ^ bit]) + good[i + 1 :] for i in range(len(good)) for bit in (1, 0x80)]
    path = tmp_path / "labels.gz"
    for data in cut:
        path.write_bytes(data)
        refuses("labels.gz", idx.read_idx, path, (), 100)
    for data in flipped:
        path.write_bytes(data)
        try:
            assert idx.read_idx(path, (), 100).tolist() == [*range(10)] * 2  # a flip in the header's time or name
        except UserError as error:
            assert "labels.gz" in error.message


def test_gzip_with_junk_behind_it_is_refused(tmp_path):
    write_mnist(tmp_path, train_labels=gzip.compress(idx_bytes(np.zeros(20, np.uint8))) + b"junk")
    refuses("train-labels", load, "mnist", tmp_path)


def test_a_gzip_bomb_is_unpacked_only_to_the_declared_size(tmp_path):
    bomb = idx_bytes(IMAGES) + bytes(60_000_000)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(bomb, compresslevel=1))
    del bomb
    peak = peak_bytes(lambda: refuses("more than the 2352 bytes", idx.read_idx, path, (28, 28), 70_000))
    assert peak < 3_000_000


def peak_bytes(call):
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_folder_or_a_pipe_in_place_of_a_file_is_refused(tmp_path):
    write_mnist(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.unlink()
    path.mkdir()
    refuses("train-images.* it is a folder, not a file", load, "mnist", tmp_path)
    path.rmdir()
    os.mkfifo(path)
    refuses("train-images.* it is a device or pipe", load, "mnist", tmp_path)


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    write_mnist(tmp_path)

    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)  # root may read everything, so no chmod
    refuses("cannot read .*train-images.*: permission denied", load, "mnist", tmp_path)


@needs_data
def test_official_mnist_loads_whole():
    d = load("mnist", Path(DATA))
    assert (d.x_train.shape, d.x_test.shape) == ((60000, 1, 28, 28), (10000, 1, 28, 28))
    assert d.y_test[:5].tolist() == [7, 2, 1, 0, 4]
    mean, std = statistics(d.x_train)
    np.testing.assert_allclose((mean[0], std[0]), (d.mean[0], d.std[0]), rtol=0, atol=5e-5)  # four digits


# cifar10


def cifar_bytes(n, label=None):
    records = RNG.integers(0, 256, (n, 3073)).astype(np.uint8)
    records[:, 0] = np.arange(n) % 10 if label is None else label
    return records.tobytes()


@pytest.mark.parametrize("folder", ["", "cifar10", "cifar-10-batches-bin"])
def test_cifar_batches_that_exist_are_joined_in_order(tmp_path, folder):
    home = tmp_path / folder
    home.mkdir(exist_ok=True)
    first, third = cifar_bytes(4, label=1), cifar_bytes(3, label=3)
    (home / "data_batch_1.bin").write_bytes(first)
    (home / "data_batch_3.bin.gz").write_bytes(gzip.compress(third))
    (home / "test_batch_1000.bin.gz").write_bytes(gzip.compress(cifar_bytes(5)))
    d = load("cifar10", tmp_path)
    assert (d.x_train.shape, d.x_test.shape) == ((7, 3, 32, 32), (5, 3, 32, 32))
    assert d.y_train.tolist() == [1, 1, 1, 1, 3, 3, 3] and d.classes[0] == "airplane" and d.classes[9] == "truck"
    assert d.x_train[0].tobytes() == first[1:3073]


@pytest.mark.parametrize(
    "data, match",
    [
        (b"", "has 0 bytes"),
        (cifar_bytes(2)[:-1], "has 6145 bytes, which is not a number of 3073-byte records"),
        (cifar_bytes(2, label=10), "has the label 10, expected 0 to 9"),
        (gzip.compress(cifar_bytes(2))[:-5], "damaged"),
        (gzip.compress(bytes(31_000_000), 1), "more than 30730000 bytes"),
    ],
)
def test_bad_cifar_files_are_refused(tmp_path, data, match):
    (tmp_path / "data_batch_1.bin").write_bytes(data)
    (tmp_path / "test_batch.bin").write_bytes(cifar_bytes(1))
    assert "data_batch_1.bin" in refuses(match, load, "cifar10", tmp_path).message


def test_cifar_without_a_test_batch_is_refused(tmp_path):
    (tmp_path / "data_batch_2.bin").write_bytes(cifar_bytes(1))
    refuses("has no `test_batch.bin`", load, "cifar10", tmp_path)


@needs_data
def test_official_cifar_batch_loads():
    d = load("cifar10", Path(DATA), limit=1000)
    assert (d.x_train.shape, d.x_test.shape, d.input_shape) == ((1000, 3, 32, 32), (1000, 3, 32, 32), (3, 32, 32))
    assert d.classes[d.y_train[0]] == "frog" and d.classes[d.y_test[0]] == "cat"


# .npz


def npz(tmp_path, **arrays):
    np.savez_compressed(tmp_path / "data.npz", **arrays)
    return tmp_path / "data.npz"


def header_bytes(text, version=1):
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text.encode()


def write_zip(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_npz_without_a_test_part_gives_a_fifth_by_seed(tmp_path):
    x = np.arange(50, dtype=np.float64).reshape(50, 1)
    path = npz(tmp_path, x=x, y=np.arange(50) % 5)
    a, b, c = load(path), load(path), load(path, seed=1)
    assert (len(a.x_train), len(a.x_test), a.classes, a.input_shape) == (40, 10, tuple("01234"), (1,))
    assert np.array_equal(a.x_test, b.x_test) and not np.array_equal(a.x_test, c.x_test)
    assert sorted(np.concatenate([a.x_train, a.x_test]).ravel().tolist()) == x.ravel().tolist()
    assert np.array_equal(a.x_train[:, 0] % 5, a.y_train), "samples and labels came apart"


def test_npz_with_a_test_part_keeps_the_order(tmp_path):
    x, x_test = RNG.standard_normal((6, 2)), RNG.standard_normal((3, 2))
    d = load(npz(tmp_path, x=x, y=np.arange(6) % 2, x_test=x_test, y_test=np.array([0, 1, 2], np.uint8)))
    assert np.array_equal(d.x_train, x.astype(np.float32)) and d.y_test.tolist() == [0, 1, 2]
    assert d.classes == ("0", "1", "2")


def test_npz_bytes_are_images_and_get_a_channel_axis(tmp_path):
    x = RNG.integers(0, 256, (20, 6, 5)).astype(np.uint8)
    d = load(npz(tmp_path, x=x, y=np.zeros(20, int), x_test=x, y_test=np.zeros(20, int)))
    assert d.x_train.shape == (20, 1, 6, 5) and d.x_train.dtype == np.uint8
    np.testing.assert_allclose((d.mean[0], d.std[0]), (x.mean() / 255, x.std() / 255), rtol=1e-12)  # sums in float64
    colour = RNG.integers(0, 256, (20, 3, 6, 5)).astype(np.uint8)
    d = load(npz(tmp_path, x=colour, y=np.zeros(20, int), x_test=colour, y_test=np.zeros(20, int)))
    np.testing.assert_allclose(d.mean, colour.mean((0, 2, 3)) / 255, rtol=1e-12)  # sums in float64


def test_npz_features_are_normalised_each_and_constant_ones_left(tmp_path):
    x = np.stack([RNG.standard_normal(3000) * 100 + 7, np.full(3000, 0.1), np.zeros(3000)], axis=1)
    d = load(npz(tmp_path, x=x, y=RNG.standard_normal(3000)))
    z = d.normalized(d.x_train)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-4)  # float32 sums of 2,400 numbers near 1
    np.testing.assert_allclose(z.std(0), [1, 0, 0], atol=1e-4)  # the same
    assert d.std[1:] == (1.0, 1.0)


def test_npz_float_targets_are_regression(tmp_path):
    d = load(npz(tmp_path, x=np.ones((10, 3)), y=np.arange(10.0)))
    assert d.classes == () and d.y_train.dtype == np.float32 and d.y_train.shape == (8, 1)
    assert load(npz(tmp_path, x=np.ones((10, 3)), y=np.ones((10, 4)))).y_test.shape == (2, 4)


def test_npz_big_endian_and_fortran_order_are_read(tmp_path):
    x = np.asfortranarray(RNG.standard_normal((10, 3, 4, 5)).astype(">f4"))
    y = (np.arange(10) % 2).astype(">i2")
    d = load(npz(tmp_path, x=x, y=y, x_test=x, y_test=y))
    assert np.array_equal(d.x_train, x) and d.x_train.dtype == np.dtype(np.float32) and d.y_train.tolist() == y.tolist()


FINE = {"x": np.ones((4, 2), np.float32), "y": np.array([0, 1, 0, 1])}
BAD_ARRAYS = {
    "no x": ({"x": None}, "no array `x` of training samples; it holds `y`"),
    "no known name": ({"x": None, "y": None, "a": np.ones(3)}, "no array `x` .*; it holds `a`"),
    "two inputs": ({"x": None, "images": np.ones((4, 2)), "data": np.ones((4, 2))}, "`data` and `images`, and either"),
    "x twice": ({"x_train": np.ones((4, 2))}, "`x` and `x_train`, and either may be meant"),
    "lengths": ({"y": np.zeros(3, int)}, r"`x` of shape \(4, 2\) and `y` of shape \(3,\)"),
    "no samples": ({"x": np.ones((0, 2)), "y": np.zeros(0, int)}, r"`x` of shape \(0, 2\)"),
    "one sample": ({"x": np.ones((1, 2)), "y": np.zeros(1, int)}, "has 1 sample, expected 2 or more"),
    "x without features": ({"x": np.ones(4)}, r"`x` of shape \(4,\)"),
    "scalars": ({"x": np.float32(1), "y": np.int64(1)}, r"`x` of shape \(\)"),
    "large whole numbers": ({"x": np.full((4, 2), 2**40)}, "numbers that float32 cannot hold"),
    "text": ({"x": np.array([["a"]] * 4)}, "expected integers or floats"),
    "complex": ({"x": np.ones((4, 2), complex)}, "dtype complex128, expected integers or floats"),
    "nan": ({"x": np.array([[1, 2], [3, np.nan], [5, 6], [7, 8]])}, "1 of 8 values of `x` .* NaN or infinite"),
    "too large for float32": ({"x": np.full((4, 2), 1e300)}, "8 of 8 values"),
    "empty targets": ({"y": np.ones((4, 0))}, r"`y` of shape \(4, 0\)"),
    "infinite target": ({"y": np.array([0, 1, np.inf, 2])}, "1 of 4 values of `y`"),
    "negative label": ({"y": np.array([0, 1, -1, 0])}, "has the label -1, expected 0 to 4999"),
    "huge label": ({"y": np.array([0, 1, 2**64 - 1, 0], np.uint64)}, "has the label 18446744073709551615"),
    "rows of integers": ({"y": np.full((4, 3), 2)}, r"labels `y` .* the shape \(4, 3\), expected \(4,\)"),
    "maps of maps": ({"y": np.zeros((4, 1, 2, 3, 5), int)}, r"labels `y` .* the shape \(4, 1, 2, 3, 5\)"),
    "empty word": ({"y": np.array(["a", "", "b", "a"])}, "has a label without a letter"),
    "only x_test": ({"x_test": np.ones((1, 2), np.float32)}, "only one of `x_test` and `y_test`"),
    "other features": ({"x_test": np.ones((1, 3)), "y_test": np.zeros(1, int)}, "2 float32 and 3 float32"),
    "other targets": ({"x_test": np.ones((1, 2)), "y_test": np.zeros(1)}, "samples of `y` and `y_test`"),
    "channels last": ({"x": np.ones((4, 32, 30, 3), np.uint8)}, "are 32x30x3 uint8, expected C x H x W"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_npz_with_bad_arrays_is_refused(tmp_path, case):
    changed, match = BAD_ARRAYS[case]
    arrays = {name: a for name, a in {**FINE, **changed}.items() if a is not None}
    assert "data.npz" in refuses(match, load, npz(tmp_path, **arrays)).message


class Canary:
    """Whoever unpickles it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_npz_with_pickles_is_refused_and_nothing_runs(tmp_path):
    objects = np.array([Canary(tmp_path / "ran")] * 4, dtype=object)
    refuses("holds Python objects, expected numbers", load, npz(tmp_path, x=FINE["x"], y=objects))
    path = write_zip(tmp_path / "b.npz", [("x.npy", pickle.dumps(objects)), ("y.npy", npy(FINE["y"]))])
    refuses("b.npz", load, path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "shape",
    ["(2000000000, 2)", "(-1, -8)", f"({2**70}, {2**70})", "(4.0, 2)", "4", "(True, 8)", "(4, 2), (1,)", "(" * 400],
)
def test_npz_that_declares_more_than_it_holds_is_refused_before_allocating(tmp_path, shape):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n"
    bomb = header_bytes(text) + bytes(32 if "True" not in shape else 0)
    path = write_zip(tmp_path / "bomb.npz", [("x.npy", bomb), ("y.npy", npy(FINE["y"]))])
    peak = peak_bytes(lambda: refuses("bomb.npz", load, path))
    assert peak < 1_000_000


def test_npz_whose_header_unpacks_to_megabytes_is_refused_before_it_is_unpacked(tmp_path):
    header = b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**25) + bytes(2**25)
    path = write_zip(tmp_path / "bomb.npz", [("x.npy", header), ("y.npy", npy(FINE["y"]))])
    assert path.stat().st_size < 40_000
    assert peak_bytes(lambda: refuses("has npy version 2.0, expected 1.0", load, path)) < 1_000_000


def test_npz_whose_listing_lies_about_sizes_is_refused(tmp_path):
    text = "{'descr': '|u1', 'fortran_order': False, 'shape': (4, 1000000000), }\n"
    path = write_zip(tmp_path / "lie.npz", [("x.npy", header_bytes(text) + bytes(32)), ("y.npy", npy(FINE["y"]))])
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02") + 24  # the unpacked size in the central directory
    data[at : at + 4] = struct.pack("<I", len(header_bytes(text)) + 4_000_000_000)
    path.write_bytes(data)
    refuses("packed bytes cannot hold 4000000", load, path)


def test_npz_that_unpacks_to_more_than_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(npz_files, "MAX_BYTES", 10_000)
    refuses(
        "unpacks to [0-9]+ bytes, the limit is 10000", load, npz(tmp_path, x=np.zeros((2000, 2)), y=np.zeros(2000, int))
    )


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_npz_with_an_array_twice_is_refused(tmp_path):
    path = write_zip(
        tmp_path / "twice.npz", [("x.npy", npy(FINE["x"])), ("x.npy", npy(FINE["x"])), ("y.npy", npy(FINE["y"]))]
    )
    refuses("holds the array `x` 2 times", load, path)


def test_npz_packed_by_another_method_is_refused(tmp_path):
    path = write_zip(tmp_path / "a.npz", [(f"{k}.npy", npy(v)) for k, v in FINE.items()], zipfile.ZIP_LZMA)
    refuses("packed by method 14", load, path)


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip at all", npy(FINE["x"])])
def test_npz_that_is_no_zip_is_refused(tmp_path, data):
    (tmp_path / "a.npz").write_bytes(data)
    refuses("a.npz` is damaged", load, tmp_path / "a.npz")


def test_npz_that_is_missing_or_a_folder_is_refused(tmp_path):
    refuses("none.npz`: no such file", load, tmp_path / "none.npz")
    (tmp_path / "dir.npz").mkdir()
    refuses("dir.npz`: it is a folder", load, tmp_path / "dir.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_truncations_and_byte_flips_of_an_npz_is_loaded_or_refused(tmp_path, method):
    path = write_zip(tmp_path / "a.npz", [(f"{k}.npy", npy(v)) for k, v in FINE.items()], method)
    good = path.read_bytes()
    for n in range(0, len(good), 3):
        path.write_bytes(good[:n])
        refuses("a.npz", load, path)
    for i in range(0, len(good), 2):
        path.write_bytes(good[:i] + bytes([good[i] ^ (1 << i % 7)]) + good[i + 1 :])
        try:
            assert load(path).x_train.shape in ((2, 2), (3, 2))  # by labels, or by targets that a name damaged
        except UserError as error:
            assert "a.npz" in error.message


def test_every_byte_flip_of_an_npy_header_is_loaded_or_refused(tmp_path):
    good, y = npy(FINE["x"]), npy(FINE["y"])
    for i in range(128):
        for byte in (good[i] ^ 1, ord("("), 0xFF):
            path = write_zip(tmp_path / "a.npz", [("x.npy", good[:i] + bytes([byte]) + good[i + 1 :]), ("y.npy", y)])
            try:
                load(path)
            except UserError as error:
                assert "a.npz" in error.message


# images


def picture(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path)
    return path


def class_folders(folder, counts, shape=(4, 5)):
    for k, (name, count) in enumerate(counts.items()):
        for i in range(count):
            picture(folder / name / f"{i}.png", np.full(shape, 40 * k + i))
    return folder


def test_folder_of_class_folders_is_split_by_class(tmp_path):
    class_folders(tmp_path / "pets", {"dogs": 10, "cats": 20, ".hidden": 1})
    (tmp_path / "pets" / "cats" / "notes.txt").write_text("not an image")
    (tmp_path / "pets" / "cats" / ".DS_Store").write_text("nor this")
    d = load(tmp_path / "pets")
    assert (d.name, d.classes, d.input_shape) == ("pets", ("cats", "dogs"), (1, 4, 5))
    assert np.bincount(d.y_train).tolist() == [16, 8] and np.bincount(d.y_test).tolist() == [4, 2]
    assert np.array_equal(d.x_train[:, 0, 0, 0] >= 40, d.y_train == 0), "images and labels came apart"
    assert not {*d.x_train[:, 0, 0, 0].tolist()} & {*d.x_test[:, 0, 0, 0].tolist()}, (
        "the test part is in the training part"
    )
    assert np.array_equal(d.x_test, load(tmp_path / "pets").x_test)
    assert len(set(load(tmp_path / "pets", limit=10).y_train.tolist())) == 2, "the order is not shuffled"


def test_folder_with_train_and_test_is_taken_as_split(tmp_path):
    class_folders(tmp_path / "train", {"a": 3, "b": 2})
    class_folders(tmp_path / "test", {"b": 4})
    d = load(tmp_path)
    assert np.bincount(d.y_train).tolist() == [3, 2] and d.y_test.tolist() == [1] * 4
    class_folders(tmp_path / "test", {"c": 1})
    refuses("has the class `c`, which the training images have not", load, tmp_path)


def test_test_images_of_another_size_are_refused(tmp_path):
    class_folders(tmp_path / "train", {"a": 1, "b": 1})
    class_folders(tmp_path / "test", {"a": 1}, shape=(9, 9))
    refuses("is 1x4x5, but .* is 1x9x9", load, tmp_path)


def test_colour_images_are_channels_first_rgb(tmp_path):
    for name in ("a", "b"):
        for i in range(5):
            picture(tmp_path / name / f"{i}.png", np.tile(np.array([10, 20, 30], np.uint8), (4, 6, 1)))
    d = load(tmp_path)
    assert d.input_shape == (3, 4, 6) and d.x_train[0, :, 0, 0].tolist() == [10, 20, 30]
    assert d.std == (1.0, 1.0, 1.0)
    np.testing.assert_allclose(d.mean, np.array([10, 20, 30]) / 255, rtol=1e-12)  # sums in float64


@pytest.mark.parametrize(
    "counts, match", [({}, "has 0 class folders"), ({"a": 3}, "has 1 class folder, expected 2 or more")]
)
def test_folder_without_classes_is_refused(tmp_path, counts, match):
    class_folders(tmp_path, counts)
    assert "cats/1.png" in refuses(match, load, tmp_path).help


def test_class_folder_without_images_is_refused(tmp_path):
    class_folders(tmp_path, {"a": 2})
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("not an image")
    refuses("empty` has no images", load, tmp_path)


def test_one_image_per_class_cannot_be_split(tmp_path):
    refuses("has 1 sample of each class", load, class_folders(tmp_path, {"a": 1, "b": 1}))


@pytest.mark.parametrize("odd", [np.zeros((5, 5)), np.zeros((4, 5, 3))])
def test_image_of_another_size_or_mode_is_named(tmp_path, odd):
    class_folders(tmp_path, {"a": 3, "b": 3})
    picture(tmp_path / "b" / "odd.png", odd)
    error = refuses("odd.png` is [13]x[45]x5, but .*0.png` is 1x4x5", load, tmp_path)
    assert "resize" in error.help


def test_corrupt_image_in_a_folder_is_named(tmp_path):
    class_folders(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "b" / "1.png").write_bytes((tmp_path / "b" / "1.png").read_bytes()[:40])
    assert "b/1.png" in refuses("1.png", load, tmp_path).message


@pytest.mark.parametrize("form", ["png", "jpg", "gif", "bmp", "tif", "webp"])
def test_damage_all_over_an_image_is_loaded_or_refused(tmp_path, form):
    path = picture(tmp_path / f"a.{form}", RNG.integers(0, 256, (6, 6, 3)))
    good = path.read_bytes()
    step = max(1, len(good) // 60)
    for i in range(0, len(good), step):
        for data in (good[:i], good[:i] + bytes([good[i] ^ (1 << i % 8)]) + good[i + 1 :]):
            path.write_bytes(data)
            try:
                assert read_image(path, (3, 6, 6)).shape == (3, 6, 6)
            except UserError as error:
                assert f"a.{form}" in error.message and "\n" not in error.message


@pytest.mark.parametrize("data", [b"", b"GIF", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"])
def test_what_is_no_image_is_refused(tmp_path, data):
    (tmp_path / "a.png").write_bytes(data)
    refuses("a.png` is not an image of a known format", read_image, tmp_path / "a.png", (1, 8, 8))


def test_missing_image_and_folder_are_refused(tmp_path):
    refuses("no.png`: no such file", read_image, tmp_path / "no.png", (1, 8, 8))
    refuses("it is a folder", read_image, tmp_path, (1, 8, 8))


def png_of_size(width, height):
    """A PNG whose header declares that size; its pixels are not there."""
    head = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


@pytest.mark.parametrize("side", [7_100, 10_000, 60_000])  # above our limit, above Pillow's warning, above its error
def test_image_bombs_are_refused_by_their_header(tmp_path, side):
    (tmp_path / "bomb.png").write_bytes(png_of_size(side, side))
    peak = peak_bytes(
        lambda: refuses("bomb.png` has .*pixels, the limit is 50000000", read_image, tmp_path / "bomb.png", (1, 8, 8))
    )
    assert peak < 5_000_000


def test_read_image_resizes_converts_and_inverts(tmp_path):
    path = picture(tmp_path / "a.png", np.full((10, 20, 3), 200))
    x = read_image(path, (1, 7, 5))
    assert x.shape == (1, 7, 5) and x.dtype == np.uint8 and np.all(x == 200)
    assert np.all(read_image(str(path), (3, 4, 4), invert=True) == 55)
    exact = RNG.integers(0, 256, (28, 28))
    assert np.array_equal(read_image(picture(tmp_path / "b.png", exact), (1, 28, 28))[0], exact)


def test_shrinking_an_image_averages_over_all_its_pixels(tmp_path):
    stripes = np.zeros((280, 280))
    stripes[:, ::2] = 200
    inner = read_image(picture(tmp_path / "a.png", stripes), (1, 28, 28))[0, 2:-2, 2:-2]
    np.testing.assert_allclose(inner, 100, atol=2)  # rounding to bytes; a sampled pixel would be 0 or 200


def test_transparent_pixels_count_as_white(tmp_path):
    rgba = np.zeros((4, 4, 4))
    rgba[:2, :, 3] = 255
    x = read_image(picture(tmp_path / "a.png", rgba), (1, 4, 4))
    assert x[0, 0, 0] == 0 and x[0, 3, 3] == 255


def test_16_bit_grey_keeps_its_upper_byte(tmp_path):
    Image.fromarray(np.full((4, 4), 0x8012, np.uint16)).save(tmp_path / "a.png")
    assert np.all(read_image(tmp_path / "a.png", (1, 4, 4)) == 0x80)


def test_float_images_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "a.tif")
    refuses("a.tif.*32 bits a pixel", read_image, tmp_path / "a.tif", (1, 4, 4))


@pytest.mark.parametrize("shape", [(2, 4, 4), (784,), (4, 4)])
def test_read_image_needs_one_or_three_channels(tmp_path, shape):
    refuses("expected 1xHxW or 3xHxW", read_image, tmp_path / "a.png", shape)


def test_a_dark_digit_on_light_paper_looks_inverted():
    paper = np.full((1, 28, 28), 230, np.uint8)
    paper[0, 10:20, 10:20] = 5
    assert looks_inverted(paper, (0.1307,)) and not looks_inverted(255 - paper, (0.1307,))
    assert not looks_inverted(paper, (0.8,)), "the training data is light as well"
    assert not looks_inverted(np.repeat(paper, 3, axis=0), (0.49, 0.48, 0.45))
