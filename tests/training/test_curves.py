"""PyTorch and NumPy train alike: from one seed the loss of every step is the same, but for what rounding makes of it.

Training is chaotic: a max pool or a ReLU that decides the other way in the last bit, Adam, which divides by the size of
a gradient that may be zero but for rounding, and a large learning rate carry a difference on and make it larger from
step to step. NumPy's own levels add in other orders, so that they part as well: until then PyTorch is with them. In
float64 most specs do not part in 100 steps, where all differ by 1e-12 at most; resnet20, at lr 0.1, does in ten.
"""

from dataclasses import replace

import numpy as np
import pytest
from conftest import SPECS
from curves import STEPS, Way, difference, losses, prepared
from small_runs import DATA, changed_net

TORCH, FAST, TEXTBOOK = Way("torch"), Way("numpy", 2), Way("numpy", 0)
SHORT = ("spiral_mlp", "tiny_cnn")  # a second for 100 steps
TOO_LARGE = ("gpt2",)  # for 100 steps of five networks
TRAINABLE = [p for p in SPECS if "\ntrain" in p.read_text(encoding="utf-8") and p.stem not in TOO_LARGE]
SLOW = pytest.mark.slow("curves of the larger specs")


CASES = [pytest.param(p, id=p.stem, marks=() if p.stem in SHORT else SLOW) for p in TRAINABLE]


def doubled(way):
    return Way(way.target, way.level, "float64")


def test_there_are_specs_to_train():
    assert {"lenet", "bn_cnn", "resnet20", "unet_small", "mnist1d_cnn", *SHORT} <= {path.stem for path in TRAINABLE}


def curves_of(path, dtype):
    """The losses under PyTorch, -O2 and -O0; the larger specs have smaller batches."""
    net, data = prepared(path)
    if path.stem not in SHORT:
        net = net.with_recipe(replace(net.recipe, batch=min(net.recipe.batch, 4)))
    ours, fast, textbook = (losses(net, data, Way(way.target, way.level, dtype))[0] for way in (TORCH, FAST, TEXTBOOK))
    print(
        f"\n{path.stem}, {dtype}: PyTorch and -O2 differ by {difference(ours, fast):.1e}, PyTorch and -O0 by "
        f"{difference(ours, textbook):.1e}, -O2 and -O0 by {difference(fast, textbook):.1e} at most"
    )
    return ours, fast, textbook


def assert_alike_at_the_end(ours, fast, textbook):
    """Whatever chance makes of single steps, the mean of many is that of one network which learns from one data set."""
    for other in (fast, textbook):
        np.testing.assert_allclose(ours[-25:].mean(), other[-25:].mean(), rtol=0.5)


@pytest.mark.parametrize("path", CASES)
def test_in_float64_every_step_has_the_loss_that_numpy_has(path):
    ours, fast, textbook = curves_of(path, "float64")
    parted = np.maximum.accumulate(np.abs(fast - textbook) / textbook) > 1e-10
    assert not parted[0]
    for other in (fast, textbook):  # where it grows tenfold a step, they part within three steps of each other
        assert np.all((np.abs(ours - other) / other)[~parted] <= 1e-7)
    assert_alike_at_the_end(ours, fast, textbook)


@pytest.mark.parametrize("path", CASES)
def test_in_float32_the_curves_begin_as_one_and_end_alike(path):
    """In between a max pool or a ReLU may decide the other way in any of them, on any processor at another step."""
    ours, fast, textbook = curves_of(path, "float32")
    for other in (fast, textbook):
        np.testing.assert_allclose(ours[:2], other[:2], rtol=1e-3)
    assert_alike_at_the_end(ours, fast, textbook)


@pytest.mark.parametrize("path", [path for path in TRAINABLE if path.stem in SHORT], ids=lambda path: path.stem)
def test_where_nothing_grows_all_weights_are_those_of_numpy(path):
    net, data = prepared(path)
    (ours, weights), (theirs, others) = (losses(net, data, doubled(way)) for way in (TORCH, FAST))
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)  # measured: 1e-14
    for name, array in others.items():
        np.testing.assert_allclose(weights[name], array, rtol=1e-6, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_so_it_does_with_dropout_averages_clipping_augmentation_and_a_schedule(optimizer):
    net = changed_net(optimizer, epochs=STEPS, augment={"shift": 1, "flip": True, "mixup": 0.2}, schedule="cosine")
    ours, theirs = (losses(net, DATA, doubled(way)) for way in (TORCH, TEXTBOOK))
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-9, atol=1e-9)
    for name, array in theirs[1].items():
        np.testing.assert_allclose(ours[1][name], array, rtol=1e-6, atol=1e-8, err_msg=name)
