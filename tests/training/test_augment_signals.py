"""Augmentation of signals and volumes: each change against a loop, its draws, and masks that move along."""

import numpy as np
import pytest

from netdsl.graph.recipe import Recipe
from netdsl.ground.diagnostics import SpecError, UserError
from netdsl.pipeline import compile_text
from netdsl.training.data.augment import Augmentation
from netdsl.training.data.augment.draws import normals
from netdsl.training.data.augment.moves import moved_along
from netdsl.training.data.dataset import Dataset
from netdsl.training.data.feed import Feed

RNG = np.random.default_rng(0)
SPACES = [(12,), (3, 4, 5)]
ALL = {"shift": 2, "flip": True, "scale": 0.2, "noise": 0.1}


def samples(count, space, channels=2):
    """Never below 1, so that what comes in can be told."""
    return RNG.uniform(1, 9, (count, channels, *space)).astype(np.float32)


def moved_one(x, steps, fill):
    y = np.broadcast_to(np.reshape(fill, (-1, *[1] * len(steps))), x.shape).astype(x.dtype)
    for place in np.ndindex(x.shape[1:]):
        source = [i - step for i, step in zip(place, steps, strict=True)]
        if all(0 <= i < size for i, size in zip(source, x.shape[1:], strict=True)):
            y[(slice(None), *place)] = x[(slice(None), *source)]
    return y


@pytest.mark.parametrize("space", SPACES)
def test_a_move_is_what_a_loop_over_places_gives(space):
    x, fill = samples(6, space), np.array([-1.0, -2.0])
    steps = RNG.integers(-6, 7, (len(space), 6))
    expected = [moved_one(sample, step, fill) for sample, step in zip(x, steps.T, strict=True)]
    y = moved_along(x, list(steps), fill)
    assert y.dtype == np.float32 and np.array_equal(y, expected)


@pytest.mark.parametrize("space", SPACES)
def test_a_shift_moves_along_every_axis_by_at_most_so_many_and_the_mean_comes_in(space):
    x = np.zeros((4000, 1, *space), np.float32)
    x[(..., *(size // 2 for size in space))] = 9
    y = Augmentation({"shift": 1}, 0, (5.0,)).images(x, np.arange(4000), 1)
    seen = np.stack(np.unravel_index((y == 9).reshape(4000, -1).argmax(axis=1), space))
    for places, size in zip(seen, space, strict=True):
        values, counts = np.unique(places - size // 2, return_counts=True)
        assert values.tolist() == [-1, 0, 1] and abs(counts / 4000 - 1 / 3).max() < 0.04  # five standard deviations
    assert set(np.unique(y)) == {0, 5, 9}
    assert np.array_equal(x != 0, x == 9)  # x stays


@pytest.mark.parametrize("space", SPACES)
def test_half_of_the_samples_are_mirrored_along_the_last_axis(space):
    x = samples(1000, space)
    y = Augmentation({"flip": True}, 0).images(x, np.arange(1000), 1)
    turned = (y == x[..., ::-1]).reshape(1000, -1).all(axis=1)
    same = (y == x).reshape(1000, -1).all(axis=1)
    assert (turned ^ same).all() and 400 < turned.sum() < 600


def test_scale_multiplies_a_sample_by_one_number_and_noise_is_a_share_of_each_channels_std():
    x = samples(3000, (12,))
    y = Augmentation({"scale": 0.2}, 0).images(x, np.arange(3000), 1)
    factors = y / x
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1, :1], factors.shape), rtol=1e-6)  # float32
    assert 0.8 <= factors.min() < 0.81 and 1.19 < factors.max() <= 1.2 and abs(factors.mean() - 1) < 0.01
    noise = Augmentation({"noise": 0.5}, 0, (0.0, 0.0), (2.0, 10.0)).images(x, np.arange(3000), 1) - x
    np.testing.assert_allclose(noise.std(axis=(0, 2)), [1, 5], rtol=0.02)  # of 36,000 numbers each
    assert abs(noise.mean(axis=(0, 2))).max() < 0.1
    grey = RNG.integers(0, 256, (5, 1, 6, 6), dtype=np.uint8)
    y = Augmentation({"noise": 0.1}, 0, (0.5,), (0.2,)).images(grey, np.arange(5), 1)
    assert y.dtype == np.float32 and 0.01 < np.std(y - grey / 255) < 0.03


def test_normal_numbers_are_normal_and_the_same_whatever_the_batch():
    numbers = normals(0, 1, np.arange(400), 501)
    assert numbers.shape == (400, 501) and numbers.dtype == np.float32
    assert abs(numbers.mean()) < 0.01 and abs(numbers.std() - 1) < 0.01 and 4 < abs(numbers).max() < 6.7
    assert abs((numbers**3).mean()) < 0.04 and abs((numbers**4).mean() - 3) < 0.1
    assert abs(np.corrcoef(numbers[:, :250].ravel(), numbers[:, 251:501].ravel())[0, 1]) < 0.02
    assert np.array_equal(normals(0, 1, np.array([7]), 501)[0], numbers[7])


@pytest.mark.parametrize("space", SPACES)
def test_a_sample_is_changed_by_seed_epoch_and_its_number_alone(space):
    x, rows = samples(20, space), RNG.permutation(500)[:20]
    y = Augmentation(ALL, 3).images(x, rows, 4)
    order = RNG.permutation(20)
    assert np.array_equal(Augmentation(ALL, 3).images(x[order], rows[order], 4), y[order])
    assert np.array_equal(Augmentation(ALL, 3).images(x[:1], rows[:1], 4), y[:1])
    for seed, epoch, shift in ((4, 4, 0), (3, 5, 0), (3, 4, 1)):
        assert not np.array_equal(Augmentation(ALL, seed).images(x, rows + shift, epoch), y)


@pytest.mark.parametrize("space", SPACES)
def test_a_class_for_each_place_moves_with_its_sample(space):
    x = samples(12, space, 1)
    x[RNG.random(x.shape) < 0.5] = -1
    y = (x[:, 0] > 0).astype(np.int64)
    data = Dataset("made", x, y, x, y, ("0", "1"), (0.0,), (1.0,), layout="map")
    recipe = Recipe(val=0.0, batch=6, augment={"shift": 2, "flip": True})
    batch = Feed(data, recipe).batch(1, 1)
    assert np.array_equal(batch.y, batch.x[:, 0] > 0) and not np.array_equal(batch.y, y[batch.rows])
    pictures = Dataset("made", x, x, x, x, (), (0.0,), (1.0,), layout="map")
    batch = Feed(pictures, recipe).batch(1, 1)
    assert np.array_equal(batch.y, batch.x)
    still = Feed(Dataset("made", x, np.zeros((12, 3), np.float32), x, y, (), (0.0,), (1.0,), layout="map"), recipe)
    assert still.batch(1, 1).y.shape == (6, 3)


def test_a_class_for_each_step_of_another_length_cannot_follow():
    x = samples(12, (12,))
    data = Dataset("made", x, np.zeros((12, 6), np.int64), x, x, ("0", "1"), (0.0,), (1.0,), layout="map")
    with pytest.raises(UserError, match="moves signals of 12 and their targets of 6 apart") as error:
        Feed(data, Recipe(val=0.0, augment={"flip": True}))
    assert error.value.help == "leave `flip` out"


@pytest.mark.parametrize(
    "given, augment, message, help",
    [
        ("3x16 map", "rotate=9", "`rotate` changes images (C x H x W), but", "takes `shift`, `flip`, `stretch`"),
        ("3x16 map", "crop=2", "`crop` changes images (C x H x W), but", "use `shift=2`, which moves a signal as well"),
        ("1x4x8x8", "cutout=2", "`cutout` changes images (C x H x W), but the", "a volume takes `shift`"),
        ("1x8x8", "scale=0.1", "`scale` changes signals and volumes, but the", "use `brightness=0.1`, which changes"),
        ("1x8x8", "mask=2", "`mask` changes signals, but the input is 1x8x8", "use `cutout=2`, which changes an image"),
        ("3x16 map", "zoom=0.1", "`zoom` changes images (C x H x W), but", "use `stretch=0.1`, which changes a signal"),
        ("3x16 map", "vflip", "`vflip` changes images and volumes, but the input is 3x16", "a signal takes `shift`"),
        ("3x16", "cutmix=1", "`cutmix` changes images, signals and volumes, but", "write `input 3x16 map`"),
        ("1x8x8", "hue=0.1", "`hue` changes colours (3 x H x W), but the input is 1x8x8", "`contrast`, `blur`, "),
        ("1x8x8", "saturation=0.1", "`saturation` changes colours (3 x H x W), but the", "use `contrast=0.1`, which"),
        ("3x16 map", "mask=16", "`mask=16` does not fit a signal of 16", "use `mask=15` or less"),
        ("1x8x8", "blur=8", "`blur=8.0` does not fit an image of 8x8", "use `blur=7` or less"),
        ("3x16", "shift=2", "`shift` changes images, signals and volumes, but the", "write `input 3x16 map`"),
        ("3x16 map", "shift=16", "`shift=16` does not fit a signal of 16", "use `shift=15` or less"),
        ("1x4x8x8", "shift=4", "`shift=4` does not fit a volume of 4x8x8", "use `shift=3` or less"),
        ("1x8x8", "shift=8", "`shift=8` does not fit an image of 8x8", "use `shift=7` or less"),
        ("3x16 map", "scale=1", "`scale` must be above 0 and below 1, not 1", ""),
        ("3x16 map", "jitter=1", "`augment` has no option `jitter`", "did you mean `noise`?"),
    ],
)  # fmt: skip
def test_what_does_not_fit_a_sample_is_refused_with_what_does(given, augment, message, help):
    with pytest.raises(SpecError) as error:
        compile_text(f"input {given}\nflatten -> linear 2\ntrain {{ augment {augment} }}\n")
    (said,) = error.value.diagnostics
    assert message in said.message and help in "\n".join(said.help)
