"""The data sets that have names: the catalog, where their files are looked for, and what is read of them."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from named_data import DATA, cifar_records, needs_data, own_home, write_cifar100, write_idx

from netdsl.graph.recipe import DATASETS
from netdsl.ground.catalog import CATALOG
from netdsl.ground.diagnostics import SpecError, UserError
from netdsl.pipeline import compile_text
from netdsl.training.data.built_in import built_in
from netdsl.training.data.dataset import statistics
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.places import roots

__all__ = ["own_home"]  # a fixture
OF_FILES = [name for name, data in CATALOG.items() if data.has_files]
OF_IDX = [name for name in OF_FILES if CATALOG[name].reader == "idx"]
COMING_WITH_NETDSL = [name for name in CATALOG if name not in OF_FILES]


# ------------------------------------------------------------------------------------------------------ the catalog


@pytest.mark.parametrize("name", COMING_WITH_NETDSL)
def test_the_catalog_tells_of_what_comes_with_netdsl_what_it_is(name):
    data, d = CATALOG[name], built_in(name, None)
    if data.is_text:
        assert d.counted == f"{data.train:,} + {data.test:,} characters, {len(data.classes)} different ones"
        assert (d.name, d.classes, d.mean, d.std, d.layout) == (name, data.classes, data.mean, data.std, "ids")
        assert not data.mirrors and not data.needs
        return
    assert (len(d.x_train), len(d.x_test), d.input_shape) == (data.train, data.test, data.shape)
    assert (d.name, d.classes, d.mean, d.std) == (name, data.classes, data.mean, data.std)
    assert int(d.y_train.max()) + 1 == len(data.classes) and not data.mirrors and not data.needs


@pytest.mark.parametrize("name", OF_FILES)
def test_every_download_has_its_size_its_hash_and_mirrors_that_begin_with_https(name):
    data = CATALOG[name]
    for download in data.downloads:
        assert re.fullmatch("[0-9a-f]{64}", download.sha256) and download.size > 0
        assert all(re.fullmatch("([0-9a-f]{64})?", member.sha256) for member in download.members)
        assert download.is_archive or len(download.members) == 1
    hashes = [d.sha256 for d in data.downloads] + [m.sha256 for m in data.members if m.sha256]
    are_plain = [d.name == d.members[0].name for d in data.downloads]  # served as they are read, with one hash
    assert len(set(hashes)) == len(hashes) - sum(are_plain)
    assert data.mirrors[0].startswith("https://") and all(m.endswith("/") for m in data.mirrors)
    assert len(data.mirrors) >= 2 and {name for group in data.needs for name in group} >= {m.name for m in data.members}


def test_files_are_as_large_as_their_samples():
    record = 3 * 32 * 32
    assert [m.size for m in CATALOG["cifar10"].members] == [10_000 * (1 + record)] * 6
    assert [m.size for m in CATALOG["cifar100"].members] == [50_000 * (2 + record), 10_000 * (2 + record)]
    for name in OF_IDX:
        pixels = 28 * 28
        assert [m.size for m in CATALOG[name].members] == [16 + 60_000 * pixels, 60_008, 16 + 10_000 * pixels, 10_008]


def test_the_fine_classes_of_cifar100_are_a_hundred_in_the_order_of_the_alphabet():
    classes = CATALOG["cifar100"].classes
    assert len(set(classes)) == 100 and list(classes) == sorted(classes)
    assert (classes[0], classes[41], classes[99]) == ("apple", "lawn_mower", "worm")


@needs_data
def test_the_hashes_of_the_catalog_are_those_of_the_published_files():
    """sha256 of the bytes unpacked; three of the four are packed as published, too."""
    import gzip

    for download in CATALOG["mnist"].downloads:
        packed = (Path(DATA) / "mnist" / download.name).read_bytes()
        plain = gzip.decompress(packed)
        (member,) = download.members
        assert (hashlib.sha256(plain).hexdigest(), len(plain)) == (member.sha256, member.size)
        if len(packed) == download.size:
            assert hashlib.sha256(packed).hexdigest() == download.sha256
    batch = gzip.decompress((Path(DATA) / "cifar10" / "data_batch_1.bin.gz").read_bytes())
    assert hashlib.sha256(batch).hexdigest() == CATALOG["cifar10"].members[0].sha256


@needs_data
def test_mean_and_std_of_the_catalog_are_those_of_the_training_images():
    d = load_dataset("cifar10", Path(DATA))
    mean, std = statistics(d.x_train)  # of a fifth of them
    np.testing.assert_allclose(mean + std, d.mean + d.std, rtol=0, atol=3e-3)  # a fifth of the images, four digits


# ---------------------------------------------------------------------------------------- where they are looked for


@pytest.mark.parametrize("name", OF_IDX)
@pytest.mark.parametrize("zipped", [True, False])
def test_sets_of_idx_files_are_read_from_each_of_their_folders(name, zipped, tmp_path, own_home):
    data = CATALOG[name]
    for folder in data.folders:
        root = tmp_path / f"of {folder.replace('/', ' ')}"
        write_idx(root / folder, zipped=zipped)
        d = load_dataset(name, root)
        assert (d.name, d.x_train.shape, d.x_test.shape) == (name, (40, 1, 28, 28), (20, 1, 28, 28))
        assert (d.classes, d.mean) == (data.classes, data.mean) and d.y_train.tolist() == [*range(10)] * 4


def test_files_without_a_folder_of_their_own_are_mnist_and_no_look_alike(tmp_path, own_home):
    write_idx(tmp_path)
    assert len(load_dataset("mnist", tmp_path).x_train) == 40
    for name in ("fashion-mnist", "kmnist"):
        with pytest.raises(UserError, match=f"has no `{name}/train-images-idx3-ubyte.gz`"):
            load_dataset(name, tmp_path)


@pytest.mark.parametrize("folder", ["cifar100", "cifar-100-binary"])
def test_the_fine_label_of_cifar100_is_the_one_that_counts(folder, tmp_path, own_home):
    write_cifar100(tmp_path / folder)
    d = load_dataset("cifar100", tmp_path)
    assert (d.x_train.shape, d.x_test.shape) == ((200, 3, 32, 32), (100, 3, 32, 32))
    assert d.y_train.tolist() == [*range(100)] * 2 and d.classes[d.y_train[41]] == "lawn_mower"
    assert d.x_train[7].tobytes() == (tmp_path / folder / "train.bin").read_bytes()[7 * 3074 + 2 : 8 * 3074]


@pytest.mark.parametrize(
    "data, match",
    [
        (cifar_records([1, 2])[:-1], "has 6147 bytes, which is not a number of 3074-byte records"),
        (cifar_records([100]), "has the label 100, expected 0 to 99"),
        (bytes(50_001 * 3074), "more than 153700000 bytes, the size of 50000 images"),
    ],
)
def test_bad_files_of_cifar100_are_refused(data, match, tmp_path, own_home):
    write_cifar100(tmp_path / "cifar100")
    (tmp_path / "cifar100/train.bin").write_bytes(data)
    with pytest.raises(UserError, match=match):
        load_dataset("cifar100", tmp_path)


def some_places(home, monkeypatch):
    """Folders of a user that hold Fashion-MNIST, from the last that is looked into to the first."""
    monkeypatch.setenv("TORCH_HOME", str(home / "hub"))
    return {
        home / "cache/netdsl/data/fashion-mnist": None,
        home / ".keras/datasets/fashion-mnist": None,
        home / "hub/datasets/FashionMNIST/raw": None,
        home / "data/FashionMNIST/raw": None,
        Path("data/FashionMNIST/raw"): None,
        home / "given/fashion-mnist": home / "given",
    }


def test_places_are_looked_through_in_their_order(own_home, monkeypatch):
    given = None
    for number, (folder, root) in enumerate(some_places(own_home, monkeypatch).items(), 1):
        write_idx(folder, train=10 * number, test=10)
        given = root or given
        assert len(load_dataset("fashion-mnist", given).x_train) == 10 * number, folder


def test_half_a_set_is_passed_over_for_a_whole_one_and_named_where_there_is_none(own_home, tmp_path):
    given = tmp_path / "given"
    write_idx(given / "fashion-mnist")
    (given / "fashion-mnist/t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match="fashion-mnist` has no `t10k-labels-idx1-ubyte.gz`"):
        load_dataset("fashion-mnist", given)
    write_idx(Path("data/FashionMNIST/raw"), train=30)
    assert len(load_dataset("fashion-mnist", given).x_train) == 30


def test_keras_has_a_home_of_its_own_and_mnist_in_one_file(own_home, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    folder = tmp_path / "keras/datasets"
    folder.mkdir(parents=True)
    rng, y = np.random.default_rng(0), np.arange(30, dtype=np.uint8) % 10
    x = rng.integers(0, 256, (30, 28, 28)).astype(np.uint8)
    np.savez(folder / "mnist.npz", x_train=x, y_train=y, x_test=x[:9], y_test=y[:9])
    d = load_dataset("mnist", None)
    assert np.array_equal(d.x_train[:, 0], x) and d.x_test.shape == (9, 1, 28, 28) and d.y_train.dtype == np.int64
    np.savez(folder / "mnist.npz", x_train=x.astype(float), y_train=y, x_test=x, y_test=y)
    with pytest.raises(UserError, match=r"`x_train` of float64 \(30, 28, 28\) .* expected bytes"):
        load_dataset("mnist", None)
    np.savez(folder / "mnist.npz", x_train=x.astype(object), y_train=y, x_test=x, y_test=y)
    with pytest.raises(UserError, match="holds Python objects"):
        load_dataset("mnist", None)


@pytest.mark.parametrize(
    "name, folder",
    [
        ("cifar10", "data/cifar-10-batches-py"),
        ("cifar10", "../.keras/datasets/cifar-10-batches-py-target/cifar-10-batches-py"),
        ("cifar100", "../data/cifar-100-python"),
    ],
)
def test_pickles_of_cifar_are_named_and_never_read(name, folder, own_home):
    Path(folder).mkdir(parents=True)
    for file in ("data_batch_1", "train", "test_batch", "test"):
        (Path(folder) / file).write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    with pytest.raises(UserError, match="in pickles, which can run code and are not read") as caught:
        load_dataset(name, None)
    assert "`test_batch.bin`" in caught.value.help or "`test.bin`" in caught.value.help
    assert not Path("ran").exists()


def test_nothing_anywhere_names_the_folder_and_every_file(own_home):
    for name in OF_FILES:
        with pytest.raises(UserError, match=f"^the files of `{name}` are not on this machine$") as caught:
            load_dataset(name, None)
        for group in CATALOG[name].needs:
            assert f"`{CATALOG[name].on_disk(group[0])}`" in caught.value.help
        assert "NETDSL_DATA_DIR" in caught.value.help
        assert ("classics" if CATALOG[name].is_text else "mnist-mini") in caught.value.help


def test_a_user_without_a_home_has_places_all_the_same(monkeypatch):
    monkeypatch.delenv("NETDSL_CACHE_DIR", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert roots(None).usual[0] == Path("data")


# ------------------------------------------------------------------------------------------------------- the language


def test_every_name_of_the_catalog_can_be_written_in_a_train_block():
    assert tuple(CATALOG) == DATASETS
    for name, data in CATALOG.items():
        sizes, classes = "x".join(map(str, data.shape)), len(data.classes)
        end = f"conv {classes} k1" if name == "shapes" else f"flatten -> linear {classes}"
        end = f"linear {classes}" if len(data.shape) == 1 else end
        spelled = f"{sizes} map" if len(data.shape) == 2 else sizes
        spelled, end = (f"64 of {classes}", f"embed 4 -> linear {classes}") if data.is_text else (spelled, end)
        net = compile_text(f"input {spelled}\n{end}\ntrain {{ data {name} }}\n", "net.net")
        assert net.recipe.data == name


@pytest.mark.parametrize(
    "said, meant",
    [
        ("fashion", "fashion-mnist"),
        ("fashion_mnist", "fashion-mnist"),
        ("FashionMNIST", "fashion-mnist"),
        ("kmnst", "kmnist"),
        ("cifar-10", "cifar10"),
        ("cifar-100", "cifar100"),
        ("CIFAR100", "cifar100"),
    ],
)
def test_a_name_spelled_as_elsewhere_is_answered_with_the_one_that_is_meant(said, meant):
    with pytest.raises(SpecError) as caught:
        compile_text(f"input 8\nlinear 2\ntrain {{ data {said} }}\n", "net.net")
    assert f"did you mean `{meant}`?" in str(caught.value)
    with pytest.raises(UserError) as unknown:
        load_dataset(said, None)
    assert f"did you mean `{meant}`?" in unknown.value.help
