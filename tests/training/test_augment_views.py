"""Samples seen anew: zoomed, slanted, windows of images, upside down, stretched signals; masks that move along."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netdsl.graph.recipe import Recipe
from netdsl.training.data.augment import Augmentation
from netdsl.training.data.augment.draws import between
from netdsl.training.data.augment.resampling import View, resampled, stretched, turns, windows
from netdsl.training.data.dataset import Dataset
from netdsl.training.data.feed import Feed

RNG = np.random.default_rng(0)
VIEWS = {"rotate": 25.0, "zoom": 0.2, "shear": 20.0, "resizedcrop": 0.4, "flip": True, "vflip": True, "shift": 2}


def seen(x, factor=1.0, slant=0.0, angle=0.0, window=None):
    view = View(turns(np.full(len(x), angle), np.full(len(x), factor), np.full(len(x), slant)))
    return resampled(x, view if window is None else View(view.matrix, np.tile(np.array(window)[:, None], len(x))))


def dot(row, column, size=9):
    x = np.zeros((1, 1, size, size), np.float32)
    x[0, 0, row, column] = 1
    return x


# ------------------------------------------------------------------------------------------------- what is seen


def test_a_factor_above_one_makes_the_image_larger():
    assert seen(dot(4, 5), factor=2.0)[0, 0, 4, 6] == 1
    assert seen(dot(2, 4), factor=2.0)[0, 0, 0, 4] == 1
    assert seen(dot(4, 6), factor=0.5)[0, 0, 4, 5] == 1
    assert seen(np.ones((1, 1, 9, 9), np.float32), factor=0.5)[0, 0].sum() == pytest.approx(25, abs=6)  # (9 / 2)^2, rim


def test_a_slant_moves_lines_above_the_middle_to_the_right_and_those_below_to_the_left():
    assert seen(dot(2, 4), slant=0.5)[0, 0, 2, 5] == 1
    assert seen(dot(6, 4), slant=0.5)[0, 0, 6, 3] == 1
    assert seen(dot(4, 7), slant=0.5)[0, 0, 4, 7] == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
def test_a_view_that_asks_for_nothing_changes_nothing(dtype):
    x = RNG.integers(0, 255, (3, 2, 6, 5)).astype(dtype)
    assert np.array_equal(seen(x), x)
    assert np.array_equal(seen(x, window=(0, 0, 6, 5)), x)


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0.01, 0.99), st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_windows_lie_in_the_image_and_have_their_share_and_aspect(height, width, least, seed):
    top, left, high, wide = windows(np.random.default_rng(seed).random((4, 30)), least, height, width)
    assert (top >= 0).all() and (left >= 0).all() and (high >= 1).all() and (wide >= 1).all()
    assert (top + high <= height).all() and (left + wide <= width).all()
    whole = (high < height) & (wide < width)  # no side is cut
    assert ((high + 0.5) * (wide + 0.5) >= least * height * width)[whole].all()  # both sides are rounded
    assert ((wide - 0.5) / (high + 0.5) <= 4 / 3)[whole].all() and ((wide + 0.5) / (high - 0.5) >= 3 / 4)[whole].all()


def test_every_window_occurs_alike():
    top, left, high, wide = windows(RNG.random((4, 20_000)), 0.25, 64, 64)
    free = (high < 60) & (wide < 60)
    for first, size in ((top[free], high[free]), (left[free], wide[free])):
        assert abs((first / (64 - size)).mean() - 0.5) < 0.015  # five deviations of 0.3 / sqrt(10,000)
    area = (high * wide / 64**2)[free]
    assert 0.24 < area.min() < 0.27 and abs(np.median(area) - np.mean([0.25, 0.75])) < 0.1
    assert abs(np.log(wide / high).mean()) < 0.02


@given(st.integers(2, 9), st.integers(2, 9), st.data())
@settings(deadline=None, max_examples=40)
def test_a_window_in_full_size_is_that_of_pytorch(height, width, data):
    torch = pytest.importorskip("torch")
    x = RNG.random((1, 2, height, width)).astype(np.float32)
    high, wide = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    top, left = data.draw(st.integers(0, height - high)), data.draw(st.integers(0, width - wide))
    part = torch.from_numpy(x[:, :, top : top + high, left : left + wide])
    expected = torch.nn.functional.interpolate(part, (height, width), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(seen(x, window=(top, left, high, wide)), expected, rtol=0, atol=1e-5)  # float32 places


def test_half_of_the_images_are_upside_down_and_no_order_of_mirrors_matters():
    x, rows = RNG.integers(0, 256, (2000, 1, 3, 2), dtype=np.uint8), np.arange(2000)
    y = Augmentation({"vflip": True}, 0).images(x, rows, 1)
    turned = (y == x[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (turned | (y == x).all(axis=(1, 2, 3))).all() and abs(turned.mean() - 0.5) < 0.06
    both = Augmentation({"vflip": True, "flip": True}, 0).images(x, rows, 1)
    flipped = Augmentation({"flip": True}, 0).images(x, rows, 1)
    assert np.array_equal(both, np.where(turned[:, None, None, None], flipped[:, :, ::-1], flipped))
    volumes = RNG.random((200, 1, 2, 3, 4)).astype(np.float32)
    y = Augmentation({"vflip": True}, 0).images(volumes, np.arange(200), 1)
    assert {"same", "turned"} == {
        "turned" if np.array_equal(b, a[:, :, ::-1]) else "same" if np.array_equal(a, b) else "other"
        for a, b in zip(volumes, y, strict=True)
    }


def test_numbers_between_reach_both_ends_and_no_further():
    u = RNG.random(10_000)
    numbers = between(u, 0.2, 1)
    assert 0.8 <= numbers.min() < 0.801 and 1.199 < numbers.max() <= 1.2 and abs(numbers.mean() - 1) < 0.006
    np.testing.assert_allclose(between(u, 0.2), -between(1 - u, 0.2), rtol=0, atol=1e-15)


def test_zoom_draws_every_factor_of_its_range():
    x = np.zeros((3000, 1, 41, 41), np.float32)
    x[..., 20, 30] = 1
    y = Augmentation({"zoom": 0.5}, 0).images(x, np.arange(3000), 1)
    right = (y[:, 0, 20] * np.arange(41)).sum(axis=1) / y[:, 0, 20].sum(axis=1) - 20  # blurred, but about its place
    assert 4.9 < right.min() < 5.2 and 14.8 < right.max() < 15.1 and abs(right.mean() - 10) < 0.3


# ------------------------------------------------------------------------------------------------- masks


def blobs(count):
    """Images of large ellipses, and their masks."""
    i, j = np.indices((24, 24))
    centres, radii = RNG.uniform(9, 15, (2, count, 1, 1)), RNG.uniform(4, 8, (2, count, 1, 1))
    inside = ((i - centres[0]) / radii[0]) ** 2 + ((j - centres[1]) / radii[1]) ** 2 < 1
    return (255 * inside[:, None]).astype(np.uint8), inside.astype(np.int64)


@pytest.mark.parametrize("names", [*([name] for name in VIEWS), [*VIEWS]], ids=" ".join)
def test_masks_move_with_their_images(names):
    x, y = blobs(60)
    changes, rows = Augmentation({name: VIEWS[name] for name in names}, 3), np.arange(60)
    masks, image = changes.maps(y, rows, 1), changes.images(x, rows, 1)[:, 0]
    assert masks.dtype == np.int64 and set(np.unique(masks)) == {0, 1} and not np.array_equal(masks, y)
    sure = (image < 60) | (image > 195)  # a nearest pixel weighs a quarter or more; these blends leave no doubt
    assert (masks == (image > 128))[sure].all() and sure.mean() > 0.9


def test_what_hides_or_colours_leaves_masks_alone():
    _, y = blobs(8)
    options = {"brightness": 0.5, "contrast": 0.5, "blur": 1.0, "erase": 1.0, "cutout": 4, "noise": 0.1}
    assert np.array_equal(Augmentation(options, 0).maps(y, np.arange(8), 1), y)


# ------------------------------------------------------------------------------------------------- signals


@given(st.integers(1, 12), st.floats(0.3, 1.9), st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_a_stretched_signal_is_what_numpy_interpolates(length, factor, seed):
    x = np.random.default_rng(seed).random((1, 2, length)).astype(np.float32)
    middle = (length - 1) / 2
    place = (np.arange(length) - middle) / factor + middle
    fill = np.array([5.0, 6.0])
    expected = [np.interp(place, np.arange(length), c, f, f) for c, f in zip(x[0], fill, strict=True)]
    np.testing.assert_allclose(stretched(x, np.array([factor]), fill)[0], expected, rtol=0, atol=1e-5)  # float32


def test_a_stretched_signal_is_longer_and_its_labels_follow():
    x = np.zeros((1, 1, 21), np.float32)
    x[0, 0, 15:] = 1
    y = stretched(x, np.array([1.6]), np.zeros(1))
    assert y[0, 0, 16] == 0 and y[0, 0, 17] == 0.375 and y[0, 0, 18] == 1 and y[0, 0, 20] == 1  # 10 + 7 / 1.6 is 14.375
    labels = stretched((x > 0).astype(np.int64), np.array([1.6]), np.zeros(1))
    assert labels.dtype == np.int64 and np.array_equal(labels > 0, y > 0.5)
    assert np.array_equal(stretched(x, np.ones(1), np.zeros(1)), x)


def test_a_class_for_each_step_is_stretched_with_its_signal():
    x = np.repeat(np.arange(1.0, 5), 6).astype(np.float32) * np.ones((12, 1, 1), np.float32)
    y = x[:, 0].astype(np.int64)
    data = Dataset("made", x, y, x, y, ("0", "1", "2", "3", "4"), (0.0,), (1.0,), layout="map")
    batch = Feed(data, Recipe(val=0.0, batch=6, augment={"stretch": 0.5})).batch(1, 1)
    assert not np.array_equal(batch.y, y[batch.rows])
    assert (np.abs(batch.y - batch.x[:, 0])[batch.y > 0] <= 0.5 + 1e-5).all()  # nearest of two neighbours
