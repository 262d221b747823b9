"""The modules at -O0 and -O2 side by side, for tests that compare them."""

import os

import numpy as np
import pytest

from netdsl.verify import random_batch

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
KINDS = ["threads", pytest.param("processes", marks=needs_fork)]


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
