"""The quick activations compute what the textbook kernels of their layers compute, at the ends of the numbers too."""

import importlib

import numpy as np
import pytest

from netdsl.kernels import activations

QUICK = [
    ("leaky", (0.1,), activations.quick_leaky_forward, activations.quick_leaky_backward),
    ("leaky", (1.5,), activations.quick_leaky_forward, activations.quick_leaky_backward),
    ("leaky", (-0.5,), activations.quick_leaky_forward, activations.quick_leaky_backward),
    ("sigmoid", (), activations.quick_sigmoid_forward, None),
    ("silu", (), activations.quick_silu_forward, None),
    ("hardswish", (), activations.quick_hardswish_forward, activations.quick_hardswish_backward),
    ("gelu", (), activations.quick_gelu_forward, activations.quick_gelu_backward),
]


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-14), ("float32", 3e-7)])
@pytest.mark.parametrize("name, arguments, forward, backward", QUICK, ids=lambda value: str(value)[:12])
def test_quick_activations_agree(name, arguments, forward, backward, dtype, tolerance):
    layer = importlib.import_module(f"netdsl.layers.{name}").LAYER
    x = np.concatenate([np.linspace(-12, 12, 4801), [1e-30, -1e-30, 300, -300, 3e4, -3e4, 0, -3, 3]])
    exact, saved = layer.forward(x, *arguments)
    dy = np.random.default_rng(0).standard_normal(x.shape)
    exact_dx, _ = layer.backward(dy, saved)
    given = (activations.scaled_erfc_series(9),) if name == "gelu" else arguments
    y, saved = forward(x.astype(dtype), *given)
    dx, _ = (backward or layer.backward)(dy.astype(dtype), saved)
    assert y.dtype == dx.dtype == dtype
    np.testing.assert_allclose(y, exact, rtol=tolerance, atol=tolerance * 4)  # steps of numbers up to 12
    np.testing.assert_allclose(dx, exact_dx, rtol=tolerance, atol=tolerance * 4)


@pytest.mark.parametrize("name, arguments, forward, backward", QUICK, ids=lambda value: str(value)[:12])
def test_nan_stays_nan(name, arguments, forward, backward):
    x = np.array([np.nan, 1], "float32")
    y, _ = forward(x, *((activations.scaled_erfc_series(9),) if name == "gelu" else arguments))
    assert np.isnan(y[0]) and np.isfinite(y[1])
