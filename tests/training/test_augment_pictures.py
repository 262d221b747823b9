"""The picture of what augmentation does: the samples that training saw, of every kind of data."""

import numpy as np
import pytest
from figures import ROWS, overhang, words

from netdsl.ground.diagnostics import UserError
from netdsl.pipeline import compile_text
from netdsl.training.data.dataset import Dataset
from netdsl.training.data.feed import Feed
from netdsl.training.pictures.augmented import seen_in_epochs
from netdsl.training.pictures.kinds import draw, fitting_kinds, usual_kinds
from netdsl.training.runs.history import History
from netdsl.training.runs.views import RunView

HEAD = "flatten -> linear 3"
RUNS = {
    "image": ("3x12x10", HEAD, "crop=2 rotate=10 zoom=0.1 flip brightness=0.3 hue=0.1 cutmix=1 mixup=0.2"),
    "grey": ("1x12x10", HEAD, "shift=2 vflip resizedcrop=0.5 blur=1 erase=0.5"),
    "masks": ("1x12x10", "conv 3 k3 p1", "rotate=30 flip"),
    "signal": ("2x40 map", HEAD, "stretch=0.2 mask=8 flip noise=0.1"),
    "volume": ("1x6x8x7", HEAD, "shift=1 vflip scale=0.1"),
}


def view_of(given, text, augment):
    net, rng = compile_text(f"input {given}\n{text}\ntrain {{ {augment}, batch 8 }}"), np.random.default_rng(0)
    takes, gives = net.graph.input_type, net.graph.output_type
    x = rng.integers(0, 256, (40, *takes.sizes), np.uint8) if takes.is_image else rng.normal(size=(40, *takes.sizes))
    x = x if takes.is_image else x.astype(np.float32)
    y = rng.integers(0, 3, (40, *gives.space))
    data = Dataset("drawn", x, y, x, y, ("a", "b", "c"), (0.5,), (0.25,), layout=takes.layout)
    return RunView(None, net, net.build(seed=1), data, History(ROWS), "last")


@pytest.mark.parametrize("name", RUNS)
def test_the_picture_shows_each_kind_of_sample_where_it_is_asked_for(name):
    given, text, augment = RUNS[name]
    view = view_of(given, text, f"augment {augment}")
    assert "augmentation" in fitting_kinds(view) and "augmentation" not in usual_kinds(view)
    figure = draw("augmentation", view)
    said = words(figure)
    assert {"stored", "epoch 1", "epoch 4"} <= set(said) and f"augment {augment}" in " ".join(" ".join(said).split())
    assert sum(word.startswith("sample ") for word in said) == (8 if view.net.graph.input_type.is_image else 4)
    assert overhang(figure) < 0.01 and figure.get_size_inches()[1] <= 12


@pytest.mark.parametrize("name", ["grey", "masks", "signal", "volume"])
def test_what_is_shown_is_what_training_saw(name):
    given, text, augment = RUNS[name]
    view = view_of(given, text, f"augment {augment}")
    feed = Feed(view.dataset, view.net.recipe)
    batch = feed.batch(2, 1)
    stages = seen_in_epochs(feed, batch.rows, 2)
    assert len(stages) == 3 and np.array_equal(stages[0][0], view.dataset.x_train[batch.rows])
    rounding = 0.5 / 255 / 0.25 if view.dataset.x_train.dtype == np.uint8 else 0
    np.testing.assert_allclose(feed.data.normalized(stages[2][0]), batch.x, rtol=0, atol=rounding + 1e-6)
    assert np.array_equal(stages[2][1], batch.y)


def test_mixed_samples_are_shown_mixed():
    view = view_of("1x8x8", HEAD, "augment cutmix=1")
    feed = Feed(view.dataset, view.net.recipe)
    (stored, _), *epochs = seen_in_epochs(feed, feed.rows[:8], 4)
    assert any(not np.array_equal(x, stored) for x, _ in epochs)
    assert all(x.dtype == np.uint8 and (np.sort(x, axis=0) == np.sort(stored, axis=0)).all() for x, _ in epochs)


def test_a_run_without_augmentation_has_no_such_picture():
    with pytest.raises(UserError, match=r"has no plot `augmentation`: its training changed no samples \(`augment`\)"):
        draw("augmentation", view_of("1x8x8", HEAD, "epochs 1"))
