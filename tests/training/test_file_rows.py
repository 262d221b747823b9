"""Images that are decoded when they are asked for: the same bytes, runs and words as of images decoded at once."""

import os
import shutil
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netdsl.cli import run as netdsl
from netdsl.graph.types import from_sizes
from netdsl.ground.diagnostics import UserError
from netdsl.training.data import file_rows, masks
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.file_rows import FileRows, in_threads
from netdsl.training.data.stored import Stored
from netdsl.training.data.wanted import Wanted

RNG = np.random.default_rng(0)
GREY, COLOUR = (Wanted(from_sizes((c, 8, 8)), 2, "ce", 0.2) for c in (1, 3))


@pytest.fixture
def late(monkeypatch):
    """late() -> from now on images are decoded late, by three threads."""

    def late():
        monkeypatch.setattr(file_rows, "MAX_BYTES", 100)
        monkeypatch.setattr(file_rows, "available_cores", lambda: 3)

    return late


def save(path, pixels, **options):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def noise(*shape, dtype=np.uint8, top=256):
    return RNG.integers(0, top, shape).astype(dtype)


def folder_of(folder, make, count=12):
    """Class folders `a` and `b` of so many images together, each what make(i) gives: pixels, suffix, options."""
    for i in range(count):
        pixels, suffix, options = make(i)
        save(f"{folder}/{'ab'[i % 2]}/{i}.{suffix}", pixels, **options)
    return str(folder)


def upside_down(i):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    return noise(8, 8 if i else 20, 3), "jpg", {"exif": exif}


KINDS = {
    "grey": (lambda i: (noise(8, 8), "png", {}), GREY),
    "colour": (lambda i: (noise(8, 8, 3), "jpg", {}), COLOUR),
    "deep": (lambda i: (noise(8, 8, dtype=np.uint16, top=4000), "png", {}), GREY),
    "some deep": (lambda i: (noise(8, 8, dtype=np.uint16 if i > 7 else np.uint8), "png", {}), GREY),
    "see-through": (lambda i: (noise(8, 8, 4), "png", {}), COLOUR),
    "turned": (upside_down, Wanted(from_sizes((3, 8, 8)), 2, "ce", fit="resize")),
    **{
        fit: (lambda i: (noise(5 + i, 9, 3), "png", {}), Wanted(from_sizes((1, 8, 8)), 2, "ce", fit=fit))
        for fit in ("resize", "crop", "pad")
    },
    "of any net": (lambda i: (noise(8, 8), "png", {}), Wanted()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_images_decoded_late_are_the_bytes_of_images_decoded_at_once(tmp_path, late, kind):
    make, want = KINDS[kind]
    folder = folder_of(tmp_path / "d", make)
    at_once = load_dataset(folder, None, want=want)
    late()
    d = load_dataset(folder, None, want=want)
    assert isinstance(d.x_train, Stored) and not isinstance(at_once.x_train, Stored)
    assert (d.bits, d.mean, d.std, d.classes) == (at_once.bits, at_once.mean, at_once.std, at_once.classes)
    for part in ("x_train", "x_test", "y_train", "y_test"):
        np.testing.assert_array_equal(np.asarray(getattr(d, part)), getattr(at_once, part))
    said = [note for note in at_once.notes if " bits: " in note or "(`fit" in note]
    size = np.prod(d.input_shape)
    first = f"the 12 images of {'x'.join(map(str, d.input_shape))} take {12 * size} bytes, more than 100: each is read"
    assert d.notes[0].startswith(first) and [*d.notes[1:]] == said


def test_parts_and_a_limit_are_those_of_images_decoded_at_once(tmp_path, late):
    for part in ("train", "val", "test"):
        folder_of(tmp_path / part, lambda i: (noise(8, 8), "png", {}))
    at_once = load_dataset(str(tmp_path), None, 8, want=GREY)
    late()
    d = load_dataset(str(tmp_path), None, 8, want=GREY)
    assert (d.held, d.mean, d.std) == (at_once.held, at_once.mean, at_once.std) == (8, d.mean, d.std)
    np.testing.assert_array_equal(np.asarray(d.x_train), at_once.x_train)


def test_an_image_of_another_size_is_met_before_training(tmp_path, late):
    folder = folder_of(tmp_path / "d", lambda i: (noise(8, 8 if i else 9), "png", {}))
    late()
    with pytest.raises(UserError, match=r"a/0.png` is 8x9, but the network takes 8x8; the 12 images have 2 sizes"):
        load_dataset(folder, None, want=GREY)


def test_the_digest_is_that_of_the_files_wherever_they_lie(tmp_path, late):
    folder = folder_of(tmp_path / "d", lambda i: (noise(8, 8), "png", {}))
    late()
    digest = load_dataset(folder, None).digest()
    shutil.copytree(folder, tmp_path / "deeper" / "e")
    assert load_dataset(str(tmp_path / "deeper" / "e"), None).digest() == digest
    save(tmp_path / "d" / "a" / "0.png", noise(8, 8))
    assert load_dataset(folder, None).digest() != digest


SPEC = """input 3x8x8
conv 4 k3 p1 -> relu -> pool 2 -> flatten -> linear 2
train { data "d", epochs 2, batch 4, fit resize, augment flip shift=1, val 0.2 }
"""


@pytest.fixture
def runs(tmp_path, monkeypatch, capsys):
    """runs(*arguments) -> netdsl's exit code and what it said, beside a spec and a folder `d` of 24 images."""
    monkeypatch.chdir(tmp_path)
    folder_of(tmp_path / "d", lambda i: (noise(9, 7, 3), "png", {}), 24)
    (tmp_path / "n.net").write_text(SPEC)

    def runs(*arguments):
        code = netdsl([str(argument) for argument in arguments])
        return code, capsys.readouterr().err

    return runs


def weights(run):
    return Path(run, "weights.safetensors").read_bytes()


def test_a_run_on_images_decoded_late_has_the_bytes_of_one_on_images_decoded_at_once(runs, late):
    assert runs("train", "n.net", "--out", "a", "--no-plots")[0] == 0
    late()
    code, said = runs("train", "n.net", "--out", "b", "--no-plots")
    assert code == 0 and "note: the 24 images of 3x8x8 take 4608 bytes, more than 100" in said
    assert weights("a") == weights("b")
    assert runs("eval", "b")[0] == runs("plot", "b", "mistakes", "--format", "svg")[0] == 0


def test_a_run_on_images_decoded_late_is_resumed_bit_for_bit(runs, late):
    late()
    runs("train", "n.net", "--out", "a", "--no-plots", "--epochs", 2)
    runs("train", "n.net", "--out", "b", "--no-plots", "--epochs", 1)
    assert runs("train", "--resume", "b", "--no-plots", "--epochs", 2)[0] == 0
    assert weights("a") == weights("b")
    save("d/a/0.png", noise(9, 7, 3))
    code, said = runs("train", "--resume", "b", "--epochs", 3)
    assert code == 2 and "is not what the run `b` began with" in said


def test_an_image_that_cannot_be_read_is_one_line_and_no_thread_stays(runs, late):
    late()
    with open("d/b/5.png", "r+b") as file:
        file.truncate(100)
    code, said = runs("train", "n.net", "--out", "a", "--no-plots")
    assert code == 2 and "cannot read `d/b/5.png`: image file is truncated" in said and "Traceback" not in said
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("netdsl")]


def test_what_pillow_warns_of_is_said_in_no_thread(tmp_path, late):
    def odd(i):
        return noise(8, 8), "jpg", {"exif": b"Exif\0\0II*\0\x08\0\0\0\x05\0"}  # five entries are said, none is there

    folder = folder_of(tmp_path / "d", odd, 24)
    late()
    with warnings.catch_warnings():
        with pytest.warns(match="Corrupt EXIF"), Image.open(f"{folder}/a/0.jpg") as image:
            image.getexif()
        warnings.simplefilter("error")
        d = load_dataset(folder, None, want=GREY)
        d.x_train[:]


def test_images_with_masks_keep_the_limit(tmp_path, monkeypatch):
    for i in range(4):
        save(f"{tmp_path}/images/{i}.png", noise(8, 8))
        save(f"{tmp_path}/masks/{i}.png", noise(8, 8, top=2))
    monkeypatch.setattr(masks, "MAX_BYTES", 1000)
    with pytest.raises(UserError, match="the 4 masks take 2048 bytes, the limit is 1000"):
        load_dataset(str(tmp_path), None)


@pytest.mark.parametrize("cores", [1, 2, 5, 64])
@pytest.mark.parametrize("count", [0, 1, 3, 8, 100])
def test_threads_share_the_work_and_end(monkeypatch, cores, count):
    monkeypatch.setattr(file_rows, "available_cores", lambda: cores)
    done = []
    in_threads(lambda places: done.extend(places), count)
    assert sorted(done) == [*range(count)]
    assert threading.active_count() == 1


def test_the_first_row_that_fails_is_said(monkeypatch):
    monkeypatch.setattr(file_rows, "available_cores", lambda: 4)

    def decode(name):
        if name in ("3", "19"):
            raise UserError(f"{name} is bad")
        return np.zeros((1, 2, 2), np.uint8)

    rows = FileRows([str(i) for i in range(20)], (1, 2, 2), decode)
    assert rows[[0, 5, 6, 7] * 4].shape == (16, 1, 2, 2)
    with pytest.raises(UserError, match="3 is bad"):
        rows[:]
