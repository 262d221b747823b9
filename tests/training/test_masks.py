"""Images beside masks: found in the usual layouts, read as classes, resized and moved together."""

import numpy as np
import pytest
from PIL import Image

from netdsl.graph.types import from_sizes
from netdsl.ground.diagnostics import UserError
from netdsl.training.data.augment import Augmentation, augmentation
from netdsl.training.data.augment.colours import COLOURS
from netdsl.training.data.augment.resampling import rotated
from netdsl.training.data.dataset import Dataset
from netdsl.training.data.datasets import load_dataset
from netdsl.training.data.feed import Feed
from netdsl.training.data.wanted import Wanted

RNG = np.random.default_rng(0)
NET = Wanted(from_sizes((1, 8, 8)), 2, "ce")


def save(path, array, **palette):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(array, np.uint8))
    if palette:
        image = Image.fromarray(np.asarray(array, np.uint8), "P")
        image.putpalette(palette["palette"])
    image.save(path)


def pair(images, masks, name, end=".png", suffix=".png", shape=(8, 8)):
    """An image and its mask, which is where the image is light."""
    x = RNG.integers(0, 256, shape)
    save(images / f"{name}{suffix}", x)
    save(masks / f"{name}{end}", np.where(x > 128, 255, 0))


def are_together(d):
    x, y = np.concatenate([d.x_train, d.x_test]), np.concatenate([d.y_train, d.y_test])
    return y.dtype == np.int64 and np.array_equal(y, x[:, 0] > 128)


@pytest.mark.parametrize("images, masks", [("images", "masks"), ("imgs", "annotations"), ("Images", "Labels")])
@pytest.mark.parametrize("end", [".png", ".bmp", "_mask.gif", "_gt.png"])
def test_a_mask_has_the_name_of_its_image(tmp_path, images, masks, end):
    for i in range(10):
        pair(tmp_path / images, tmp_path / masks, f"deep/{i}", end)
    d = load_dataset(str(tmp_path), None, want=NET)
    assert are_together(d) and (len(d.x_train), len(d.x_test)) == (8, 2) and d.classes == ("0", "255")
    assert "0, 255: in this order they are the 2 classes" in d.notes[-1]


@pytest.mark.parametrize("layout", ["{part}/{kind}", "{kind}/{part}", "{part}{end}"])
def test_the_usual_layouts_of_parts_are_read(tmp_path, layout):
    for part, count in (("train", 6), ("valid", 2), ("testing", 3)):
        kinds = (("images", ""), ("masks", "_masks"))
        folders = [tmp_path / layout.format(part=part, kind=kind, end=end) for kind, end in kinds]
        for i in range(count):
            pair(*folders, i)
    d = load_dataset(str(tmp_path), None, want=NET)
    assert are_together(d) and (len(d.x_train), d.held, len(d.x_test)) == (8, 2, 3)


def test_a_mask_in_a_folder_of_another_name_is_found_where_it_is_the_only_one(tmp_path):
    for i in range(5):
        pair(tmp_path / "images", tmp_path / "annotations" / "trimaps", i)
    assert are_together(load_dataset(str(tmp_path), None, want=NET))
    pair(tmp_path / "more", tmp_path / "annotations" / "other", 3)
    with pytest.raises(UserError, match="1 of 5 images have no mask in .*annotations`, as .*3.png"):
        load_dataset(str(tmp_path), None, want=NET)


def masks_of(tmp_path, arrays, **palette):
    for i, array in enumerate(arrays):
        save(tmp_path / "images" / f"{i}.png", np.zeros((8, 8)))
        save(tmp_path / "masks" / f"{i}.png", array, **palette)
    return load_dataset(str(tmp_path), None)


def test_indices_of_a_palette_stay_and_colours_are_classes_in_their_order(tmp_path):
    indices = np.arange(64).reshape(8, 8) % 4
    d = masks_of(tmp_path / "p", [indices] * 5, palette=[255, 0, 0, 9, 9, 9, 0, 0, 255, 1, 2, 3])
    assert len(d.classes) == 4 and all(np.array_equal(y, indices) for y in d.y_train)
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255], [0, 255, 0]])[indices]
    d = masks_of(tmp_path / "c", [colours] * 5)
    assert d.classes == ("#000000", "#0000ff", "#00ff00", "#ff0000")
    assert np.array_equal(d.y_train[0], np.array([0, 3, 1, 2])[indices])
    d = masks_of(tmp_path / "g", [np.stack([indices] * 3, -1)] * 5)  # grey, saved as RGB
    assert d.classes == ("0", "1", "2", "3") and np.array_equal(d.y_train[0], indices)


def test_what_is_no_set_of_masks_is_refused_with_its_cause(tmp_path):
    def refuses(match, help):
        with pytest.raises(UserError, match=match) as caught:
            load_dataset(str(tmp_path), None, want=NET)
        assert help in caught.value.help

    for i in range(5):
        pair(tmp_path / "images", tmp_path / "masks", i)
    (tmp_path / "masks" / "3.png").rename(tmp_path / "masks" / "x.png")
    refuses("1 of 5 images have no mask in .*masks`, as .*3.png", "a mask has the name of its image")
    (tmp_path / "masks" / "x.png").unlink()
    save(tmp_path / "masks" / "3.png", np.zeros((4, 4)))
    refuses("mask .*3.png` is 4x4, but its image 8x8", "in the size of their images")
    save(tmp_path / "masks" / "3.png", np.full((8, 8, 3), (1, 2, 3)))
    refuses("hold numbers, the others colours", "in one way")
    (tmp_path / "masks" / "3.png").unlink()
    Image.fromarray(RNG.integers(0, 256, (8, 8)).astype(np.uint8)).save(tmp_path / "masks" / "3.jpg", quality=20)
    refuses("different values, too many for classes", "is a JPEG, which blurs them: save masks as PNG")
    (tmp_path / "images" / "3.bmp").write_bytes((tmp_path / "images" / "3.png").read_bytes())
    refuses("differ in nothing but the suffix", "rename one")


@pytest.mark.parametrize("fit", ["resize", "crop", "pad"])
def test_a_mask_is_fitted_as_its_image(tmp_path, fit):
    for i, shape in enumerate([(32, 32), (40, 24), (24, 48), (16, 64), (8, 8)] * 2):
        high, wide = shape
        x = np.zeros(shape)
        x[high // 4 : high // 2, wide // 4 : -wide // 8] = 255
        save(tmp_path / "images" / f"{i}.png", x)
        save(tmp_path / "masks" / f"{i}.png", x > 128)
    d = load_dataset(str(tmp_path), None, want=Wanted(from_sizes((1, 8, 8)), 2, "ce", fit=fit))
    x, y = np.concatenate([d.x_train, d.x_test])[:, 0], np.concatenate([d.y_train, d.y_test])
    assert set(np.unique(y)) == {0, 1}
    sure = (x < 32) | (x > 223)  # not on an edge, which the image blends
    assert sure.mean() > 0.7 and np.array_equal(y[sure], x[sure] > 128)
    words = {"resize": "resized", "crop": "cropped", "pad": "padded"}
    assert f"8 of 10 images were {words[fit]} to 8x8" in d.notes[0]


# augmentation


def blobs(count=12, size=16):
    """Images with light discs and the masks of these."""
    i, j = np.mgrid[:size, :size]
    middle = RNG.uniform(4, size - 4, (count, 2, 1, 1))
    masks = ((i - middle[:, 0]) ** 2 + (j - middle[:, 1]) ** 2 < 12).astype(np.int64)
    return (masks[:, None] * 255).astype(np.uint8), masks


@pytest.mark.parametrize("options", [{"flip": True}, {"crop": 3}, {"shift": 2, "flip": True, "crop": 1}])
def test_masks_move_exactly_with_their_images(options):
    x, y = blobs()
    changes, rows = Augmentation(options, 3), np.arange(12)
    moved = changes.maps(y, rows, 2)
    assert moved.dtype == np.int64 and np.array_equal(moved, changes.images(x, rows, 2)[:, 0] > 128)
    assert not np.array_equal(moved, y)


def test_masks_turn_with_their_images_to_the_nearest_pixel():
    x, y = blobs(60)
    changes, rows = Augmentation({"rotate": 40.0, "shift": 1}, 3), np.arange(60)
    turned, image = changes.maps(y, rows, 1), changes.images(x, rows, 1)[:, 0]
    assert set(np.unique(turned)) == {0, 1}
    sure = (image < 80) | (image > 175)  # a nearest pixel weighs a quarter or more; these blends leave no doubt
    assert (turned == (image > 128))[sure].mean() > 0.98 and sure.mean() > 0.9
    labels = RNG.integers(0, 9, (4, 1, 5, 5))
    quarters = rotated(labels, np.arange(4) * np.pi / 2)
    assert all(np.array_equal(quarters[k, 0], np.rot90(labels[k, 0], k)) for k in range(4))


def dataset(x, y, classes=("0", "1")):
    return Dataset("blobs", x, y, x, y, classes, (0.5,), (0.5,))


def recipe(**options):
    from netdsl.graph.recipe import Recipe

    return Recipe(val=0.0, batch=6, augment=options)


def test_batches_have_masks_that_moved_and_cutout_hides_nothing_of_them():
    x, y = blobs()
    moved = Feed(dataset(x, y), recipe(flip=True, shift=2)).batch(1, 1)
    assert np.array_equal(moved.y, moved.x[:, 0] > 0) and not np.array_equal(moved.y, y[moved.rows])
    hidden = Feed(dataset(x, y), recipe(cutout=5)).batch(1, 1)
    assert np.array_equal(hidden.y, y[hidden.rows])


def test_targets_that_are_images_move_with_theirs_and_vectors_do_not():
    x, _ = blobs()
    images = x.astype(np.float32) / 255
    batch = Feed(dataset(x, images, ()), recipe(flip=True, crop=2)).batch(1, 1)
    np.testing.assert_allclose(batch.y, batch.x * 0.5 + 0.5, atol=1e-6)  # float32 rounding of numbers below 1
    vectors = np.arange(24, dtype=np.float32).reshape(12, 2)
    batch = Feed(dataset(x, vectors, ()), recipe(flip=True)).batch(1, 1)
    assert np.array_equal(batch.y, vectors[batch.rows])


def test_masks_of_another_size_cannot_follow_and_mixup_has_no_masks():
    from netdsl.ground.diagnostics import SpecError
    from netdsl.pipeline import compile_text

    x, y = blobs()
    small = dataset(x, y[:, :8, :8])
    with pytest.raises(UserError, match="images of 16x16 and their targets of 8x8 apart"):
        Feed(small, recipe(flip=True))
    assert Feed(small, recipe(cutout=3)).batch(1, 1).y.shape == (6, 8, 8)
    with pytest.raises(SpecError, match="`mixup` mixes the labels of samples, but the output is 2x8x8"):
        compile_text("input 1x8x8\nconv 2\ntrain { augment mixup=0.2 }\n")


def test_the_changes_that_move_are_all_but_those_of_values():
    of_values = {*COLOURS, "cutout", "erase", "mask", "scale", "noise"}
    assert {*augmentation.MOVES} | of_values == {*augmentation.CHANGES} and not of_values & {*augmentation.MOVES}
