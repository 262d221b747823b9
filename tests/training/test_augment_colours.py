"""Changes of light and colour: each against Pillow, colorsys or a loop, what they keep, and their draws."""

import colorsys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from netdsl.training.data.augment import Augmentation
from netdsl.training.data.augment.colours import (
    COLOURS,
    blurred,
    brightened,
    contrasted,
    grey_of,
    greyed,
    hued,
    saturated,
)

RNG = np.random.default_rng(0)
SOME = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.2, "grey": 0.3, "blur": 1.2}
MOST = {"brightness": 10.0, "contrast": 10.0, "saturation": 10.0, "hue": 0.5, "grey": 1.0, "blur": 4.0}


def pictures(count, size=(6, 5), channels=3):
    """Bytes with ties, greys, black and white among them."""
    x = RNG.integers(0, 256, (count, channels, *size), dtype=np.uint8)
    x[0], x[1 % count], x[2 % count] = 0, 255, x[2 % count] // 64 * 64
    x[3 % count] = x[3 % count, :1]
    return x


# ------------------------------------------------------------------------------------------------- each change


@pytest.mark.parametrize(
    "change, enhancer", [(brightened, "Brightness"), (contrasted, "Contrast"), (saturated, "Color")]
)
def test_light_and_saturation_are_those_of_pillow(change, enhancer):
    """Pillow rounds grey to bytes before it blends, and what it blends."""
    x, factors = pictures(12), RNG.uniform(0, 2, 12)
    found = np.clip(change(x / np.float32(255), factors), 0, 1) * 255
    for image, factor, ours in zip(x, factors, found, strict=True):
        enhanced = getattr(ImageEnhance, enhancer)(Image.fromarray(image.transpose(1, 2, 0))).enhance(factor)
        theirs = np.asarray(enhanced).transpose(2, 0, 1)
        assert np.abs(ours - theirs).max() <= 0.5 + abs(1 - factor) * 1.1 + 0.5


def test_a_hue_moves_as_colorsys_moves_it():
    x = (pictures(8) / np.float32(255)).astype(np.float32)
    moves = RNG.uniform(-0.5, 0.5, 8)
    y = hued(x, moves)
    for image, move, ours in zip(x, moves, y, strict=True):
        for i, j in np.ndindex(image.shape[1:]):
            h, s, v = colorsys.rgb_to_hsv(*(float(value) for value in image[:, i, j]))
            np.testing.assert_allclose(ours[:, i, j], colorsys.hsv_to_rgb((h + move) % 1, s, v), rtol=0, atol=2e-6)


def test_a_third_of_the_circle_makes_red_green_and_two_make_it_blue():
    red = np.array([0.75, 0.25, 0.25], np.float32).reshape(1, 3, 1, 1)
    np.testing.assert_allclose(hued(red, np.array([1 / 3]))[0, :, 0, 0], [0.25, 0.75, 0.25], atol=1e-6)
    np.testing.assert_allclose(hued(red, np.array([-1 / 3]))[0, :, 0, 0], [0.25, 0.25, 0.75], atol=1e-6)


def blurred_by_a_loop(image, width):
    """One channel (H, W) in float64, the window in both directions at once."""
    reach = int(np.ceil(3 * width))
    high, wide = (min(reach, size - 1) for size in image.shape)
    padded = np.pad(image.astype(np.float64), [(high, high), (wide, wide)], mode="reflect")
    i, j = np.mgrid[-high : high + 1, -wide : wide + 1]
    window = np.exp(-(i**2 + j**2) / (2 * width**2))
    window /= window.sum()
    return [[(padded[a : a + 2 * high + 1, b : b + 2 * wide + 1] * window).sum() for b in range(image.shape[1])]
            for a in range(image.shape[0])]  # fmt: skip


@pytest.mark.parametrize("size", [(9, 8), (2, 7), (1, 1)])
def test_a_blur_is_what_a_loop_over_a_window_gives(size):
    x, widths = RNG.random((5, 2, *size)).astype(np.float32), np.array([0.05, 0.4, 0.8, 1.3, 3.0])
    y = blurred(x, widths)
    for image, width, ours in zip(x, widths, y, strict=True):
        expected = [blurred_by_a_loop(channel, width) for channel in image]
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-6)


def test_nothing_asked_for_changes_nothing_but_for_rounding():
    x = pictures(9) / np.float32(255)
    for change in (brightened, contrasted, saturated):
        np.testing.assert_allclose(change(x, np.ones(9)), x, rtol=0, atol=1e-7)
    for change in (greyed, blurred):
        assert np.array_equal(change(x, np.zeros(9)), x)
    np.testing.assert_allclose(hued(x, np.zeros(9)), x, rtol=0, atol=1e-6)


# ------------------------------------------------------------------------------------------------- what they keep


def test_each_change_keeps_what_it_should():
    x, factors = pictures(9) / np.float32(255), RNG.uniform(0.5, 1.5, 9)
    greys = grey_of(x)
    np.testing.assert_allclose(grey_of(brightened(x, factors)), greys * factors.reshape(-1, 1, 1, 1), rtol=1e-5)
    means = grey_of(contrasted(x, factors)).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(means, greys.mean(axis=(1, 2, 3)), rtol=0, atol=1e-4)  # the luma weights sum to 0.9999
    np.testing.assert_allclose(grey_of(saturated(x, factors)), greys, rtol=0, atol=1e-4)
    moved = hued(x, factors - 1)
    np.testing.assert_allclose(moved.max(axis=1), x.max(axis=1), rtol=0, atol=1e-6)
    np.testing.assert_allclose(moved.min(axis=1), x.min(axis=1), rtol=0, atol=1e-6)
    grey = greyed(x, np.arange(9) % 2)
    assert np.array_equal(grey[::2], x[::2]) and (grey[1::2] == greys[1::2]).all()
    flat = np.full((2, 3, 5, 4), 0.3, np.float32)
    np.testing.assert_allclose(blurred(flat, np.array([0.7, 2.0])), flat, rtol=1e-6)


@given(st.sets(st.sampled_from(sorted(MOST)), min_size=1), st.integers(1, 6), st.integers(1, 6), st.integers(0, 10**6))
@settings(deadline=None, max_examples=60)
def test_bytes_stay_from_0_to_1_whatever_is_asked_for(names, height, width, first):
    x, rows = pictures(5, (height, width)), np.arange(first, first + 5)
    y = Augmentation({name: MOST[name] for name in names}, 1).images(x, rows, 2)
    assert y.dtype == np.float32 and np.isfinite(y).all() and y.min() >= 0 and y.max() <= 1


def test_other_numbers_have_no_limits():
    x = RNG.normal(3, 40, (6, 3, 7, 7)).astype(np.float32)
    y = Augmentation(SOME, 0).images(x, np.arange(6), 1)
    assert np.isfinite(y).all() and y.max() > 1 and y.min() < 0
    cut = Augmentation(SOME | {"cutout": 20}, 0, (3.0,)).images(x, np.arange(6), 1)
    assert (cut == 3).all()  # what is hidden has the mean, whatever the light


def test_what_is_hidden_in_bytes_has_the_mean_of_bytes():
    y = Augmentation({"brightness": 0.5, "cutout": 20}, 0, (0.25,)).images(pictures(4), np.arange(4), 1)
    assert (y == 0.25).all()


# ------------------------------------------------------------------------------------------------- the draws


@pytest.mark.parametrize("name", COLOURS)
def test_a_change_is_one_of_seed_epoch_and_sample_alone(name):
    """More images than are worked on together, alone and in another order: the same bits."""
    x, rows = pictures(60, (24, 23)), RNG.permutation(900)[:60]
    changes = Augmentation({name: SOME[name]}, 3)
    y, order = changes.images(x, rows, 4), RNG.permutation(60)[:7]
    assert np.array_equal(changes.images(x[order], rows[order], 4), y[order])
    assert np.array_equal(changes.images(x[9:10], rows[9:10], 4), y[9:10])
    for seed, epoch, shift in ((4, 4, 0), (3, 5, 0), (3, 4, 1)):
        assert not np.array_equal(Augmentation({name: SOME[name]}, seed).images(x, rows + shift, epoch), y)


def test_one_change_of_colour_more_leaves_the_draws_of_the_others():
    x, rows = np.full((50, 3, 2, 2), 100, np.uint8), np.arange(50)
    one = Augmentation({"brightness": 0.3}, 0).images(x, rows, 1)
    two = Augmentation({"brightness": 0.3, "hue": 0.1, "blur": 1.0, "grey": 0.5}, 0).images(x, rows, 1)
    np.testing.assert_allclose(two, one, rtol=2e-4)  # of grey nothing else changes


def test_factors_are_from_one_less_the_amount_or_zero_to_one_more():
    x = np.full((4000, 3, 1, 1), 51, np.uint8)
    for amount, low, high in ((0.4, 0.6, 1.4), (2.0, 0.0, 3.0)):
        factors = Augmentation({"brightness": amount}, 0).images(x, np.arange(4000), 1)[:, 0, 0, 0] * 5
        assert low <= factors.min() + 1e-6 and factors.min() < low + 0.01
        assert high - 0.01 < factors.max() <= high + 1e-6 and abs(factors.mean() - (low + high) / 2) < 0.05
    dots = np.zeros((2000, 3, 15, 15), np.float32)
    dots[:, :, 7, 7] = 1
    blurs = Augmentation({"blur": 1.5}, 0).images(dots, np.arange(2000), 1)[:, 0]
    widths = np.sqrt((blurs * (np.arange(15) - 7) ** 2).sum(axis=(1, 2)))
    assert widths.min() < 0.05 and 1.4 < widths.max() < 1.5  # of a window that ends at three
    greys = Augmentation({"grey": 0.25}, 0).images(pictures(4000, (2, 2)), np.arange(4000), 1)
    share = (np.ptp(greys, axis=1) == 0).all(axis=(1, 2)).mean()
    assert 0.22 < share < 0.28
