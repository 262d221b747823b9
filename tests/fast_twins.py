"""What tests of stages share: the module at -O2 beside that at -O0."""

import numpy as np

from netdsl.pipeline import compile_text


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
    x = rng.standard_normal((samples, *net.graph.input_shape))
    assert_near(fast.logits(x), slow.logits(x), tolerance, "inference")
    slow.rng, fast.rng = (np.random.default_rng(1) for _ in range(2))
    y, found = (model.logits(x, training=True) for model in (slow, fast))
    assert_near(found, y, tolerance, "training")
    dy = rng.standard_normal(y.shape)
    (_, grads), (_, found) = (model.backward(dy.copy()) for model in (slow, fast))
    for name, grad in grads.items():
        assert_near(found[name], grad, tolerance, name)
    fast.close()


def assert_near(found, expected, tolerance, what):
    """Equal up to `tolerance` of the largest number."""
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=tolerance * max(1e-3, np.abs(expected).max()), err_msg=what
    )
