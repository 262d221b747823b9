"""Any changes of any samples together: what holds whatever a recipe asks for."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from netdsl.graph.recipe import AUGMENTATIONS, AUGMENTED_AXES, MIXES, OF_COLOURS
from netdsl.training.data.augment import Augmentation
from netdsl.training.data.augment.augmentation import CHANGES, MOVES

AMOUNTS = {
    "whole": st.integers(1, 3),
    "degrees": st.floats(0.1, 180),
    "slant": st.floats(0.1, 89),
    "share": st.floats(0.01, 0.99),
    "chance": st.floats(0.01, 1),
    "half": st.floats(0.01, 0.5),
    "strength": st.floats(0.01, 10),
    "positive": st.floats(0.01, 3),
    "word": st.just(True),
}
SPACES = {1: (7,), 2: (6, 5), 3: (3, 4, 5)}


@st.composite
def cases(draw):
    """Options that a recipe may have of signals, images or volumes, samples, and a part of them in another order."""
    axes, channels = draw(st.sampled_from([1, 2, 2, 2, 3])), draw(st.sampled_from([1, 3]))
    names = [
        name
        for name in AUGMENTATIONS
        if name not in MIXES and axes in AUGMENTED_AXES[name] and (channels == 3 or name not in OF_COLOURS)
    ]
    chosen = draw(st.lists(st.sampled_from(names), unique=True, min_size=1))
    options = {name: draw(AMOUNTS[AUGMENTATIONS[name]]) for name in chosen}
    count, rng = draw(st.integers(1, 6)), np.random.default_rng(draw(st.integers(0, 2**32)))
    x = rng.integers(0, 256, (count, channels, *SPACES[axes]), dtype=np.uint8)
    x = x if axes == 2 and draw(st.booleans()) else (x / np.float32(255)).astype(np.float32)
    some = rng.permutation(count)[: draw(st.integers(1, count))]
    return options, x, rng.permutation(1000)[:count], some


@given(cases(), st.integers(0, 9), st.integers(1, 9))
@settings(deadline=None, max_examples=150)
def test_samples_stay_samples_and_are_what_seed_epoch_and_number_make_of_them(case, seed, epoch):
    options, x, rows, some = case
    changes, before = Augmentation(options, seed, (0.5,), (0.25,)), x.copy()
    y = changes.images(x, rows, epoch)
    assert np.array_equal(x, before) and y.shape == x.shape and np.isfinite(y).all()
    is_moved_alone = not set(options) - {*MOVES, "cutout", "erase", "mask"}
    assert y.dtype == (x.dtype if is_moved_alone else np.float32)
    if x.dtype == np.uint8 and y.dtype == np.float32 and "noise" not in options:
        assert y.min() >= 0 and y.max() <= 1
    if is_moved_alone and x.dtype == np.float32:
        assert y.min() >= min(0, x.min()) - 1e-6 and y.max() <= max(1, x.max()) + 1e-6
    assert np.array_equal(changes.images(x[some], rows[some], epoch), y[some])


@given(cases(), st.integers(0, 9))
@settings(deadline=None, max_examples=60)
def test_maps_of_places_have_no_names_but_those_of_their_samples_and_zero(case, seed):
    options, x, rows, some = case
    axes, changes = x.ndim - 2, Augmentation(options, seed)
    y = (x[:, 0] * 9).astype(np.int64) + 1
    moved = changes.maps(y, rows, 1, axes)
    assert moved.dtype == np.int64 and moved.shape == y.shape
    for one, of in zip(moved, y, strict=True):
        assert set(np.unique(one)) <= {0, *np.unique(of)}
    assert np.array_equal(changes.maps(y[some], rows[some], 1, axes), moved[some])
    if not changes.moves:
        assert np.array_equal(moved, y)


def test_every_name_of_the_language_does_something():
    assert {*CHANGES, *MIXES} == {*AUGMENTATIONS} == {*AUGMENTED_AXES, "mixup"}
    assert {*AUGMENTATIONS.values()} == {*AMOUNTS}
