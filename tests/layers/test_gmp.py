"""`gmp` where several places hold the maximum, and where one holds NaN: as PyTorch, at every level."""

import numpy as np
import pytest

from netdsl.pipeline import compile_text

torch = pytest.importorskip("torch")
running = pytest.importorskip("netdsl.targets.torch.running")


@pytest.mark.parametrize("shape", ["3x5x4", "2x1x1", "4x1x7"])
def test_the_first_of_equal_maxima_gets_the_gradient(shape):
    net = compile_text(f"input {shape}\nid -> gmp\ntrain {{ loss mse }}")
    rng = np.random.default_rng(0)
    x = rng.integers(-1, 2, (6, *net.graph.input_shape)).astype(np.float64)
    network = net.build(dtype="float64")
    inputs = torch.from_numpy(x.copy()).requires_grad_()
    expected = running.torch_model(net, network)(inputs)
    dy = rng.standard_normal(expected.shape)
    expected.backward(torch.from_numpy(dy))
    assert np.array_equal(network.forward(x), expected.detach().numpy())
    assert np.array_equal(network.backward(dy)[0], inputs.grad.numpy())


def test_the_fast_module_sends_the_gradient_of_equal_maxima_to_the_first_one_too():
    net = compile_text("input 1x3x5\nconv 4 k1 nobias -> relu -> gmp -> linear 2\ntrain { loss mse }")
    slow, fast = net.numpy_model(dtype="float64"), net.numpy_model(dtype="float64", level=2)
    for name, array in slow.params.items():
        fast.params[name][...] = array
    x = np.random.default_rng(1).integers(-1, 2, (7, 1, 3, 5)).astype(np.float64)
    y = slow.logits(x, training=True)
    np.testing.assert_allclose(fast.logits(x, training=True), y, rtol=1e-12)
    expected, found = slow.backward(y.copy())[1], fast.backward(y.copy())[1]
    for name, grad in expected.items():
        np.testing.assert_allclose(found[name], grad, rtol=1e-12, atol=1e-14, err_msg=name)


def test_nan_is_the_maximum():
    x = np.zeros((1, 2, 3, 3))
    x[0, 1, 2, 0] = np.nan
    net = compile_text("input 2x3x3\ngmp\ntrain { loss mse }")
    found = [net.build(dtype="float64").forward(x), net.numpy_model(dtype="float64", level=2).forward(x)]
    for y in found:
        assert np.array_equal(y, [[0, np.nan]], equal_nan=True)
