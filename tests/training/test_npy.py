"""A folder of `.npy` files: the data set that a `.npz` of these arrays is, in bounded memory."""

import io
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from netdsl.graph.recipe import Recipe
from netdsl.graph.types import Tensor, from_sizes
from netdsl.ground.diagnostics import UserError
from netdsl.training.data import npy
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.feed import Feed
from netdsl.training.data.npy import RawRows
from netdsl.training.data.stored import Stored
from netdsl.training.data.unpack import unpacked
from netdsl.training.data.wanted import Wanted

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (30, 8, 6)).astype(np.uint8)
LABELS = np.arange(30) % 3


@pytest.fixture
def saved(tmp_path):
    """saved(name=array, ...) -> a `.npz` with these arrays, and a folder of them."""

    def saved(**arrays):
        np.savez(tmp_path / "d.npz", **arrays)
        (tmp_path / "d").mkdir()
        for name, array in arrays.items():
            np.save(tmp_path / "d" / f"{name}.npy", array)
        return str(tmp_path / "d.npz"), str(tmp_path / "d")

    return saved


SETS = {
    "images": (IMAGES, LABELS, None),
    "channels last": (RNG.integers(0, 256, (30, 8, 6, 3)).astype(np.uint8), LABELS, (3, 8, 6)),
    "in a line": (IMAGES.reshape(30, 48), LABELS, (1, 8, 6)),
    "float64": (RNG.standard_normal((30, 5)), LABELS, (5,)),
    "int16": (RNG.integers(-99, 99, (30, 4)).astype(np.int16), LABELS, (4,)),
    "int64": (RNG.integers(-99, 99, (30, 4)), LABELS, None),
    "big-endian": (RNG.standard_normal((30, 4)).astype(">f4"), LABELS.astype(">i4"), None),
    "columns": (np.asfortranarray(RNG.standard_normal((30, 4))), LABELS, None),
    "booleans": (RNG.integers(0, 2, (30, 9)).astype(bool), LABELS, None),
    "words": (IMAGES, np.array(list("abc") * 10), None),
    "one-hot": (IMAGES, np.eye(3, dtype=np.uint8)[LABELS], None),
    "numbers": (IMAGES, RNG.standard_normal((30, 2)), None),
    "copies": (IMAGES, None, (1, 8, 6)),
}


@pytest.mark.parametrize("name", SETS)
def test_a_folder_is_the_data_set_that_a_npz_of_its_arrays_is(saved, name):
    x, y, takes = SETS[name]
    want = Wanted(from_sizes(takes), val=0.2) if takes else Wanted(val=0.2)
    a, b = (load_dataset(path, None, want=want) for path in saved(x=x, **({} if y is None else {"y": y})))
    assert (b.classes, b.mean, b.std, b.input_shape) == (a.classes, a.mean, a.std, a.input_shape)
    assert isinstance(b.x_train, Stored) == (name != "columns") and isinstance(b.y_train, Stored) == (name == "copies")
    for part in ("x_train", "y_train", "x_test", "y_test"):
        assert getattr(b, part).dtype == getattr(a, part).dtype
        np.testing.assert_array_equal(np.asarray(getattr(b, part)), getattr(a, part))
    assert [note.replace("d.npz", "d") for note in a.notes] == list(b.notes)
    recipe = Recipe(val=0.2, batch=8)
    for one, other in zip(Feed(a, recipe).epoch(2), Feed(b, recipe).epoch(2), strict=True):
        np.testing.assert_array_equal(one.x, other.x)
        np.testing.assert_array_equal(one.y, other.y)


@pytest.mark.parametrize("shape, takes", [((30, 2, 16), (2, 16)), ((30, 16), (1, 16)), ((30, 4, 4, 4), (1, 4, 4, 4))])
def test_signals_and_volumes_are_read_so_too(saved, shape, takes):
    x = RNG.standard_normal(shape).astype(np.float32)
    a, b = (load_dataset(path, None, want=Wanted(Tensor("map", takes))) for path in saved(x=x, y=LABELS))
    assert isinstance(b.x_train, Stored) and b.layout == a.layout == "map" and b.input_shape == takes
    np.testing.assert_array_equal(np.asarray(b.x_train), a.x_train)
    assert b.mean == a.mean


def test_parts_class_names_and_a_fit_are_those_of_a_npz(saved):
    parts = {"train": slice(0, 18), "val": slice(18, 24), "test": slice(24, 30)}
    arrays = {f"x_{k}": IMAGES[s] for k, s in parts.items()} | {f"y_{k}": LABELS[s] for k, s in parts.items()}
    want = Wanted(from_sizes((3, 5, 5)), fit="crop")
    a, b = (load_dataset(p, None, 7, want=want) for p in saved(**arrays, class_names=np.array(["a", "b", "c"])))
    assert a.classes == b.classes == ("a", "b", "c") and (a.held, len(a.x_test)) == (b.held, len(b.x_test)) == (6, 6)
    assert a.notes[-1].replace("d.npz", "d") == b.notes[-1]
    np.testing.assert_array_equal(np.asarray(b.x_train), a.x_train)


def test_the_digest_changes_with_a_sample_a_label_and_their_order(saved):
    _, folder = saved(x=IMAGES, y=LABELS)

    def digest():
        return load_dataset(folder, None).digest()

    before = digest()
    assert digest() == before
    for name, array in (("x", IMAGES[::-1]), ("y", LABELS[::-1])):
        kept = np.load(f"{folder}/{name}.npy")
        np.save(f"{folder}/{name}.npy", array)
        assert digest() != before
        np.save(f"{folder}/{name}.npy", kept)
    assert digest() == before


def test_rows_are_read_at_once_where_they_follow_each_other_and_come_in_the_order_asked_for(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", IMAGES)
    x, sizes = npy.stored_npy(tmp_path, "x"), []
    fill = npy._is_filled
    monkeypatch.setattr(npy, "_is_filled", lambda file, view: sizes.append(len(view) // 48) or fill(file, view))
    np.testing.assert_array_equal(x[[5, 3, 4, 20, 4, 19]], IMAGES[[5, 3, 4, 20, 4, 19]])
    assert sizes == [2, 2, 2]  # 3 to 4, 4 to 5, 19 to 20


def test_class_folders_beside_which_an_array_lies_stay_class_folders(tmp_path):
    from PIL import Image

    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.fromarray(IMAGES[i]).save(tmp_path / name / f"{i}.png")
    np.save(tmp_path / "mean.npy", IMAGES[0])
    assert load_dataset(str(tmp_path), None).classes == ("a", "b")


# what is refused


def refused(folder, want=None):
    with pytest.raises(UserError) as caught:
        d = load_dataset(str(folder), None, want=want or Wanted())
        d.x_train[:], d.x_test[:]
    assert "\n" not in caught.value.message
    return f"{caught.value.message}: {caught.value.help}"


def test_names_that_say_nothing_are_refused_with_those_that_would(tmp_path):
    np.save(tmp_path / "pictures.npy", IMAGES)
    assert "has no array `x` of training samples; it holds `pictures`: save `x.npy` and `y.npy`" in refused(tmp_path)
    assert "name a folder that holds `x.npy`" in refused(tmp_path / "pictures.npy")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite_are_met_when_they_are_read(saved, bad):
    x = RNG.standard_normal((30, 4))
    x[17, 2] = bad
    assert "`x` of" in (text := refused(saved(x=x, y=LABELS)[1])) and "NaN or infinite as float32" in text


def test_whole_numbers_that_float32_cannot_hold_are_met_when_they_are_read(saved):
    assert "numbers that float32 cannot hold" in refused(saved(x=np.full((30, 2), 2**24 + 1), y=LABELS)[1])


def test_objects_are_not_unpickled(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    for x in (np.array([Evil()] * 4), np.zeros(4, [("a", "O")])):
        np.save(tmp_path / "x.npy", x, allow_pickle=True)
        np.save(tmp_path / "y.npy", LABELS[:4])
        assert "holds Python objects, expected numbers" in refused(tmp_path)
    assert not (tmp_path / "evil").exists()


def test_a_file_that_gets_shorter_while_it_is_read_is_one_line(tmp_path):
    np.save(tmp_path / "x.npy", IMAGES)
    x = npy.stored_npy(tmp_path, "x")
    os.truncate(tmp_path / "x.npy", 1000)
    np.testing.assert_array_equal(x[:10], IMAGES[:10])
    with pytest.raises(UserError, match="has become shorter since it was opened"):
        x[20]
    (tmp_path / "x.npy").unlink()
    with pytest.raises(UserError, match="cannot read .*no such file"):
        x[0]


def test_what_must_be_in_memory_has_the_limit(saved, monkeypatch):
    monkeypatch.setattr(npy, "MAX_BYTES", 1000)
    _, folder = saved(x=np.asfortranarray(RNG.standard_normal((30, 5))), y=LABELS)
    assert "takes 1200 bytes in memory, the limit is 1000: save it in C order" in refused(folder)
    np.save(f"{folder}/x.npy", IMAGES)
    assert load_dataset(folder, None).input_shape == (1, 8, 6)
    np.save(f"{folder}/y.npy", np.zeros((30, 8, 6)))
    assert "the array `y` of" in (text := refused(folder)) and "takes 11520 bytes in memory" in text


def header(text):
    """A `.npy` header of version 1.0."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "said",
    [
        "(2**40, 4)",
        "(99999999999999999999, 1)",
        "(-1, 4)",
        "(4, -4, -1)",
        "(1000000000000,)",
        "()",
        "(0, 4)",
        "(1.5, 2)",
    ]
    + ["(" * 200, "('a', 4)", "(True, 4)", "[4, 4]", "4"],
)
def test_shapes_that_a_file_does_not_have_are_refused_before_anything_is_made(tmp_path, said):
    for name in "xy":
        text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {said}, }}"
        (tmp_path / f"{name}.npy").write_bytes(header(text) + bytes(16))
    refused(tmp_path)


def test_devices_pipes_and_folders_are_no_arrays(tmp_path):
    np.save(tmp_path / "y.npy", LABELS)
    (tmp_path / "x.npy").mkdir()
    assert "it is a folder, not a file" in refused(tmp_path)
    (tmp_path / "x.npy").rmdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "x.npy")
        assert "it is a device or pipe, not a file" in refused(tmp_path)


def mutants(data, count, rng):
    """Copies with a few bytes changed, cut off, put in or doubled."""
    for _ in range(count):
        bad = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            at, kind = int(rng.integers(0, min(len(bad), 200))), rng.integers(0, 4)
            if kind == 0:
                bad[at] = int(rng.integers(0, 256))
            elif kind == 1:
                del bad[at:]
            elif kind == 2:
                bad[at:at] = bytes(rng.integers(0, 256, int(rng.integers(1, 9))).astype(np.uint8))
            else:
                bad += bad[at : at + 50]
            if not bad:
                break
        yield bytes(bad)


def test_damaged_files_are_one_line_or_a_data_set(tmp_path, request):
    rng = np.random.default_rng(1)
    np.save(tmp_path / "y.npy", LABELS)
    for array in (IMAGES, RNG.standard_normal((30, 4))):
        file = io.BytesIO()
        np.save(file, array)
        for bad in mutants(file.getvalue(), request.config.getoption("--mutants") // 2, rng):
            (tmp_path / "x.npy").write_bytes(bad)
            try:
                d = load_dataset(str(tmp_path), None)
                d.x_train[:], d.x_test[:]
            except UserError as error:
                assert "\n" not in error.message


READ = """
import sys
import numpy as np
from netdsl.graph.recipe import Recipe
from netdsl.ground.system.processes import peak_bytes
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.feed import Feed
data = load_dataset(sys.argv[1], None)
feed = Feed(data, Recipe(batch=64))
batches = feed.epoch(1)
for _ in range(3):
    assert next(batches).x.shape == (64, 3, 64, 64)
batches.close()
print(len(data.x_train), peak_bytes())
"""


def test_a_file_larger_than_memory_is_learned_from_in_bounded_memory(tmp_path):
    """8 GB of zeros that take no place on the disk; what is measured of it is cut, for time."""
    n = 8 * 10**9 // (3 * 64 * 64)
    np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (n, 3, 64, 64)).flush()
    np.save(tmp_path / "y.npy", np.arange(n) % 10)
    short = (
        "import netdsl.training.data.dataset as d, netdsl.training.data.npy as n; d.MAX_MEASURED = n.MAX_BYTES = 2**27"
    )
    code = short + READ
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert not done.returncode, done.stderr
    count, peak = map(int, done.stdout.split())
    assert count == n - round(0.2 * n) and peak < 2**30


# a .npz becomes such a folder


def test_an_unpacked_npz_is_a_folder_of_its_arrays(saved, tmp_path):
    packed, folder = saved(x=IMAGES, y=LABELS, class_names=np.array(["a", "b", "c"]))
    np.savez_compressed(packed, x=IMAGES, y=LABELS, class_names=np.array(["a", "b", "c"]))
    assert unpacked(tmp_path / "d.npz", tmp_path / "e") == ("class_names", "x", "y")
    assert sorted(os.listdir(tmp_path / "e")) == ["class_names.npy", "x.npy", "y.npy"]
    for name in os.listdir(folder):
        assert (tmp_path / "e" / name).read_bytes() == (tmp_path / "d" / name).read_bytes()


def only(tmp_path, *names):
    """Nothing else lies there, hidden or not."""
    assert sorted(os.listdir(tmp_path)) == sorted(names)


def test_what_is_there_is_not_written_over(saved, tmp_path):
    saved(x=IMAGES, y=LABELS)
    with pytest.raises(UserError, match="is there already"):
        unpacked(tmp_path / "d.npz", tmp_path / "d")
    only(tmp_path, "d.npz", "d")


@pytest.mark.parametrize("name", ["../x", "/x", "a/x", "..", ".x", "a\\x", "c:x", ""])
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path, name):
    file = io.BytesIO()
    np.save(file, IMAGES)
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr(f"{name}.npy", file.getvalue())
    with pytest.raises(UserError, match="has a name that is no name of a file"):
        unpacked(tmp_path / "d.npz", tmp_path / "e")
    only(tmp_path, "d.npz")


def test_a_full_disk_and_a_missing_folder_are_said_first(saved, tmp_path, monkeypatch):
    saved(x=IMAGES, y=LABELS)
    with pytest.raises(UserError, match="there is no folder"):
        unpacked(tmp_path / "d.npz", tmp_path / "none" / "e")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(UserError, match="unpacks to 1936 bytes, but .* has 1000 free"):
        unpacked(tmp_path / "d.npz", tmp_path / "e")
    only(tmp_path, "d.npz", "d")


def test_nothing_stays_of_an_unpacking_that_fails(saved, tmp_path, monkeypatch):
    packed, _ = saved(x=IMAGES, y=LABELS)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("netdsl.training.data.unpack.sync", full)
    with pytest.raises(OSError, match="No space left"):
        unpacked(tmp_path / "d.npz", tmp_path / "e")
    only(tmp_path, "d.npz", "d")


def test_damaged_npz_files_leave_nothing_or_all(saved, tmp_path, request):
    rng, _ = np.random.default_rng(2), saved(x=IMAGES[:4, :2, :2], y=LABELS[:4])
    data, good = (tmp_path / "d.npz").read_bytes(), 0
    for _ in range(request.config.getoption("--mutants") // 4):
        bad = bytearray(data)
        for at in rng.integers(0, len(bad), 2):
            bad[at] = int(rng.integers(0, 256))
        (tmp_path / "d.npz").write_bytes(bad)
        try:
            names = unpacked(tmp_path / "d.npz", tmp_path / "e")
        except UserError as error:
            assert "\n" not in error.message
            only(tmp_path, "d.npz", "d")
        else:
            good += 1
            assert sorted(os.listdir(tmp_path / "e")) == [f"{name}.npy" for name in names]
            for name in names:
                (tmp_path / "e" / f"{name}.npy").unlink()
            (tmp_path / "e").rmdir()
    assert good < request.config.getoption("--mutants") // 4


def test_one_sample_larger_than_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(npy, "MAX_BYTES", 47)
    with pytest.raises(UserError, match="one sample of .* takes 48 bytes, the limit is 47"):
        RawRows(tmp_path / "x.npy", 0, IMAGES.shape, IMAGES.dtype)
