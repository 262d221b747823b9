"""Cutmix beside mixup, and what hides a part of a sample by chance: rectangles, steps of signals."""

import numpy as np
import pytest

from netdsl.graph.recipe import Recipe
from netdsl.ground.diagnostics import SpecError, UserError
from netdsl.pipeline import compile_text
from netdsl.training.data.augment import Augmentation
from netdsl.training.data.augment.holes import masked, run
from netdsl.training.data.augment.mixing import box, share_outside
from netdsl.training.data.dataset import Dataset
from netdsl.training.data.feed import Feed

RNG = np.random.default_rng(0)
SPACES = [(20,), (16, 12), (8, 9, 10)]


def named(count, space, channels=2):
    """Samples that say everywhere which they are."""
    return np.arange(count, dtype=np.float32).reshape(-1, *[1] * (len(space) + 1)) * np.ones(
        (channels, *space), np.float32
    )


# ------------------------------------------------------------------------------------------------- cutmix


@pytest.mark.parametrize("space", SPACES)
def test_a_part_comes_from_a_partner_and_so_much_of_its_target(space):
    x, labels, shares = named(9, space), np.arange(9), []
    for step in range(1, 40):
        mixed, soft = Augmentation({"cutmix": 1.0}, 0).mixed(x, labels, 9, 1, step)
        assert mixed.dtype == soft.dtype == np.float32
        for k, (sample, target) in enumerate(zip(mixed, soft, strict=True)):
            for other in range(9):
                np.testing.assert_allclose((sample == other).mean(), target[other], rtol=0, atol=1e-6)
            places = np.argwhere((sample != k).any(axis=0))
            if len(places):  # they are a box, the same of all
                size = np.prod(np.ptp(places, axis=0) + 1)
                assert size == len(places) and (sample != k).any(axis=0).sum() == len(places)
        shares.append(1 - np.diag(soft).min())
        assert np.array_equal(x, named(9, space))
    assert np.std(shares) > 0.1 and min(shares) < 0.15 and max(shares) > 0.35


def test_boxes_have_the_share_that_beta_gives_them_but_for_the_border():
    u = RNG.random((4000, 3))
    shares = np.array([1 - share_outside(box(draw[1:], (64, 64), draw[0]), (64, 64)) for draw in u])
    assert (shares <= 1 - u[:, 0] + 1 / 64).all()
    inside = np.array([all(s.start > 0 and s.stop < 64 for s in box(d[1:], (64, 64), d[0])) for d in u])
    np.testing.assert_allclose(shares[inside], 1 - u[inside, 0], rtol=0, atol=1 / 64)  # sides to half a pixel of 64
    assert inside.sum() > 500
    assert abs((shares - (1 - u[:, 0]))[inside].mean()) < 1e-3
    assert box((0.999, 0.0), (8, 6), 0.0) == (slice(3, 8), slice(0, 3))
    assert box((0.5, 0.5), (8, 6), 0.75) == (slice(2, 6), slice(2, 5)) and box((0.5,), (8,), 1.0) == (slice(4, 4),)


def test_targets_that_are_maps_exchange_the_same_part():
    x = named(6, (8, 6), 1)
    mixed, same = Augmentation({"cutmix": 1.0}, 0).mixed(x, 10 * x, 0, 1, 1)
    assert np.array_equal(same, 10 * mixed) and not np.array_equal(mixed, x)
    numbers = x.mean(axis=(2, 3))
    _, blended = Augmentation({"cutmix": 1.0}, 0).mixed(x, numbers, 0, 1, 1)
    np.testing.assert_allclose(blended, mixed.mean(axis=(2, 3)), rtol=0, atol=1e-5)
    data = Dataset("made", x, np.zeros((6, 1, 4, 3), np.float32), x, x, (), (0.0,), (1.0,))
    with pytest.raises(UserError, match="moves images of 8x6 and their targets of 4x3 apart") as error:
        Feed(data, Recipe(val=0.0, augment={"cutmix": 1.0}))
    assert error.value.help == "leave `cutmix` out"


def test_with_both_each_batch_has_one_and_mixup_is_what_it_was_alone():
    x, labels = RNG.random((8, 3, 6, 6)).astype(np.float32), np.arange(8)
    both, mixup, cutmix = (Augmentation(o, 0) for o in ({"mixup": 1.0, "cutmix": 1.0}, {"mixup": 1.0}, {"cutmix": 1.0}))
    kinds = []
    for step in range(1, 201):
        mixed = both.mixed(x, labels, 8, 1, step)
        kinds.append([np.array_equal(mixed[0], other.mixed(x, labels, 8, 1, step)[0]) for other in (mixup, cutmix)])
    assert (np.sum(kinds, axis=1) >= 1).all() and 70 < np.sum(kinds, axis=0)[1] < 135


def test_another_step_epoch_or_seed_cuts_another_box():
    x, labels = named(8, (8, 8)), np.arange(8)
    one = Augmentation({"cutmix": 1.0}, 0).mixed(x, labels, 8, 1, 2)[0]
    assert np.array_equal(Augmentation({"cutmix": 1.0}, 0).mixed(x, labels, 8, 1, 2)[0], one)
    for seed, epoch, step in ((1, 1, 2), (0, 2, 2), (0, 1, 3)):
        assert not np.array_equal(Augmentation({"cutmix": 1.0}, seed).mixed(x, labels, 8, epoch, step)[0], one)


@pytest.mark.parametrize(
    "spec, message",
    [
        ("input 1x8x8\nconv 2\ntrain { augment cutmix=1 }", "mixes the labels of samples, but the output is 2x8x8"),
        ("input 4\nlinear 2 -> logsoftmax\ntrain { loss nll, augment cutmix=1 }", "`cutmix` mixes targets, which"),
        ("input 4\nlinear 2\ntrain { augment cutmix=1 }", "changes images, signals and volumes, but the input is 4"),
    ],
)
def test_cutmix_is_refused_where_there_is_nothing_to_cut_or_to_mix(spec, message):
    with pytest.raises(SpecError, match=message):
        compile_text(spec)


def test_training_on_cut_batches_takes_probabilities():
    x = RNG.integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
    y = (x.mean(axis=(1, 2, 3)) > 127).astype(np.int64)
    net = compile_text("input 1x8x8\nconv 4 -> relu -> gap -> linear 2\ntrain { augment cutmix=1 mixup=0.2, batch 8 }")
    assert net.recipe.takes_probabilities
    batch = Feed(Dataset("made", x, y, x, y, ("0", "1"), (0.5,), (0.2,)), net.recipe).batch(1, 1)
    assert batch.y.shape == (8, 2) and np.allclose(batch.y.sum(axis=1), 1)


# ------------------------------------------------------------------------------------------------- hidden parts


def test_an_erased_part_is_a_rectangle_of_the_mean_within_its_limits():
    x = RNG.uniform(1, 2, (3000, 2, 32, 32)).astype(np.float32)
    y = Augmentation({"erase": 0.6}, 0, (-1.0, -2.0)).images(x, np.arange(3000), 1)
    hidden = (y < 0)[:, 0]
    assert np.array_equal(hidden, (y < 0)[:, 1]) and np.array_equal(y[:, 0][hidden], np.full(hidden.sum(), -1))
    assert np.array_equal(y[~np.repeat(hidden[:, None], 2, 1)], x[~np.repeat(hidden[:, None], 2, 1)])
    has = hidden.any(axis=(1, 2))
    assert 0.57 < has.mean() < 0.63
    high, wide = hidden.any(axis=2).sum(axis=1)[has], hidden.any(axis=1).sum(axis=1)[has]
    assert np.array_equal(hidden[has].sum(axis=(1, 2)), high * wide)  # a rectangle
    free = (high < 32) & (wide < 32)
    area = (high * wide / 1024)[free]
    assert 0.01 < area.min() < 0.03 and 0.3 < area.max() < 0.36 and abs(area.mean() - 0.175) < 0.02
    assert ((high + 0.5) / (wide - 0.5))[free].min() > 0.3 - 0.02 and ((high - 0.5) / (wide + 0.5))[free].max() < 3.32
    centre = hidden[has].mean(axis=0)
    assert abs((centre * np.arange(32)).sum() / centre.sum() - 15.5) < 0.5


def test_always_is_a_chance():
    x = np.ones((50, 1, 9, 9), np.float32)
    assert (Augmentation({"erase": 1.0}, 0).images(x, np.arange(50), 1) == 0).any(axis=(1, 2, 3)).all()
    assert not (Augmentation({"erase": 1e-9}, 0).images(x, np.arange(50), 1) == 0).any()


def test_masked_steps_follow_each_other_and_are_at_most_so_many():
    x = RNG.uniform(1, 2, (4000, 2, 20)).astype(np.float32)
    y = Augmentation({"mask": 5}, 0, (-1.0, -2.0)).images(x, np.arange(4000), 1)
    hidden = y[:, 0] == -1
    assert np.array_equal(hidden, y[:, 1] == -2) and np.array_equal(y[:, 0][~hidden], x[:, 0][~hidden])
    counts = np.bincount(hidden.sum(axis=1))
    assert len(counts) == 6 and np.abs(counts / 4000 - 1 / 6).max() < 0.03  # five standard deviations
    edges = np.diff(np.pad(hidden, [(0, 0), (1, 1)]).astype(int), axis=1)
    assert ((edges == 1).sum(axis=1) <= 1).all()
    assert hidden[:, 0].any() and hidden[:, -1].any()
    assert np.array_equal(masked(x, np.full((2, 4000), 0.1), 5, np.zeros(1)), x)  # none of 0 to 5


def test_a_run_begins_wherever_it_fits():
    assert run(np.array([0.0, 0.999, 0.5]), np.array([2.0, 2.0, 4.0]), 4).tolist() == [
        [True, True, False, False],
        [False, False, True, True],
        [True] * 4,
    ]


@pytest.mark.parametrize("options, space", [({"erase": 0.5}, (9, 8)), ({"mask": 4, "stretch": 0.3}, (20,))])
def test_what_is_hidden_depends_on_seed_epoch_and_sample_alone(options, space):
    x, rows = RNG.random((40, 2, *space)).astype(np.float32), RNG.permutation(500)[:40]
    y, order = Augmentation(options, 3).images(x, rows, 4), RNG.permutation(40)[:9]
    assert np.array_equal(Augmentation(options, 3).images(x[order], rows[order], 4), y[order])
    for seed, epoch, shift in ((4, 4, 0), (3, 5, 0), (3, 4, 1)):
        assert not np.array_equal(Augmentation(options, seed).images(x, rows + shift, epoch), y)
