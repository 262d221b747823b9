"""IDX files of one's own: parts by their names, kinds of numbers, and what is refused."""

import gzip
import os
import struct

import numpy as np
import pytest

from netdsl.cli import run as netdsl
from netdsl.graph.types import from_sizes
from netdsl.ground.diagnostics import UserError
from netdsl.training.data import idx_sets
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.idx_sets import DTYPES, read_any_idx
from netdsl.training.data.stored import Stored
from netdsl.training.data.wanted import Wanted

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (30, 8, 6)).astype(np.uint8)
LABELS = (np.arange(30) % 3).astype(np.uint8)


def idx(array, kind=0x08):
    header = bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(DTYPES[kind]).tobytes()


def save(path, data):
    path.write_bytes(gzip.compress(data, mtime=0) if path.name.endswith(".gz") else data)


def fill(folder, end="", x=IMAGES, y=LABELS, prefix="", parts=(("train", 20), ("t10k", 10))):
    """Files called as MNIST's are; returns the folder."""
    start = 0
    for part, count in parts:
        save(folder / f"{prefix}{part}-images-idx3-ubyte{end}", idx(x[start : start + count]))
        save(folder / f"{prefix}{part}-labels-idx1-ubyte{end}", idx(y[start : start + count]))
        start += count
    return folder


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("name", ["", "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_file_or_the_folder_is_the_whole_set(tmp_path, name, end):
    fill(tmp_path, end)
    d = load_dataset(str(tmp_path / (name and name + end)), None)
    assert isinstance(d.x_train, Stored) == (not end) and d.classes == ("0", "1", "2")
    np.testing.assert_array_equal(np.asarray(d.x_train), IMAGES[:20, None])
    np.testing.assert_array_equal(np.asarray(d.x_test), IMAGES[20:, None])
    assert d.y_train.tolist() == LABELS[:20].tolist() and d.y_test.tolist() == LABELS[20:].tolist()


def test_a_training_part_alone_is_split_and_a_validation_part_is_one(tmp_path):
    d = load_dataset(str(fill(tmp_path, parts=[("train", 30)])), None)
    assert (len(d.x_train), len(d.x_test)) == (24, 6)
    d = load_dataset(str(fill(tmp_path, parts=[("train", 10), ("val", 5), ("test", 15)])), None)
    assert (len(d.x_train), d.held, len(d.x_test)) == (15, 5, 15)


@pytest.mark.parametrize(
    "images, labels",
    [("train-images.idx3-ubyte", "train-labels.idx1-ubyte"), ("images-idx3-ubyte", "labels-idx1-ubyte")]
    + [("DIGITS_TRAIN_IMAGES_IDX3_UBYTE.GZ", "digits_train_labels_idx1_ubyte"), ("x-idx3-ubyte", "y-idx1-ubyte")],
)
def test_files_are_found_by_the_names_that_people_use(tmp_path, images, labels):
    save(tmp_path / images, idx(IMAGES))
    save(tmp_path / labels, idx(LABELS))
    assert len(load_dataset(str(tmp_path), None).x_train) == 24


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("kind", DTYPES)
def test_every_kind_of_numbers_is_read(tmp_path, kind, end):
    array = RNG.integers(0, 100, (5, 3, 2)) * (0.5 if kind > 0x0C else 1)
    save(tmp_path / f"a{end}", idx(array, kind))
    x = read_any_idx(tmp_path / f"a{end}")
    assert x.dtype.isnative and x.dtype == np.dtype(DTYPES[kind]).newbyteorder("=")
    np.testing.assert_array_equal(np.asarray(x), array)


def test_a_fit_is_that_of_images(tmp_path):
    fill(tmp_path)
    d = load_dataset(str(tmp_path), None, want=Wanted(from_sizes((3, 5, 5)), 3, "ce", fit="pad"))
    assert d.input_shape == (3, 5, 5) and "are 1x8x6: brought to 3x5x5 (`fit pad`)" in d.notes[-1]
    assert d.x_train[:3].shape == (3, 3, 5, 5)


def test_a_network_learns_from_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fill(tmp_path, ".gz")
    (tmp_path / "n.net").write_text('input 1x8x6\nflatten -> linear 3\ntrain { data "t10k-images-idx3-ubyte.gz" }\n')
    assert netdsl(["train", "n.net", "--out", "r", "--no-plots"]) == 0
    assert "20 + 10 samples of t10k-images-idx3-ubyte.gz" in capsys.readouterr().err


# what is refused


def refused(path):
    with pytest.raises(UserError) as caught:
        d = load_dataset(str(path), None)
        d.x_train[:], d.x_test[:]
    assert "\n" not in caught.value.message
    return f"{caught.value.message}: {caught.value.help}"


def test_several_sets_in_a_folder_are_chosen_by_a_file(tmp_path):
    fill(tmp_path, ".gz", prefix="emnist-digits-")
    fill(tmp_path, ".gz", prefix="emnist-letters-", y=LABELS % 2)
    assert "has 2 data sets, `emnist-digits`, `emnist-letters`: name a file" in refused(tmp_path)
    assert load_dataset(str(tmp_path / "emnist-letters-train-images-idx3-ubyte.gz"), None).classes == ("0", "1")


def test_a_missing_or_double_part_is_said(tmp_path):
    fill(tmp_path, parts=[("t10k", 10)])
    assert "has no IDX file of training samples; it has `t10k-images-idx3-ubyte`" in refused(tmp_path)
    fill(tmp_path)
    fill(tmp_path, ".gz")
    assert len(load_dataset(str(tmp_path), None).x_train) == 20  # a file beside its own .gz
    save(tmp_path / "train-images.idx3-ubyte", idx(IMAGES))
    assert "and either may be meant" in refused(tmp_path)
    (tmp_path / "train-images.idx3-ubyte").unlink()
    for end in ("", ".gz"):
        (tmp_path / f"t10k-labels-idx1-ubyte{end}").unlink()
    assert "has only one of" in refused(tmp_path)


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize(
    "data, said",
    [
        (b"", "is not an IDX file: it begins with 0x, expected"),
        (b"\x00\x00\x07\x03" + bytes(100), "it begins with 0x00000703, expected"),
        (b"\x01\x00\x08\x03" + bytes(100), "it begins with 0x01000803, expected"),
        (b"\x00\x00\x08\x09" + bytes(100), "and 01 to 08 axes"),
        (b"\x00\x00\x08\x03" + bytes(5), "is truncated: it has 9 bytes, the header 16"),
        (b"\x00\x00\x08\x03" + bytes(12), "has the sizes (0, 0, 0), expected 1 or more each"),
        (idx(IMAGES)[:-1], "is truncated: it has 1439 bytes of data, its header says 1440"),
        (idx(IMAGES) + b"x", "has more than the 1440 bytes of data that its header says"),
        (b"\x00\x00\x0e\x03" + b"\xff" * 12, " 6338"),
    ],
)
def test_files_that_do_not_hold_what_they_say_are_refused(tmp_path, data, said, end):
    fill(tmp_path)
    os.remove(tmp_path / "train-images-idx3-ubyte")
    save(tmp_path / f"train-images-idx3-ubyte{end}", data)
    assert said in refused(tmp_path)


def test_a_packed_file_cannot_say_more_than_its_bytes_can_hold(tmp_path, monkeypatch):
    def nothing(shape, dtype):
        assert np.prod(shape, dtype=float) < 1000
        return np.zeros(shape, dtype)

    data = gzip.compress(bytes([0, 0, 8, 3]) + struct.pack(">3I", 1000, 1000, 4000))
    fill(tmp_path)
    os.remove(tmp_path / "train-images-idx3-ubyte")
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(data)
    monkeypatch.setattr(np, "empty", nothing)
    assert f"{len(data)} packed bytes cannot hold 4000000000" in refused(tmp_path)
    monkeypatch.setattr(idx_sets, "MAX_BYTES", 10**9)
    assert "unpacks to 4000000000 bytes, the limit is 1000000000: unpack it with gzip" in refused(tmp_path)


def test_damaged_files_are_one_line_or_a_data_set(tmp_path, request):
    rng, good = np.random.default_rng(1), 0
    count = request.config.getoption("--mutants") // 2
    for i in range(count):
        end = ("", ".gz")[i % 2]
        for name in os.listdir(tmp_path):
            os.remove(tmp_path / name)
        fill(tmp_path, end)
        path = tmp_path / (f"train-images-idx3-ubyte{end}", f"t10k-labels-idx1-ubyte{end}")[i // 2 % 2]
        bad = bytearray(path.read_bytes())
        at = int(rng.integers(0, min(30, len(bad))))
        if i % 3:
            bad[at] = int(rng.integers(0, 256))
        else:
            del bad[int(rng.integers(0, len(bad))) :]
        path.write_bytes(bad)
        try:
            d = load_dataset(str(tmp_path), None)
            d.x_train[:], d.x_test[:]
            good += 1
        except UserError as error:
            assert "\n" not in error.message
    assert 0 < good < count
