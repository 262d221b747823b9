"""The quick activations compute what the textbook kernels of their layers compute, at the ends of the numbers too."""

import importlib
import math

import numpy as np
import pytest
from alone import Alone, textbook

from netdsl.graph.types import map_of
from netdsl.layers import layer_table
from netdsl.layers.contract import REQUIRED
from netdsl.pipeline import compile_text
from netdsl.stages import activations
from netdsl.stages.gelu import normal_distribution
from netdsl.stages.pointwise import Pointwise
from netdsl.stages.prelu import Prelu
from netdsl.stages.relu import Relu

QUICK = [
    ("leaky", (0.1,), activations.quick_leaky_forward, activations.quick_leaky_backward),
    ("leaky", (1.5,), activations.quick_leaky_forward, activations.quick_leaky_backward),
    ("leaky", (-0.5,), activations.quick_leaky_forward, activations.quick_leaky_backward),
    ("sigmoid", (), activations.quick_sigmoid_forward, None),
    ("silu", (), activations.quick_silu_forward, None),
    ("hardswish", (), activations.quick_hardswish_forward, activations.quick_hardswish_backward),
]


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-14), ("float32", 3e-7)])
@pytest.mark.parametrize("name, arguments, forward, backward", QUICK, ids=lambda value: str(value)[:12])
def test_quick_activations_agree(name, arguments, forward, backward, dtype, tolerance):
    layer = importlib.import_module(f"netdsl.layers.{name}").LAYER
    x = np.concatenate([np.linspace(-12, 12, 4801), [1e-30, -1e-30, 300, -300, 3e4, -3e4, 0, -3, 3]])
    exact, saved = layer.forward(x, *arguments)
    dy = np.random.default_rng(0).standard_normal(x.shape)
    exact_dx, _ = layer.backward(dy, saved)
    y, saved = forward(x.astype(dtype), *arguments)
    dx, _ = (backward or layer.backward)(dy.astype(dtype), saved)
    assert y.dtype == dx.dtype == dtype
    np.testing.assert_allclose(y, exact, rtol=tolerance, atol=tolerance * 4)  # steps of numbers up to 12
    np.testing.assert_allclose(dx, exact_dx, rtol=tolerance, atol=tolerance * 4)


@pytest.mark.parametrize("name, arguments, forward, backward", QUICK, ids=lambda value: str(value)[:12])
def test_nan_stays_nan(name, arguments, forward, backward):
    x = np.array([np.nan, 1], "float32")
    y, _ = forward(x, *arguments)
    assert np.isnan(y[0]) and np.isfinite(y[1])


TAILS = [0.0, 1e-45, 1e-40, 1e-30, 1e-8, 0.5, 3, 6, 9, 12, 13, 14.5, 17, 19.9, 20.1, 30, 50, 87, 89, 100, 104, 300, 745]
TAILS = np.array([*TAILS, 1e4, 1e10, 1e19, 2e19, 1e30, 5e37, np.inf])


def is_pointwise(layer):
    """Whether its stage works on each number by itself: layers to come are tested by being there."""
    needs_more = layer.resolve is not None or any(attr.default is REQUIRED for attr in layer.attrs)
    if layer.stages is None or layer.num_inputs != 1 or needs_more:
        return False
    if layer.ties:
        return False
    calls = layer.stages({attr.name: attr.default for attr in layer.attrs}, map_of(4, 1, 1))
    return any(issubclass(call.kernel, (Pointwise, Relu, Prelu)) for call in calls)


POINTWISE = [name for name, layer in layer_table().items() if is_pointwise(layer)]


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("name", POINTWISE)
def test_the_tails_are_those_of_pytorch(name, dtype, tolerance):
    """Textbook and stage against PyTorch in float64, from the smallest number to the largest and infinity.

    The tolerance is of each value, and two roundings of 1 beside it; PyTorch has NaN for some gradients at infinity.
    """
    torch = pytest.importorskip("torch")
    torch_model = pytest.importorskip("netdsl.targets.torch.running").torch_model
    x = np.concatenate([TAILS, -TAILS])[None].astype(dtype)
    net = compile_text(f"input {x.size}\n{name}\ntrain {{ loss mse }}")
    module = torch_model(net, net.build(dtype="float64"))
    given = torch.from_numpy(x.astype(np.float64)).requires_grad_()
    y = module(given)
    y.sum().backward()
    right = {"y": y.detach().numpy(), "dx": given.grad.numpy()}
    (call,) = layer_table()[name].stages(net.graph.nodes[0].attrs, net.graph.input_type)
    with np.errstate(all="ignore"):
        stage = Alone(net, call, dtype, in_order=lambda array: array)
        for found in (textbook(net, x, np.ones_like(x), dtype), stage.both_passes(x, np.ones_like(x))):
            for what, array in right.items():
                near = 2 * np.finfo(dtype).eps
                np.testing.assert_allclose(found[what], array, rtol=tolerance, atol=near, err_msg=f"{what} of {name}")
        stage.close()


def test_gelu_in_float32_is_exact_but_for_rounding():
    """Beside erf in float64, from where nothing is left to where all is: 2e-7 are some roundings of numbers below 1."""
    x = np.linspace(-12, 12, 40001).astype("float32")
    phi = np.empty_like(x)
    normal_distribution(x, np.square(x), phi, np.empty_like(x))
    expected = 0.5 + 0.5 * np.array([math.erf(number / 2**0.5) for number in x.tolist()])
    assert np.abs(phi - expected).max() < 2e-7
    assert np.abs((phi - expected) * x)[x < 0].max() < 2e-7
    far = np.array([-np.inf, -1e30, -30, 30, 1e30, np.inf], "float32")
    with np.errstate(over="ignore"):
        normal_distribution(far, np.square(far), phi[:6], np.empty_like(far))
    assert phi[:6].tolist() == [0, 0, 0, 1, 1, 1]
