"""What tests share that put the module at -O2 beside that at -O0."""

import os

import numpy as np
import pytest

from netdsl.pipeline import compile_text
from netdsl.verify.batches import random_batch

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
KINDS = ["threads", pytest.param("processes", marks=needs_fork)]


def assert_twins(text, samples=5, workers=1, block=None, tolerance=1e-10):
    """In float64, by the same params: the same output at inference, and in training the same output and gradients."""
    net = compile_text(text)
    slow = net.numpy_model(dtype="float64")
    fast = net.numpy_model(dtype="float64", level=2, workers=workers, kind="threads")
    if block is not None:
        fast.block = block
    rng = np.random.default_rng(0)
    for found, given in ((fast.params, slow.params), (fast.buffers, slow.buffers)):
        for name, array in given.items():
            array += 0.1 * rng.random(array.shape)
            found[name][...] = array
    x, given = rng.standard_normal((samples, *net.graph.input_shape)), net.graph.input_type
    x = rng.integers(0, given.limit, x.shape) if given.is_ids else x
    assert_near(fast.logits(x), slow.logits(x), tolerance, "inference")
    slow.rng, fast.rng = (np.random.default_rng(1) for _ in range(2))
    y, found = (model.logits(x, training=True) for model in (slow, fast))
    assert_near(found, y, tolerance, "training")
    dy = rng.standard_normal(y.shape)
    (_, grads), (_, found) = (model.backward(dy.copy()) for model in (slow, fast))
    largest = max(np.abs(grad).max() for grad in grads.values())
    for name, grad in grads.items():  # a bias before bn has none but for rounding, which is that of the large ones
        assert_near(found[name], grad, tolerance, name, largest / 10)
    fast.close()


def assert_near(found, expected, tolerance, what, least=1e-3):
    """Equal up to `tolerance` of the largest number, or of `least`."""
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=tolerance * max(least, np.abs(expected).max()), err_msg=what
    )


def twins(net, dtype="float64", workers=2, block=3, kind="threads", seed=0):
    """The modules at -O0 and at -O2 with the same params and buffers, none of them a special number."""
    slow = net.numpy_model(seed, dtype)
    fast = net.numpy_model(seed, dtype, level=2, workers=workers, kind=kind)
    fast.block = block
    rng = np.random.default_rng(3)
    for given, found in ((slow.params, fast.params), (slow.buffers, fast.buffers)):
        for name, array in given.items():
            array += 0.05 * rng.random(array.shape)
            found[name][...] = array
    return slow, fast


def near(found, expected, tolerance, what, noise=0.0):
    """Within `tolerance` of the largest number, plus `noise`."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, what
    assert np.array_equal(np.isfinite(found), np.isfinite(expected)), what
    difference = np.abs(found - expected, where=np.isfinite(expected), out=np.zeros(expected.shape)).max(initial=0.0)
    largest = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    assert difference <= tolerance * largest + noise, f"{what}: {difference} of {largest}"


def near_all(found, expected, tolerance, what):
    """Dictionaries of arrays; what is zero but for rounding may differ by rounding of the largest."""
    assert sorted(found) == sorted(expected), what
    noise = tolerance / 100 * max((np.abs(a).max(initial=0.0) for a in expected.values()), default=0.0)
    for name, array in expected.items():
        near(found[name], array, tolerance, f"{what} {name}", noise)


def batch(net, size, seed=0, dtype="float64"):
    x, y = random_batch(net, size, seed)
    return x.astype(dtype), y if np.issubdtype(y.dtype, np.integer) else y.astype(dtype)
