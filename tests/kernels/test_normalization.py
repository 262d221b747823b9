"""A network with a mean and std computes (x - mean) / std first, wherever it runs, of bytes and of floats."""

from contextlib import closing

import numpy as np
import pytest

from netdsl.kernels.normalization import normalize, normalize_backward
from netdsl.pipeline import compile_text, run_module

MAP = "input 3x6x5 mean (0.5, -1, 0.1) std (0.5, 2, 3)\nid -> flatten\ntrain { loss mse }"
VECTOR = "input 4 mean (1, 2, 3, -4) std 0.7\nid\ntrain { loss mse }"
TOKENS = "input 5x3 mean 0.1307 std (1, 2, 4)\nid -> flatten\ntrain { loss mse }"
PLAIN = "input 2x3x3\nid -> flatten\ntrain { loss mse }"


def expected(net, x):
    """In float64, by the definition; 1e-7 is what float32 makes of a constant."""
    axes = (-1, 1, 1) if len(net.graph.input_shape) == 3 else (-1,)
    mean, std = (np.array(numbers).reshape(axes) for numbers in (net.graph.mean or (0,), net.graph.std or (1,)))
    return ((x - mean) / std).reshape(len(x), -1)


def networks(net, dtype="float32"):
    """Every NumPy network of it."""
    yield net.build(dtype=dtype)
    for level in (0, 1, 2):
        options = {"workers": 2} if level else {}
        yield net.numpy_model(dtype=dtype, level=level, **options)


@pytest.mark.parametrize("text", [MAP, VECTOR, TOKENS, PLAIN])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_numpy_network_normalises_floats_and_bytes(text, dtype):
    net = compile_text(text)
    x = np.random.default_rng(0).integers(0, 256, (7, *net.graph.input_shape), np.uint8)
    wanted = expected(net, x / 255)
    for model in networks(net, dtype):
        for given in (x, x / 255, (x / 255).astype(np.float32)):
            np.testing.assert_allclose(model.forward(given), wanted, rtol=2e-6, atol=2e-6)  # float32
        model.close()


@pytest.mark.parametrize("text", [MAP, VECTOR, TOKENS])
def test_the_torch_module_normalises_floats_and_bytes_and_keeps_the_names_of_its_state(text):
    torch = pytest.importorskip("torch")
    net = compile_text(text)
    module = run_module(net.torch_source(), "module").Model()
    assert list(module.state_dict()) == [name for name, _ in net.graph.param_specs()] == []
    x = np.random.default_rng(0).integers(0, 256, (7, *net.graph.input_shape), np.uint8)
    wanted = expected(net, x / 255)
    for given in (x, (x / 255).astype(np.float32)):
        np.testing.assert_allclose(module(torch.from_numpy(given)).numpy(), wanted, rtol=2e-6, atol=2e-6)  # float32
    np.testing.assert_allclose(module.double()(torch.from_numpy(x / 255)).numpy(), wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("text", [MAP, VECTOR, TOKENS])
def test_the_gradient_by_the_input_is_that_by_the_raw_input(text):
    net = compile_text(text)
    x = np.random.default_rng(1).standard_normal((2, *net.graph.input_shape))
    dy = np.random.default_rng(2).standard_normal((2, *net.graph.output_shape))
    for model in (net.build(dtype="float64"), net.numpy_model(dtype="float64")):
        model.logits(x, training=True)
        dx, _ = model.backward(dy)
        step = 1e-6 * dx
        moved = model.logits(x + step) - model.logits(x - step)  # linear: exact but for rounding
        np.testing.assert_allclose((dy * moved).sum(), 2e-6 * (dx**2).sum(), rtol=1e-8)


def test_a_network_at_O2_sees_the_very_numbers_of_the_textbook():
    net = compile_text(MAP)
    x = np.random.default_rng(0).standard_normal((9, 3, 6, 5)).astype(np.float32)
    with closing(net.numpy_model(level=2, workers=2)) as model:
        assert model.forward(x).tobytes() == net.numpy_model().forward(x).tobytes()


def test_a_label_may_be_called_as_the_buffers_are():
    torch = pytest.importorskip("torch")
    net = compile_text("input 2 mean 1 std 2\ninput_mean: linear 2 -> input_std_: linear 2 -> normalize: linear 2")
    module = run_module(net.torch_source(), "module").Model()
    names = [name for name, _ in net.graph.param_specs()]
    assert list(module.state_dict()) == names
    state = {name: torch.from_numpy(array) for name, array in net.build().params.items()}
    module.load_state_dict(state)
    x = np.random.default_rng(0).standard_normal((3, 2)).astype(np.float32)
    with torch.no_grad():
        found = module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, net.numpy_model().forward(x), rtol=1e-5, atol=1e-6)  # float32


def test_bytes_are_parts_of_255_for_a_network_without_a_mean_too():
    network = compile_text("input 1x1x2\nflatten").build()
    x = np.array([[[[0, 255]]]], np.uint8)
    assert network.check_input(x).tolist() == [[[[0.0, 1.0]]]]
    assert network.check_input(x.astype(np.int64)).tolist() == [[[[0.0, 255.0]]]]
    assert network.check_input(network.check_input(x)).tolist() == [[[[0.0, 1.0]]]]


def test_the_constants_are_those_of_float32_in_float64_too():
    x = np.zeros((1, 1), np.float64)
    assert normalize(x, (0.1,), (1.0,)).item() == -float(np.float32(0.1))
    assert normalize_backward(np.ones((1, 1)), (0.1,)).item() == 1 / float(np.float32(0.1))
