"""Augmentation: each change against a loop or PyTorch, its draws against their distribution, the same bytes again."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netdsl.training.data import feed, splits
from netdsl.training.data.augment import Augmentation, draws, resampling
from netdsl.training.data.augment.draws import beta, uniforms, whole
from netdsl.training.data.augment.holes import cut
from netdsl.training.data.augment.moves import mirrored, moved
from netdsl.training.data.augment.resampling import rotated, windows
from netdsl.training.loop import epochs as loop
from netdsl.training.pictures import inspection

MOVES = {"crop": 2, "shift": 1, "rotate": 20.0, "zoom": 0.3, "shear": 15.0, "resizedcrop": 0.3}
ALL = {**MOVES, "flip": True, "vflip": True, "cutout": 3}
RESAMPLED = {"rotate", "zoom", "shear", "resizedcrop"}
RNG = np.random.default_rng(0)
SHAPES = st.tuples(st.integers(0, 4), st.integers(1, 3), st.integers(1, 7), st.integers(1, 7))
DTYPES = st.sampled_from([np.uint8, np.float32])


def images(shape, dtype=np.uint8, seed=0):
    """Never zero, so that what was moved in can be told."""
    return np.random.default_rng(seed).integers(1, 256, shape).astype(dtype)


def moved_one(image, down, right):
    y = np.zeros_like(image)
    for i, j in np.ndindex(image.shape[1:]):
        if 0 <= i - down < image.shape[1] and 0 <= j - right < image.shape[2]:
            y[:, i, j] = image[:, i - down, j - right]
    return y


def cut_one(image, row, column, side, fill):
    y = image.copy()
    for i, j in np.ndindex(image.shape[1:]):
        if 0 <= i - row + side // 2 < side and 0 <= j - column + side // 2 < side:
            y[:, i, j] = fill
    return y


def seen_by_torch(x, angles=0.0, factors=1.0, slants=0.0, mirrored=(), windows=None):
    """float64, each pixel read once: slanted, larger, turned by the matrices of a textbook, then mirrored along axes
    (1 of rows, 2 of columns), then a window (top, left, height, width) in the whole size."""
    torch = pytest.importorskip("torch")
    y, functional = np.empty(x.shape), torch.nn.functional
    for i, (angle, factor, slant) in enumerate(np.broadcast(angles, factors, slants) if len(x) else ()):
        # of columns and rows, which count downwards: up is negative
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        matrix = np.linalg.inv(turn @ np.diag([factor, factor]) @ [[1, -slant], [0, 1]])
        half = np.diag([x.shape[3] / 2, x.shape[2] / 2])  # a grid counts from -1 to 1 along both sides
        theta = np.zeros((1, 2, 3))
        theta[0, :, :2] = np.linalg.inv(half) @ matrix @ half
        grid = functional.affine_grid(torch.from_numpy(theta), (1, *x.shape[1:]), align_corners=False)
        grid = grid.flip(list(mirrored[i])) if len(mirrored) else grid
        if windows is not None:
            top, left, high, wide = (int(number) for number in windows[i])
            part = grid[:, top : top + high, left : left + wide].permute(0, 3, 1, 2)
            size = {"size": x.shape[2:], "mode": "bilinear", "align_corners": False}
            grid = functional.interpolate(part, **size).permute(0, 2, 3, 1)
        options = {"mode": "bilinear", "padding_mode": "zeros", "align_corners": False}
        y[i] = functional.grid_sample(torch.from_numpy(x[i : i + 1].astype(np.float64)), grid, **options)[0].numpy()
    return y


# ------------------------------------------------------------------------------------------------- each change


@given(SHAPES, DTYPES, st.integers(0, 9), st.integers(0, 2**32))
@settings(deadline=None)
def test_a_move_is_what_a_loop_over_pixels_gives(shape, dtype, size, seed):
    x = images(shape, dtype)
    down, right = np.random.default_rng(seed).integers(-size, size + 1, (2, len(x)))
    y = moved(x, down, right)
    assert y.dtype == dtype and y.shape == shape
    for image, found, *step in zip(x, y, down, right, strict=True):
        assert np.array_equal(found, moved_one(image, *step))


@given(SHAPES, DTYPES, st.integers(1, 20), st.integers(0, 2**32))
@settings(deadline=None)
def test_a_cut_is_what_a_loop_over_pixels_gives(shape, dtype, side, seed):
    x = images(shape, dtype)
    rng = np.random.default_rng(seed)
    row, column = rng.integers(0, shape[2], len(x)), rng.integers(0, shape[3], len(x))
    fill = rng.integers(0, 256, shape[1])
    y = cut(x, row, column, side, fill)
    assert y.dtype == dtype and y.shape == shape
    for image, found, *place in zip(x, y, row, column, strict=True):
        assert np.array_equal(found, cut_one(image, *place, side, fill.astype(dtype)))


def test_some_images_are_mirrored_and_the_others_are_not():
    x = images((3, 2, 4, 5))
    y = mirrored(x, np.array([True, False, True]))
    assert np.array_equal(y, [x[0, :, :, ::-1], x[1], x[2, :, :, ::-1]])


@given(SHAPES.filter(lambda shape: shape[0] > 0), st.integers(0, 2**32), st.sampled_from([0.1, 1.0, np.pi]))
@settings(deadline=None, max_examples=60)
def test_rotation_is_that_of_pytorch(shape, seed, most):
    angles = np.random.default_rng(seed).uniform(-most, most, shape[0])
    x = images(shape, np.float32, seed) / np.float32(255)
    expected = seen_by_torch(x, angles)
    np.testing.assert_allclose(rotated(x, angles), expected, rtol=0, atol=1e-5)  # places to 1e-6 of a pixel
    found = rotated((x * 255).astype(np.uint8), angles).astype(np.float64)
    np.testing.assert_allclose(found, 255 * expected, rtol=0, atol=0.5 + 2e-3)


def test_rotation_of_many_images_is_that_of_each():
    """More than are worked on together, of a size that PyTorch's grid sees another way than ours."""
    x, angles = images((90, 3, 28, 20)), RNG.uniform(-0.2, 0.2, 90)
    assert x[0].size * len(x) > 2 * resampling.PIECE
    y = rotated(x, angles)
    assert all(np.array_equal(y[i : i + 1], rotated(x[i : i + 1], angles[i : i + 1])) for i in range(90))
    np.testing.assert_allclose(y, seen_by_torch(x, angles), rtol=0, atol=0.502)  # rounded; places to 1e-5 of a pixel


@pytest.mark.parametrize("size", [1, 4, 7])
def test_rotation_by_quarters_is_exact_and_anticlockwise(size):
    x = images((4, 2, size, size))
    y = rotated(x, np.arange(4) * np.pi / 2)
    assert all(np.array_equal(y[i], np.rot90(x[i], i, axes=(1, 2))) for i in range(4))


def test_rotation_keeps_a_bright_middle_and_rounds_to_the_nearest():
    x = np.full((1, 1, 9, 9), 255, np.uint8)
    y = rotated(x, np.array([0.3]))
    assert (y[0, 0, 2:7, 2:7] == 255).all() and y[0, 0, 0, 0] < 128


# ------------------------------------------------------------------------------------------------- together


def by_hand(x, rows, epoch, options, seed=0, fill=0):
    """Crop, shift, shear, zoom, rotate, flip, vflip, resizedcrop, cutout one after another, an image at a time."""
    result = []
    for image, row in zip(x, rows, strict=True):
        u, v = (uniforms(seed, epoch, np.array([row]), purpose)[:, 0] for purpose in (draws.AUGMENT, draws.VIEW))
        for size, i in ((options.get("crop"), 0), (options.get("shift"), 2)):
            if size:
                image = moved_one(image, *(int(u[k] * (2 * size + 1)) - size for k in (i, i + 1)))
        mirrors = [axis for name, axis, w in (("flip", 2, u[5]), ("vflip", 1, v[0])) if name in options and w < 0.5]
        if RESAMPLED & set(options):
            view = (
                np.deg2rad(options.get("rotate", 0) * (2 * u[4] - 1)),
                1 + options.get("zoom", 0) * (2 * v[2] - 1),
                np.tan(np.deg2rad(options.get("shear", 0) * (2 * v[1] - 1))),
            )
            least = options.get("resizedcrop")
            window = windows(v[3:7, None], least, *image.shape[1:]).T if least else None
            image = seen_by_torch(image[None], *view, [mirrors], window)[0]
        else:
            image = np.flip(image, mirrors)
        if options.get("cutout"):
            place = int(u[6] * image.shape[1]), int(u[7] * image.shape[2])
            image = cut_one(image, *place, options["cutout"], fill)
        result.append(image)
    return np.array(result).reshape(x.shape)


@given(st.sets(st.sampled_from(sorted(ALL))), SHAPES, DTYPES, st.integers(1, 50), st.integers(0, 10**6))
@settings(deadline=None, max_examples=80)
def test_changes_follow_each_other_as_documented(names, shape, dtype, epoch, first):
    pytest.importorskip("torch")
    options = {name: ALL[name] for name in names}
    x, rows = images(shape, dtype), np.arange(first, first + shape[0])
    y = Augmentation(options, 0).images(x, rows, epoch)
    assert y.dtype == dtype and y.shape == shape
    tolerance = (0.5 * (dtype == np.uint8) + 3e-3) if names & RESAMPLED else 0
    np.testing.assert_allclose(y.astype(np.float64), by_hand(x, rows, epoch, options), rtol=0, atol=tolerance)
    assert np.array_equal(x, images(shape, dtype))  # what came in stays


@pytest.mark.parametrize("options", [{}, {"flip": False, "shift": 0, "crop": 0, "rotate": 0.0, "cutout": 0}])
def test_nothing_asked_for_is_nothing_done(options):
    augmentation, x, y = Augmentation(options, 0), images((3, 1, 4, 4)), np.zeros((3, 2), np.float32)
    assert not augmentation.changes_images and not augmentation.mixes
    assert augmentation.images(x, np.arange(3), 1) is x
    assert augmentation.mixed(x, y, 2, 1, 1) == (x, y)


@pytest.mark.parametrize("name", ["crop", "shift"])
def test_moves_beyond_the_image_leave_black(name):
    y = Augmentation({name: 10**9}, 0).images(images((20, 1, 4, 4)), np.arange(20), 1)
    assert not y.any()


def test_a_hole_larger_than_the_image_leaves_the_mean():
    y = Augmentation({"cutout": 10**9}, 0, mean=(0.2, 0.4)).images(images((5, 2, 4, 3)), np.arange(5), 1)
    assert (y[:, 0] == 51).all() and (y[:, 1] == 102).all()
    y = Augmentation({"cutout": 8}, 0, mean=(-1.5,)).images(images((5, 2, 4, 3), np.float32), np.arange(5), 1)
    assert (y == -1.5).all()


def test_half_a_turn_is_within_reach():
    rows = np.arange(400)
    x = np.zeros((400, 1, 9, 9), np.uint8)
    x[:, :, 4, 8] = 255
    y = Augmentation({"rotate": 180.0}, 0).images(x, rows, 1)
    reached = (y > 100).any(axis=(0, 1))
    assert reached[4, 0] and reached[0, 4] and reached[8, 4] and not reached[4, 4]


# ------------------------------------------------------------------------------------------------- the draws


def test_the_same_sample_in_another_batch_has_the_same_bytes():
    x, augmentation = images((50, 3, 8, 8)), Augmentation(ALL, 3)
    rows = RNG.permutation(1000)[:50]
    y = augmentation.images(x, rows, 4)
    order = RNG.permutation(50)[:13]
    assert np.array_equal(augmentation.images(x[order], rows[order], 4), y[order])
    assert np.array_equal(Augmentation(ALL, 3).images(x, rows.astype(np.int32), 4), y)


def test_another_epoch_seed_or_sample_has_others():
    x = images((50, 3, 8, 8))
    one = Augmentation(ALL, 3).images(x, np.arange(50), 4)
    others = [(3, 0, 5), (4, 0, 4), (3, 1, 4)]
    for seed, first, epoch in others:
        other = Augmentation(ALL, seed).images(x, np.arange(first, first + 50), epoch)
        assert sum(np.array_equal(a, b) for a, b in zip(one, other, strict=True)) < 3


def test_one_change_more_leaves_the_draws_of_the_others():
    x, rows = images((9, 1, 8, 8)), np.arange(9)
    both = Augmentation({"shift": 2, "cutout": 3}, 0).images(x, rows, 1)
    shifted = Augmentation({"shift": 2}, 0).images(x, rows, 1)
    assert (both[both != 0] == shifted[both != 0]).all()


def test_numbers_are_those_of_splitmix64():
    """By Python's whole numbers, a step at a time; the first is written down, for runs begun by another NumPy."""
    start = int(np.random.SeedSequence([7, draws.AUGMENT, 2]).generate_state(1, np.uint64)[0])
    mask, state, expected = 2**64 - 1, start, []
    for _ in range(5 * draws.DRAWS):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        expected.append(((z ^ z >> 31) >> 11) / 2**53)
    assert np.array_equal(uniforms(7, 2, np.arange(5)).T.ravel(), expected)
    assert uniforms(7, 2, np.arange(5))[0, 0] == 0.4963694754901431


@pytest.mark.parametrize(
    "space, options, digest",
    [
        ((9, 8), {"crop": 2, "shift": 1, "flip": True, "cutout": 3}, "9a2b42ca3ac0b429"),
        ((9, 8), {"flip": True}, "3dc82e60285efd7e"),
        ((12,), {"shift": 2, "flip": True, "scale": 0.25}, "4cd160727b72b8d9"),
        ((4, 5, 6), {"shift": 2, "flip": True}, "b4d973a13892e436"),
    ],
)
def test_a_run_begun_by_an_older_version_sees_the_same_bytes(space, options, digest):
    x = images((20, 3, *space), np.uint8 if len(space) == 2 else np.float32)
    y = Augmentation(options, 7, (0.25, 0.5, 0.75)).images(x, np.arange(40, 60), 3)
    assert hashlib.blake2b(y.tobytes(), digest_size=8).hexdigest() == digest


def test_batches_mixed_by_an_older_version_are_the_same():
    x = images((8, 2, 3, 3), np.float32)
    mixed, soft = Augmentation({"mixup": 1.0}, 7).mixed(x, np.arange(8) % 4, 4, 2, 3)
    assert soft[1].tolist() == [0.0, 0.4883604943752289, 0.0, 0.5116394758224487]  # row 3 is its partner
    np.testing.assert_allclose(mixed[:, 0, 0, 0].sum(), x[:, 0, 0, 0].sum(), rtol=1e-6)  # float32


def test_numbers_are_uniform_and_do_not_follow_each_other():
    u = np.stack([uniforms(0, epoch, np.arange(20_000)) for epoch in (1, 2)])
    assert u.min() >= 0 and u.max() < 1
    counts = np.apply_along_axis(lambda column: np.histogram(column, 20, (0, 1))[0], 2, u)
    assert (((counts - 1000) ** 2 / 1000).sum(axis=2) < 50).all()  # chi squared of 19: above 50 once in 7,000
    streams = u.reshape(-1, 20_000)
    related = np.corrcoef(np.concatenate([streams, streams[:, np.r_[1:20_000, 0]]]))
    assert np.abs(related - np.eye(len(related))).max() < 0.035  # five deviations of 1 / sqrt(20,000)


def test_whole_numbers_come_equally_often_and_no_others():
    found, counts = np.unique(whole(uniforms(0, 1, np.arange(9000))[0], -4, 4), return_counts=True)
    assert found.tolist() == list(range(-4, 5)) and np.abs(counts - 1000).max() < 150


def test_every_shift_occurs_and_half_are_flipped():
    x = np.zeros((5000, 1, 7, 7), np.uint8)
    x[:, :, 3, 3] = 1
    y = Augmentation({"shift": 2}, 0).images(x, np.arange(5000), 1)
    counts = y.sum(axis=(0, 1))
    assert counts[1:6, 1:6].sum() == 5000 and np.abs(counts[1:6, 1:6].astype(int) - 200).max() < 75
    x[:, :, 3, 0] = 2
    y = Augmentation({"flip": True}, 0).images(x, np.arange(5000), 1)
    assert abs((y[:, 0, 3, 0] == 0).mean() - 0.5) < 0.03


def test_purposes_of_random_streams_differ():
    own = [draws.AUGMENT, draws.MIXUP, draws.ALONG, draws.NOISE]
    own += [draws.VIEW, draws.COLOUR, draws.ERASE, draws.STEPS, draws.CUTMIX]
    purposes = [feed.SHUFFLE, loop.NOISE, splits.SPLIT, inspection.SAMPLES, inspection.STATISTICS, *own]
    assert len(set(purposes)) == 14


# ------------------------------------------------------------------------------------------------- mixup


@pytest.mark.parametrize("alpha", [0.01, 0.2, 0.5, 1.0, 4.0, 100.0])
def test_beta_is_distributed_like_that_of_numpy(alpha):
    rng = np.random.default_rng(1)
    found = np.sort([beta(u, v, alpha) for u, v in rng.random((4000, 2))])
    expected = np.sort(rng.beta(alpha, alpha, 100_000))
    assert found[0] >= 0 and found[-1] <= 1
    steps = np.arange(4000) / 4000
    distance = np.abs(np.searchsorted(expected, found) / 100_000 - steps)[(found > 1e-9) & (found < 1 - 1e-9)]
    assert distance.max() < 0.032  # Kolmogorov and Smirnov: 2 / sqrt(4000)


@pytest.mark.parametrize(("u", "v"), [(0.0, 0.0), (0.0, 0.25), (0.0, 0.5), (1 - 2**-53, 0.25), (1 - 2**-53, 0.0)])
@pytest.mark.parametrize("alpha", [1e-3, 0.2, 1.0, 1e3])
def test_beta_is_a_number_at_the_ends(u, v, alpha):
    assert 0 <= beta(u, v, alpha) <= 1


def test_mixed_samples_and_targets_are_blended_alike():
    """One-hot inputs show lam and the partner; every sample is a partner once."""
    x, y = np.eye(16, dtype=np.float32), RNG.integers(0, 4, 16)
    for step in range(1, 6):
        mixed, soft = Augmentation({"mixup": 1.0}, 0).mixed(x, y, 4, 1, step)
        assert mixed.dtype == soft.dtype == np.float32 and mixed.shape == (16, 16) and soft.shape == (16, 4)
        np.testing.assert_allclose(soft, mixed @ np.eye(4)[y], rtol=0, atol=1e-6)
        np.testing.assert_allclose(mixed.sum(axis=0), 1, rtol=0, atol=1e-6)
        np.testing.assert_allclose(mixed.sum(axis=1), 1, rtol=0, atol=1e-6)
        own, other = np.diag(mixed), (mixed - np.diag(np.diag(mixed))).max(axis=1)
        pairs = other > 0
        np.testing.assert_allclose(own[pairs] + other[pairs], 1, rtol=0, atol=1e-6)
        assert np.ptp(own[pairs]) == 0  # one lam a batch
    assert np.array_equal(x, np.eye(16))


@pytest.mark.parametrize("classes", [1, 2])
def test_targets_take_the_form_the_output_has(classes):
    y = np.array([0, 1, 1, 0])
    _, soft = Augmentation({}, 0).mixed(np.zeros((4, 2), np.float32), y, classes, 1, 1)
    assert soft.dtype == np.float32
    assert np.array_equal(soft, y[:, None] if classes == 1 else np.eye(2)[y])


def test_float_targets_are_blended_as_they_are():
    x = RNG.random((6, 2, 3, 3)).astype(np.float32)
    y = x.mean(axis=(2, 3))
    mixed, blended = Augmentation({"mixup": 0.4}, 0).mixed(x, y, 0, 2, 3)
    np.testing.assert_allclose(blended, mixed.mean(axis=(2, 3)), rtol=0, atol=1e-6)
    assert not np.array_equal(blended, y)


def test_mixing_is_the_same_again_and_another_at_another_step():
    x, y = RNG.random((8, 3)).astype(np.float32), np.arange(8)
    one, again, other = (Augmentation({"mixup": 1.0}, 0).mixed(x, y, 8, 1, step) for step in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one[1], other[1])


# ------------------------------------------------------------------------------------------------- mistakes
