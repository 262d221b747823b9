"""Folders of images as people have them: parts, depths, sizes, modes, names."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from netdsl.cli import run as netdsl
from netdsl.graph.types import from_sizes
from netdsl.ground.diagnostics import UserError
from netdsl.training.data import folders
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.images import bits_used, read_image
from netdsl.training.data.wanted import Wanted

RNG = np.random.default_rng(0)
GREY = Wanted(from_sizes((1, 8, 8)), 2, "ce")


def picture(path, shape=(8, 8), value=None, mode=None):
    """An image file, of noise or of one value."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    pixels = RNG.integers(0, 256, shape) if value is None else np.full(shape, value)
    image = Image.fromarray(pixels.astype(np.uint8))
    image = image.convert(mode) if mode else image
    with open(path, "wb") as file:
        image.save(file, {".jpg": "jpeg"}.get(os.path.splitext(os.fsdecode(path))[1], "png"))


def pictures(folder, **counts):
    """`train/a`=3 makes three images in that folder; `__` stands for `/`."""
    for k, (name, count) in enumerate(counts.items()):
        for i in range(count):
            picture(f"{folder}/{name.replace('__', '/')}/{i}.png", value=10 * k + i)


def load(folder, want=GREY, **options):
    return load_dataset(str(folder), None, want=want, **options)


def refuses(folder, match, help="", want=GREY):
    with pytest.raises(UserError, match=match) as caught:
        load(folder, want)
    assert help in caught.value.help
    assert "\n" not in caught.value.message


# parts


def sizes(d):
    return len(d.x_train) - d.held, d.held, len(d.x_test)


@pytest.mark.parametrize("train", ["train", "Training"])
@pytest.mark.parametrize("val", ["val", "valid", "validation", "dev"])
@pytest.mark.parametrize("test", ["test", "testing"])
def test_parts_are_known_by_their_names(tmp_path, train, val, test):
    pictures(tmp_path, **{f"{train}__a": 6, f"{train}__b": 4, f"{val}__a": 2, f"{val}__b": 1, f"{test}__b": 3})
    d = load(tmp_path)
    assert sizes(d) == (10, 3, 3) and d.y_test.tolist() == [1, 1, 1] and d.notes == ()
    rows, val_rows = d.parts(0.1, 0)
    assert sorted(d.y_train[val_rows].tolist()) == [0, 0, 1] and np.bincount(d.y_train[rows]).tolist() == [6, 4]


def test_a_limit_leaves_all_classes_in_each_part(tmp_path):
    pictures(tmp_path, **{f"{part}__{name}": 30 for part in ("train", "val", "test") for name in "ab"})
    d = load(tmp_path, limit=20)
    parts = d.y_train[:20], d.y_train[20:], d.y_test
    assert [len(y) for y in parts] == [20] * 3 and all(set(y) == {0, 1} for y in parts)


def test_without_a_test_part_a_fifth_of_the_training_images_is_it(tmp_path):
    pictures(tmp_path, train__a=10, train__b=5, val__a=2, val__b=2)
    d = load(tmp_path)
    assert sizes(d) == (12, 4, 3) and np.bincount(d.y_test).tolist() == [2, 1]
    assert d.notes == (f"`{tmp_path.name}` has no test part: 3 training samples, a fifth, are it",)


def test_train_alone_is_a_folder_of_class_folders(tmp_path):
    pictures(tmp_path, train__a=10, train__b=5)
    assert sizes(load(tmp_path)) == (12, 0, 3) and load(tmp_path).classes == ("a", "b")


def test_train_beside_another_class_is_a_class(tmp_path):
    pictures(tmp_path, train=5, plane=5)
    assert load(tmp_path).classes == ("plane", "train")


def test_parts_that_cannot_be_used_are_said(tmp_path):
    pictures(tmp_path, train__a=5, train__b=5, test=3, raw=1)
    d = load(tmp_path)
    assert sizes(d) == (8, 0, 2)
    assert any("/test` has 3 images and no class folders: not used; `netdsl predict`" in note for note in d.notes)
    assert any("other folders beside its parts, not used: `raw`" in note for note in d.notes)


@pytest.mark.parametrize(
    "counts, match, help",
    [
        ({"val__a": 1, "test__a": 1}, "has `test` and `val`, but no `train`", "put images to learn from into `train`"),
        ({"train__a": 1, "val__a": 1, "valid__a": 1}, "the folders `val` and `valid`, one of which", "join them"),
        ({"train__a": 2, "train__b": 2, "test__c": 1}, "has the class `c`, which the training", "are the folders in"),
        ({"pets__a": 2, "pets__b": 2}, "has 1 class folder, expected 2 or more", "did you mean `--data "),
        ({"train": 3, "test": 3}, "has 0 class folders, expected 2 or more, and 3 images beside", "cats/1.png"),
    ],
)
def test_folders_that_are_no_data_set_are_refused_with_their_cause(tmp_path, counts, match, help):
    pictures(tmp_path, **counts)
    refuses(tmp_path, match, help)


# depth and names


def test_images_are_found_however_deep_and_hidden_ones_are_not(tmp_path):
    pictures(tmp_path, a=2, a__deep__er=2, b=4, b___hidden=1)
    (tmp_path / "b" / "_hidden").rename(tmp_path / "b" / ".hidden")
    picture(tmp_path / "b" / ".0.png")
    picture(tmp_path / "__MACOSX" / "a" / "1.png")
    (tmp_path / "empty" / "more").mkdir(parents=True)
    d = load(tmp_path)
    assert d.classes == ("a", "b") and len(d.x_train) + len(d.x_test) == 8 and d.notes == ()
    (tmp_path / "a" / "1.heic").write_bytes(b"")
    assert load(tmp_path).notes == (f"1 file of `{tmp_path}` no image by its name, as `1.heic`: not used",)


def test_an_image_in_no_class_folder_is_said(tmp_path):
    pictures(tmp_path, a=3, b=3)
    picture(tmp_path / "1.png")
    assert load(tmp_path).notes == (f"1 image of `{tmp_path}` in no class folder: not used",)


def test_a_link_to_a_folder_above_adds_nothing_and_a_folder_of_everything_is_refused(tmp_path, monkeypatch):
    pictures(tmp_path, a=3, b=3)
    for name in ("loop", "other"):
        (tmp_path / "a" / name).symlink_to(tmp_path / "a")
    (tmp_path / "a" / "link.png").symlink_to(tmp_path / "a" / "0.png")
    d = load(tmp_path)
    assert len(d.x_train) + len(d.x_test) == 7
    monkeypatch.setattr(folders, "MAX_FILES", 3)
    refuses(tmp_path, "a` has more than 3 files", "name a folder of samples")
    deep_one = tmp_path / "b" / "/".join("x" * 80)
    deep_one.mkdir(parents=True)
    monkeypatch.setattr(folders, "MAX_FILES", 30)
    refuses(tmp_path, "lies more than 64 folders deep", "name a folder of samples")


def test_names_of_any_script_are_classes_and_names_that_look_alike_are_refused(tmp_path):
    for name in ("\u732b", "\u72ac", "caf\u00e9"):
        for i in range(2):
            picture(tmp_path / name / f"{i}.png")
    assert load(tmp_path).classes == ("caf\u00e9", "\u72ac", "\u732b")
    picture(tmp_path / "cafe\u0301" / "0.png")
    refuses(tmp_path, "two class folders of .* are called `caf\u00e9`, written in two ways", "into one of them")


def test_names_are_matched_between_parts_however_they_are_composed(tmp_path):
    counts = {"train__caf\u00e9": 2, "train__tea": 2, "test__cafe\u0301": 2}
    pictures(tmp_path, **counts)
    assert load(tmp_path).y_test.tolist() == [0, 0]


def test_a_name_that_is_not_utf_8_trains_and_is_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (b"a", b"bad\xff"):
        for i in range(5):
            picture(b"d/%s/%d.png" % (name, i))
    (tmp_path / "n.net").write_text('input 1x8x8\nflatten -> linear 2\ntrain { data "d", epochs 1 }\n')
    assert netdsl(["train", "n.net", "--out", "r", "-q"]) == 0
    assert json.loads((tmp_path / "r/config.json").read_text())["classes"] == ["a", "bad\\xff"]
    assert netdsl(["eval", "r"]) == 0
    os.rename("d", b"d\xff")
    assert netdsl(["train", "n.net", "--data", os.fsdecode(b"d\xff"), "--out", "s"]) == 2
    assert not os.path.exists("s")


# sizes, modes, depths


@pytest.mark.parametrize("fit", ["resize", "crop", "pad"])
@pytest.mark.parametrize("shape", [(1, 8, 6), (3, 5, 5)])
def test_images_of_any_size_and_mode_come_to_the_input_and_it_is_said_once(tmp_path, fit, shape):
    modes = {"1": 1, "L": 1, "P": 3, "RGB": 3, "RGBA": 3, "CMYK": 3, "LA": 1}
    for name in "ab":
        for i, mode in enumerate(modes):
            end = "jpg" if mode == "CMYK" else "png"
            picture(tmp_path / name / f"{i}.{end}", (9 + i, 30 - 4 * i, 3), mode=mode)
    d = load(tmp_path, Wanted(from_sizes(shape), 2, "ce", fit=fit))
    assert d.input_shape == shape and d.x_train.dtype == np.uint8
    colours = 2 * sum((channels == 1) != (shape[0] == 1) for channels in modes.values())
    words = {"resize": "resized", "crop": "cropped", "pad": "padded"}[fit]
    assert f"14 of 14 images were {words} to {shape[1]}x{shape[2]} (`fit {fit}`)" in d.notes
    assert sum(f"{colours} of 14 images were turned from" in note for note in d.notes) == 1


def test_mixed_sizes_without_a_fit_are_refused_and_fit_is_proposed(tmp_path):
    pictures(tmp_path, a=3, b=3)
    picture(tmp_path / "b" / "x.png", (9, 7))
    refuses(tmp_path, "x.png` is 9x7, but the network takes 8x8; the 7 images have 2 sizes", "`--fit resize`, `--fit")
    (tmp_path / "b" / "x.png").unlink()
    help = "or begin the spec with `input 1x8x8`"
    refuses(
        tmp_path, "the 6 images are 1x8x8, but the network takes 1x4x4", help, Wanted(from_sizes((1, 4, 4)), 2, "ce")
    )


def test_a_fit_is_for_inputs_that_an_image_can_have():
    from netdsl.ground.diagnostics import SpecError
    from netdsl.pipeline import compile_text

    for shape, body in (("4", "linear 2"), ("2x8x8", "gap -> linear 2"), ("3x8", "flatten -> linear 2")):
        with pytest.raises(SpecError, match=f"`fit crop` is for images of 1 or 3 channels, but the input is {shape}"):
            compile_text(f"input {shape}\n{body}\ntrain {{ fit crop }}\n")
    assert compile_text("input 3x8x8\ngap -> linear 2\ntrain { fit crop }\n").recipe.fit == "crop"


def test_crop_takes_the_middle_and_pad_keeps_all(tmp_path):
    wide = np.zeros((8, 24), np.uint8)
    wide[:, 8:16], wide[:, :8] = 200, 100
    Image.fromarray(wide).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png", (1, 8, 8), fit="crop") == 200).all()
    padded = read_image(tmp_path / "a.png", (1, 9, 9), fit="pad")[0]
    assert padded[:3].max() == 0 and padded[6:].max() == 0
    assert padded[4].tolist()[1::3] == [100, 200, 0]
    inverted = read_image(tmp_path / "a.png", (1, 9, 9), invert=True, fit="pad")[0]
    assert inverted[:3].max() == 0 and inverted[4].tolist()[1::3] == [155, 55, 255]
    Image.fromarray(np.zeros((1, 4000), np.uint8)).save(tmp_path / "line.png")
    assert all(read_image(tmp_path / "line.png", (1, 8, 8), fit=fit).shape == (1, 8, 8) for fit in ("crop", "pad"))


def test_an_image_is_turned_upright_before_its_size_is_judged(tmp_path):
    for name in "ab":
        for i in range(3):
            os.makedirs(tmp_path / name, exist_ok=True)
            exif = Image.Exif()
            exif[0x0112] = 6
            Image.fromarray(np.full((6, 8), 40 * i, np.uint8)).save(tmp_path / name / f"{i}.jpg", exif=exif)
    assert load(tmp_path, Wanted(from_sizes((1, 8, 6)), 2, "ce")).input_shape == (1, 8, 6)
    refuses(
        tmp_path, "the 6 images are 1x8x6, but the network takes 1x6x8", want=Wanted(from_sizes((1, 6, 8)), 2, "ce")
    )


def deep(path, largest, form=None):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    pixels = np.linspace(0, largest, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(pixels).save(path, form)


@pytest.mark.parametrize("end", ["png", "tif"])
def test_16_bit_images_are_scaled_by_the_bits_that_they_use_together(tmp_path, end):
    for name, largest in (("a", 4095), ("b", 1000)):
        for i in range(4):
            deep(tmp_path / name / f"{i}.{end}", largest)
    d = load(tmp_path)
    assert d.bits == 12 and len(np.unique(d.x_train[d.y_train == 0])) == 64 and d.x_train.max() == 255
    assert d.notes == ("16-bit images use 12 bits: 0 to 4095 becomes 0 to 255",)
    light = load(tmp_path, Wanted(from_sizes((1, 8, 8)), 2, "ce", bits=16))
    assert light.x_train.max() == 15 and bits_used([tmp_path / "b" / f"0.{end}"]) == 10
    assert np.array_equal(read_image(tmp_path / "a" / f"0.{end}", (1, 8, 8), bits=12).ravel()[[0, -1]], [0, 255])


def test_prediction_scales_and_fits_as_training_did(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for k, name in enumerate("ab"):
        for i in range(8):
            os.makedirs(f"d/{name}", exist_ok=True)
            Image.fromarray(np.full((8, 20), 200 + 3000 * k, np.uint16)).save(f"d/{name}/{i}.png")
    (tmp_path / "n.net").write_text(
        'input 1x8x8\ngap -> linear 2\ntrain { data "d", epochs 30, fit crop, opt adam lr=0.1 }\n'
    )
    assert netdsl(["train", "n.net", "--out", "r", "--no-plots"]) == 0
    err = capsys.readouterr().err
    assert err.count("note: 16 of 16 images were cropped to 8x8 (`fit crop`)") == 1
    config = json.loads((tmp_path / "r/config.json").read_text())
    assert (config["bits"], config["recipe"]["fit"]) == (12, "crop")
    assert netdsl(["predict", "r", "d/a/0.png", "d/b/0.png", "--json", "--no-invert"]) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["class"] for line in out.splitlines()] == ["a", "b"]
    assert "as in training (`fit crop`)" in err
    assert netdsl(["eval", "r"]) == 0 and "accuracy 100.00%" in capsys.readouterr().out


def test_prediction_on_arrays_fits_as_training_did(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    x = np.zeros((20, 10, 16, 3), np.uint8)
    x[::2] = 200
    np.savez("d.npz", x=np.moveaxis(x, 3, 1), y=np.arange(20) % 2)
    text = 'input 1x8x8\ngap -> linear 2\ntrain { data "d.npz", epochs 30, fit pad, opt adam lr=0.1 }\n'
    (tmp_path / "n.net").write_text(text)
    assert netdsl(["train", "n.net", "--out", "r", "--no-plots", "-q"]) == 0
    capsys.readouterr()
    assert netdsl(["predict", "r", "d.npz", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["class"] for line in out.splitlines()] == ["0", "1"] * 10
    assert "the images of `d.npz` are 3x10x16: brought to 1x8x8" in err


def test_a_16_bit_image_for_a_network_of_8_bit_ones_is_scaled_by_itself_and_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pictures("d", a=5, b=5)
    (tmp_path / "n.net").write_text('input 1x8x8\ngap -> linear 2\ntrain { data "d", epochs 1 }\n')
    assert netdsl(["train", "n.net", "--out", "r", "-q", "--no-plots"]) == 0
    assert json.loads((tmp_path / "r/config.json").read_text())["bits"] is None
    deep(tmp_path / "x.png", 4095)
    assert len(np.unique(read_image(tmp_path / "x.png", (1, 8, 8), bits=None))) == 64
    assert netdsl(["predict", "r", "x.png"]) == 0
    assert "note: `x.png` has 16 bits a pixel, unlike the training data" in capsys.readouterr().err


def test_colours_that_cannot_be_turned_into_rgb_are_named(tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).convert("LAB").save(tmp_path / "a.tif")
    with pytest.raises(UserError, match="a.tif` has the colour mode LAB, which cannot become L") as caught:
        read_image(tmp_path / "a.tif", (1, 8, 8))
    assert caught.value.help == "save it as grey, RGB or CMYK"


def test_16_bit_colours_are_said_to_be_cut(tmp_path):
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + np.full((8, 3), 4095, ">u2").tobytes()) * 8
    head = chunk(b"IHDR", struct.pack(">2I5B", 8, 8, 16, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    for name in "ab":
        os.makedirs(tmp_path / name)
        for i in range(2):
            (tmp_path / name / f"{i}.png").write_bytes(data)
    d = load(tmp_path, Wanted(from_sizes((3, 8, 8)), 2, "ce"))
    assert d.notes == ("4 of 4 images of 16-bit colour were cut to their upper 8 bits",)
