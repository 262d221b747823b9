"""Parquet files and folders that `datasets` saves: tables and images with labels, parts, names of classes."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from netdsl.cli import run as netdsl
from netdsl.graph.types import from_sizes
from netdsl.ground.diagnostics import UserError
from netdsl.training.data import arrow, arrow_values, file_rows
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.stored import Stored
from netdsl.training.data.wanted import Wanted

RNG = np.random.default_rng(0)
NUMBERS = RNG.standard_normal((30, 3)).astype(np.float32)
LABELS = np.arange(30) % 3
IMAGES = RNG.integers(0, 256, (30, 8, 6)).astype(np.uint8)
NAMES = ("cat", "dog", "eel")


def table(**columns):
    return pa.table(
        {name: c if isinstance(c, pa.Array | pa.ChunkedArray) else pa.array(c) for name, c in columns.items()}
    )


def numbers(y=LABELS, **more):
    return table(**{f"c{k}": NUMBERS[:, k] for k in range(3)}, label=y, **more)


def packed(pixels, form="png"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def images(pixels=IMAGES, y=LABELS, name="label", **more):
    both = [{"bytes": packed(one), "path": f"{i}.png"} for i, one in enumerate(pixels)]
    return table(image=pa.array(both, pa.struct({"bytes": pa.binary(), "path": pa.string()})), **{name: y}, **more)


FEATURES = {"label": {"names": list(NAMES), "_type": "ClassLabel"}}


def described(made, features=FEATURES):
    """The table as `datasets` writes it, with its features."""
    text = json.dumps({"info": {"features": features}})
    return made.replace_schema_metadata({"huggingface": text})


def write(path, made, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(made, path, **options)
    return str(path)


def save_to_disk(folder, features=FEATURES, **parts):
    """What `datasets.DatasetDict.save_to_disk` writes; one part called `all`: `Dataset.save_to_disk`."""
    for part, made in parts.items():
        place = folder / part if part != "all" else folder
        place.mkdir(parents=True)
        with pa.ipc.new_stream(str(place / "data-00000-of-00001.arrow"), made.schema) as file:
            file.write_table(made, max_chunksize=7)
        state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": part, "_format_type": None}
        (place / "state.json").write_text(json.dumps(state))
        (place / "dataset_info.json").write_text(json.dumps({"features": features, "description": ""}))
    if "all" not in parts:
        (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(parts)}))
    return str(folder)


# tables


def same(a, b):
    assert (a.classes, a.mean, a.std, a.held) == (b.classes, b.mean, b.std, b.held)
    for part in ("x_train", "y_train", "x_test", "y_test"):
        assert getattr(a, part).dtype == getattr(b, part).dtype
        np.testing.assert_array_equal(np.asarray(getattr(a, part)), np.asarray(getattr(b, part)))


@pytest.mark.parametrize("options", [{}, {"row_group_size": 7}, {"compression": "zstd", "use_dictionary": True}])
def test_a_table_is_the_data_set_that_a_npz_of_its_columns_is(tmp_path, options):
    np.savez(tmp_path / "d.npz", x=NUMBERS, y=LABELS)
    d = load_dataset(write(tmp_path / "d.parquet", numbers(), **options), None)
    same(d, load_dataset(str(tmp_path / "d.npz"), None))


def test_words_and_numbers_are_targets_as_in_a_csv(tmp_path):
    words = np.array(["no", "yes", "maybe"])[LABELS]
    assert load_dataset(write(tmp_path / "a.parquet", numbers(words)), None).classes == ("maybe", "no", "yes")
    coded = pa.array(words).dictionary_encode()
    assert load_dataset(write(tmp_path / "b.parquet", numbers(coded)), None).classes == ("maybe", "no", "yes")
    d = load_dataset(write(tmp_path / "c.parquet", numbers(NUMBERS[:, 0])), None)
    assert d.classes == () and d.y_train.shape == (24, 1)
    d = load_dataset(write(tmp_path / "d.parquet", numbers(LABELS == 1)), None)
    assert d.classes == ("0", "1")


def test_the_column_of_targets_is_named_or_the_last(tmp_path):
    made = table(kind=LABELS, a=NUMBERS[:, 0], b=NUMBERS[:, 1])
    path = write(tmp_path / "d.parquet", made)
    d = load_dataset(path, None, want=Wanted(options={"label": "kind"}))
    assert (d.classes, d.input_shape) == (("0", "1", "2"), (2,))
    d = load_dataset(path, None)
    assert d.classes == () and "are its last column, `b`" in d.notes[0]


def test_the_index_of_pandas_is_not_used(tmp_path):
    d = load_dataset(write(tmp_path / "d.parquet", numbers(__index_level_0__=np.arange(30))), None)
    assert d.input_shape == (3,)


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float32(), 3)])
def test_a_column_of_lists_is_the_samples(tmp_path, kind):
    d = load_dataset(write(tmp_path / "d.parquet", table(x=pa.array(NUMBERS.tolist(), kind), y=LABELS)), None)
    np.savez(tmp_path / "d.npz", x=NUMBERS, y=LABELS)
    same(d, load_dataset(str(tmp_path / "d.npz"), None))


def test_nested_lists_of_bytes_are_images(tmp_path):
    made = table(pixels=pa.array(IMAGES.tolist(), pa.list_(pa.list_(pa.uint8()))), label=LABELS)
    d = load_dataset(write(tmp_path / "d.parquet", made), None, want=Wanted(from_sizes((3, 5, 5)), 3, "ce", fit="crop"))
    np.savez(tmp_path / "d.npz", x=IMAGES, y=LABELS)
    want = Wanted(from_sizes((3, 5, 5)), 3, "ce", fit="crop")
    same(d, load_dataset(str(tmp_path / "d.npz"), None, want=want))


# parts


@pytest.mark.parametrize(
    "names",
    [("train.parquet", "validation.parquet", "test.parquet")]
    + [tuple(f"data/{part}-00000-of-00001.parquet" for part in ("train", "validation", "test"))]
    + [tuple(f"{part}/0000.parquet" for part in ("train", "valid", "testing"))],
)
def test_files_are_parts_by_their_names(tmp_path, names):
    for name, (start, end) in zip(names, ((0, 15), (15, 21), (21, 30)), strict=True):
        write(tmp_path / name, numbers().slice(start, end - start))
    d = load_dataset(str(tmp_path), None)
    assert (len(d.x_train), d.held, len(d.x_test)) == (21, 6, 9)
    np.testing.assert_array_equal(d.x_train, NUMBERS[:21])


def test_several_files_of_a_part_are_one_behind_the_other(tmp_path):
    for k in range(3):
        write(tmp_path / f"train-{k:05}-of-00003.parquet", numbers().slice(10 * k, 8))
        write(tmp_path / f"test-{k:05}-of-00003.parquet", numbers().slice(10 * k + 8, 2))
    d = load_dataset(str(tmp_path), None)
    np.testing.assert_array_equal(d.x_train, NUMBERS[[i for i in range(30) if i % 10 < 8]])


# images


@pytest.fixture(params=["parquet", "saved"])
def saved(request, tmp_path):
    """saved(train, test) -> the path of a folder of these tables, of Parquet files or as `datasets` saves it."""

    def saved(train, features=FEATURES, **more):
        parts = {"train": train, **more}
        if request.param == "saved":
            return save_to_disk(tmp_path / "d", features, **parts)
        for part, made in parts.items():
            write(tmp_path / "d" / f"{part}-00000-of-00001.parquet", described(made, features))
        return str(tmp_path / "d")

    return saved


def test_images_in_a_column_are_read_as_files_are(saved, tmp_path):
    d = load_dataset(saved(images(IMAGES[:20], LABELS[:20]), test=images(IMAGES[20:], LABELS[20:])), None)
    assert d.classes == NAMES
    np.testing.assert_array_equal(d.x_train, IMAGES[:20, None])
    np.testing.assert_array_equal(d.x_test, IMAGES[20:, None])
    assert d.y_train.tolist() == LABELS[:20].tolist()


def test_images_of_other_sizes_are_fitted_or_refused_with_the_row(saved):
    pixels = [np.full((4 + i, 9, 3), i, np.uint8) for i in range(30)]
    path, want = saved(images(pixels)), Wanted(from_sizes((1, 6, 6)), 3, "ce")
    with pytest.raises(UserError, match=r"\[0\]` is 4x9, but the network takes 6x6; the 30 images have 30 sizes"):
        load_dataset(path, None, want=want)
    d = load_dataset(path, None, want=Wanted(from_sizes((1, 6, 6)), 3, "ce", fit="crop"))
    assert d.input_shape == (1, 6, 6) and "30 of 30 images were cropped to 6x6 (`fit crop`)" in d.notes


def test_images_that_do_not_fit_into_memory_are_decoded_late(saved, monkeypatch):
    path = saved(images())
    at_once = load_dataset(path, None)
    monkeypatch.setattr(file_rows, "MAX_BYTES", 1000)
    d = load_dataset(path, None)
    assert isinstance(d.x_train, Stored) and "the 30 images of 1x8x6 take 1440 bytes, more than 1000" in d.notes[0]
    same(d, at_once)
    assert d.digest() == load_dataset(path, None).digest()


def test_classes_that_no_sample_has_keep_their_names(saved):
    assert load_dataset(saved(images(y=LABELS % 2)), None).classes == NAMES


def test_a_test_part_whose_labels_are_secret_is_not_used(saved):
    d = load_dataset(saved(images(), test=images(IMAGES[:5], np.full(5, -1))), None)
    assert len(d.x_test) == 6 and "the part `test` of" in d.notes[0] and "has no labels: not used" in d.notes[0]


def test_of_several_columns_of_labels_one_must_be_named(saved):
    both = {**FEATURES, "coarse": {"names": ["x", "y"], "_type": "ClassLabel"}}
    path = saved(images(name="fine", coarse=LABELS % 2), {"fine": FEATURES["label"], "coarse": both["coarse"]})
    with pytest.raises(UserError, match="has the columns `fine`, `coarse` beside its images") as caught:
        load_dataset(path, None)
    assert caught.value.help == "name it: `label=fine` behind the path"
    d = load_dataset(path, None, want=Wanted(options={"label": "coarse"}))
    assert d.classes == ("x", "y") and "not used: `fine`" in d.notes[0]


def test_one_data_set_without_parts_is_split(tmp_path):
    d = load_dataset(save_to_disk(tmp_path / "d", all=images()), None)
    assert (len(d.x_train), len(d.x_test), d.classes) == (24, 6, NAMES)


def test_numbers_with_labels_are_a_saved_data_set_too(tmp_path):
    d = load_dataset(save_to_disk(tmp_path / "d", train=numbers(), test=numbers()), None)
    np.testing.assert_array_equal(d.x_train, NUMBERS)
    assert d.classes == NAMES


def test_a_network_learns_from_them_and_predicts_by_the_names(saved, tmp_path, monkeypatch, capsys):
    path = saved(images())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "n.net").write_text(f'input 1x6x6\nflatten -> linear 3\ntrain {{ data "{path}", fit pad }}\n')
    assert netdsl(["train", "n.net", "--out", "r", "--no-plots"]) == 0
    Image.fromarray(IMAGES[0]).save("a.png")
    capsys.readouterr()
    assert netdsl(["predict", "r", "a.png"]) == 0 and "dog" in capsys.readouterr().out
    assert netdsl(["eval", "r"]) == 0


# what is refused


def refused(path, want=None):
    with pytest.raises(UserError) as caught:
        d = load_dataset(str(path), None, want=want or Wanted())
        d.x_train[:], d.x_test[:]
    assert "\n" not in caught.value.message
    return f"{caught.value.message}: {caught.value.help}"


def test_without_pyarrow_one_line_says_how_to_get_it(tmp_path, monkeypatch):
    path = write(tmp_path / "d.parquet", numbers())
    monkeypatch.setattr(arrow_values, "find_spec", lambda name: None)
    said = "which is not installed: `pip install 'netdsl[parquet]'`, or `pip install pyarrow`"
    assert said in refused(path)
    assert said in refused(save_to_disk(tmp_path / "e", all=numbers()))


NULL = pa.array([1.0, None] * 15)


@pytest.mark.parametrize(
    "made, said",
    [
        (table(a=NULL, label=LABELS), "row 2, column `a` of"),
        (table(a=NUMBERS[:, 0], label=pa.array([None, "b"] * 15)), "row 1, column `label` of"),
        (table(a=["x"] * 30, label=LABELS), "the column `a` of .* is string, expected numbers"),
        (table(a=NUMBERS[:, 0], b=NUMBERS[:, 1].astype("M8[s]"), label=LABELS), "is timestamp"),
        (table(a=[[1.0]] * 15 + [[1.0, 2.0]] * 15, label=LABELS), "have different lengths, 1 and 2"),
        (table(a=[[1.0], None] * 15, label=LABELS), "row 2, column `a`"),
        (table(a=[[1.0], [None]] * 15, label=LABELS), "column `a` of .* is missing"),
        (table(a=[[]] * 30, label=LABELS), "expected"),
        (table(a=NUMBERS[:, 0], b=[[1.0]] * 30, label=LABELS), "has 2 columns of samples, and `b` is of lists"),
        (table(label=LABELS), "has one column"),
        (table(a=NUMBERS[:0, 0], label=LABELS[:0]), "has no rows"),
        (table(a=np.full(30, np.nan), label=LABELS), "NaN or infinite"),
        (table(image=[b"x"] * 30, label=LABELS), r"\[0\]` is not an image of a known format"),
        (images().drop_columns("label"), "has no column of targets"),
        (images(second=[b"x"] * 30), "has 2 columns of images, `image` and `second`"),
        (pa.Table.from_arrays([pa.array([1, 2])] * 2, names=["a", "a"]), "has 2 columns, 1 of different names"),
    ],
)
def test_columns_that_are_no_samples_are_named(tmp_path, made, said):
    path, match = write(tmp_path / "d.parquet", made), said
    with pytest.raises(UserError, match=match):
        load_dataset(path, None)


def test_images_that_are_paths_to_other_files_are_not_followed(saved):
    only_paths = [{"bytes": None, "path": "/etc/passwd"}] * 30
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    assert "row 1, column `image` of" in (text := refused(saved(table(image=pa.array(only_paths, kind), label=LABELS))))
    assert "has no bytes of an image: save the images themselves" in text


def test_a_set_whose_names_lead_out_of_its_folder_is_refused(tmp_path):
    path = save_to_disk(tmp_path / "d", train=numbers())
    for name in ("../x.arrow", "/etc/passwd", "..", "", 3, None, "a\\b"):
        (tmp_path / "d/train/state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
        assert "expected one in its folder" in refused(path)
    (tmp_path / "d/train/state.json").write_text(json.dumps({"_data_files": [], "_indices_data_files": ["i.arrow"]}))
    assert "flatten_indices()" in refused(path)
    (tmp_path / "d/train/state.json").write_text('{"_data_files": []}')
    assert "names 0 files, expected 1" in refused(path)
    (tmp_path / "d/dataset_dict.json").write_text('{"splits": ["../train", "test"]}')
    assert "has no part `train`; it has `../train`" in refused(path)
    (tmp_path / "d/dataset_dict.json").write_text('["train"]')
    assert "it is no JSON object" in refused(path)


def test_images_of_parquet_have_a_limit_and_those_that_datasets_saves_stay_in_their_file(tmp_path, monkeypatch):
    monkeypatch.setattr(arrow, "MAX_BYTES", 500)
    path = write(tmp_path / "d.parquet", images())
    assert "are more than 500 bytes, packed as they are: save them as files" in refused(path)
    d = load_dataset(save_to_disk(tmp_path / "d", train=images(), test=images()), None)
    np.testing.assert_array_equal(d.x_train, IMAGES[:, None])


def test_a_saved_file_that_gets_shorter_is_one_line(tmp_path, monkeypatch):
    path = save_to_disk(tmp_path / "d", train=images(), test=images())
    monkeypatch.setattr(file_rows, "MAX_BYTES", 1000)
    d = load_dataset(path, None)
    os.truncate(tmp_path / "d/train/data-00000-of-00001.arrow", 1000)
    with pytest.raises(UserError, match=r"data-00000-of-00001.arrow\[29\]` is (damaged|not an image)"):
        d.x_train[29]


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_packed_arrow_files_are_read_too(tmp_path, compression):
    path, made = save_to_disk(tmp_path / "d", train=images(), test=images()), images()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(f"{path}/train/data-00000-of-00001.arrow", made.schema, options=options) as file:
        file.write_table(made)
    np.testing.assert_array_equal(load_dataset(path, None).x_train, IMAGES[:, None])


def test_numbers_too_many_for_memory_are_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "d.parquet", numbers())
    monkeypatch.setattr(arrow, "MAX_BYTES", 359)
    assert "has 30 rows, which take 360 bytes, the limit is 359: save them as `x.npy`" in refused(path)


def test_parts_with_other_columns_are_refused(tmp_path):
    write(tmp_path / "train.parquet", numbers())
    write(tmp_path / "test.parquet", numbers(more=LABELS))
    assert "the columns of" in refused(tmp_path) and "differ" in refused(tmp_path)
    os.remove(tmp_path / "train.parquet")
    assert "has `test`, but no `train`" in refused(tmp_path)


# damage


def mutants(data, count, rng):
    """Copies with a few bytes changed, cut off or put in, most of them where the descriptions are."""
    for _ in range(count):
        bad = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(0, len(bad)))
            at = at if rng.integers(0, 2) else len(bad) - 1 - min(at, int(rng.exponential(300)))
            kind = rng.integers(0, 8)
            if kind == 0:
                del bad[at:]
            elif kind == 1:
                bad[at:at] = bytes(int(rng.integers(1, 9)))
            elif kind == 2:
                bad[at : at + 4] = bytes(rng.choice([0, 255, 127], 4).astype(np.uint8))
            else:
                bad[at] = int(rng.integers(0, 256))
            if not bad:
                break
        yield bytes(bad)


CHECK = """
import resource, sys
from pathlib import Path
import numpy, pyarrow.parquet, PIL.Image, PIL.PngImagePlugin
from netdsl.ground.diagnostics import UserError
from netdsl.training.data.datasets import load_dataset
PIL.Image.init()
folder, file = Path(sys.argv[1]), Path(sys.argv[2])
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[3]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
read = 0
for bad in sorted(Path(sys.argv[4]).iterdir()):
    file.write_bytes(bad.read_bytes())
    print(bad.name, flush=True)
    try:
        data = load_dataset(str(folder), None)
        data.x_train[:], data.x_test[:]
        read += 1
    except UserError as error:
        assert "\\n" not in error.message, error.message
print("read", read)
"""
MOST = 1000  # MB of address space above what the imports take


def checked(folder, file, bad, tmp_path):
    """How many of these contents of a file are read as a data set; the others are one line each, in bounded memory."""
    (tmp_path / "bad").mkdir()
    for i, data in enumerate(bad):
        (tmp_path / "bad" / f"{i:05}").write_bytes(data)
    arguments = [str(folder), str(file), str(MOST), str(tmp_path / "bad")]
    done = subprocess.run([sys.executable, "-c", CHECK, *arguments], capture_output=True, text=True, timeout=300)
    assert not done.returncode, done.stdout[-100:] + done.stderr[-3000:]
    return int(done.stdout.split()[-1])


def test_column_names_that_are_no_text_are_one_line(tmp_path):
    path = save_to_disk(tmp_path / "d", train=numbers(), test=numbers())
    file = tmp_path / "d/train/data-00000-of-00001.arrow"
    file.write_bytes(file.read_bytes().replace(b"label", b"\xe8abel"))
    assert "is damaged: 'utf-8' codec can't decode byte 0xe8" in refused(path)


def test_damaged_descriptions_are_one_line_or_a_data_set(tmp_path, request):
    path, rng = save_to_disk(tmp_path / "d", train=numbers(), test=numbers()), np.random.default_rng(4)
    for name in ("dataset_dict.json", "train/state.json", "train/dataset_info.json"):
        file = tmp_path / "d" / name
        good = file.read_bytes()
        for bad in mutants(good, request.config.getoption("--mutants") // 12, rng):
            file.write_bytes(bad)
            try:
                load_dataset(path, None)
            except UserError as error:
                assert "\n" not in error.message
        file.write_bytes(good)
    deep = json.dumps({"features": {}}).replace("{}", "[" * 50_000 + "]" * 50_000)
    (tmp_path / "d/train/dataset_info.json").write_text(deep)
    assert "it is nested too deep" in refused(path)


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the memory of a process is read from /proc")
@pytest.mark.parametrize("kind", ["numbers", "images"])
@pytest.mark.parametrize("form", ["parquet", "saved"])
def test_damaged_files_are_one_line_or_a_data_set_in_bounded_memory(tmp_path, request, form, kind):
    made = numbers() if kind == "numbers" else images()
    folder, count = tmp_path / "d", request.config.getoption("--mutants") // 4
    if form == "saved":
        save_to_disk(folder, train=made, test=made)
        file = folder / "train/data-00000-of-00001.arrow"
    else:
        file = folder / "train.parquet"
        write(file, described(made), compression="zstd")
        write(folder / "test.parquet", made)
    bad = mutants(file.read_bytes(), count, np.random.default_rng(3))
    assert checked(folder, file, bad, tmp_path) < count


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the memory of a process is read from /proc")
def test_small_files_of_large_values_are_refused_in_bounded_memory(tmp_path):
    """One value of 100 MB, and one of 20 MB that a thousand rows have."""
    once = table(image=pa.array([bytes(10**8)], pa.binary()), label=[0])
    places, value = pa.array(np.zeros(1000, np.int32)), pa.array([bytes(2 * 10**7)], pa.binary())
    again = pa.DictionaryArray.from_arrays(places, value)
    bombs = []
    for made in (once, table(image=again, label=np.arange(1000) % 2)):
        pq.write_table(made, tmp_path / "bomb", compression="zstd", store_schema=False)
        bombs.append((tmp_path / "bomb").read_bytes())
    (tmp_path / "d").mkdir()
    assert max(map(len, bombs)) < 2**16
    assert checked(tmp_path / "d", tmp_path / "d" / "train.parquet", bombs, tmp_path) == 0
