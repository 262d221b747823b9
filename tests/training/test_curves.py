"""PyTorch and NumPy train alike: from one seed the loss of every step is the same, but for what rounding makes of it.

In float64 that is nothing: 1e-10 and less after 100 steps, of every spec that has a train block. In float32 a training
is chaotic: a max pool or a ReLU that decides the other way in the last bit, and Adam, which divides by the size of a
gradient that may be zero but for rounding, carry a difference of 1e-7 on from step to step. NumPy's own levels, whose
sums have other orders, then differ as much from each other as from PyTorch; where the two agree, PyTorch does.
"""

import numpy as np
import pytest
from conftest import SPECS
from curves import STEPS, Way, difference, losses, prepared
from small_runs import DATA, changed_net

TORCH, FAST, TEXTBOOK = Way("torch"), Way("numpy", 2), Way("numpy", 0)
SHORT = ("spiral_mlp", "tiny_cnn")  # a second for 100 steps
TRAINABLE = [path for path in SPECS if "\ntrain" in path.read_text(encoding="utf-8")]
SLOW = pytest.mark.slow("curves of the larger specs")


CASES = [pytest.param(p, id=p.stem, marks=() if p.stem in SHORT else SLOW) for p in TRAINABLE]


def doubled(way):
    return Way(way.target, way.level, "float64")


def test_there_are_specs_to_train():
    assert {"lenet", "bn_cnn", "resnet20", "unet_small", "mnist1d_cnn", *SHORT} <= {path.stem for path in TRAINABLE}


@pytest.mark.parametrize("path", CASES)
def test_in_float64_every_step_has_the_loss_that_numpy_has(path):
    net, data = prepared(path)
    ours, weights = losses(net, data, doubled(TORCH))
    for way in (FAST, TEXTBOOK) if path.stem in SHORT else (FAST,):
        theirs, others = losses(net, data, doubled(way))
        print(f"\n{path.stem}: PyTorch and {doubled(way).title} differ by {difference(ours, theirs):.1e} at most")
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)  # measured: 1e-12 and less
        for name, array in others.items():
            np.testing.assert_allclose(weights[name], array, rtol=1e-6, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_so_it_does_with_dropout_averages_clipping_augmentation_and_a_schedule(optimizer):
    net = changed_net(optimizer, epochs=STEPS, augment={"shift": 1, "flip": True, "mixup": 0.2}, schedule="cosine")
    ours, theirs = (losses(net, DATA, doubled(way)) for way in (TORCH, TEXTBOOK))
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-9, atol=1e-9)
    for name, array in theirs[1].items():
        np.testing.assert_allclose(ours[1][name], array, rtol=1e-6, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("path", CASES)
def test_in_float32_the_curves_are_one_until_rounding_parts_them(path):
    net, data = prepared(path)
    curves = {way: losses(net, data, way)[0] for way in (TORCH, FAST, TEXTBOOK)}
    ours, fast, textbook = curves.values()
    print(
        f"\n{path.stem}: PyTorch and -O2 differ by {difference(ours, fast):.1e}, PyTorch and -O0 by "
        f"{difference(ours, textbook):.1e}, -O2 and -O0 by {difference(fast, textbook):.1e} at most"
    )
    for other in (fast, textbook):
        np.testing.assert_allclose(ours[:10], other[:10], rtol=1e-3)
        # what is left of chaos in the mean of many steps
        np.testing.assert_allclose(ours[-25:].mean(), other[-25:].mean(), rtol=0.05)
