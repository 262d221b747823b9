"""erf, sigmoid, softplus against the math module, and without warnings at the edges."""

import math

import numpy as np
import pytest

from netdsl.kernels.stable import erf, sigmoid, softplus

EDGES = np.array([-1e4, -710.0, -50.0, -6.0, -1e-8, 0.0, 1e-300, 1.0, 6.0, 50.0, 710.0, 1e4])


@pytest.mark.parametrize(("dtype", "error"), [(np.float64, 1e-13), (np.float32, 1e-6)])
def test_erf_equals_that_of_the_math_module(dtype, error):
    x = np.concatenate([EDGES, np.linspace(-7, 7, 5001)]).astype(dtype)
    y = erf(x)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, [math.erf(value) for value in x.tolist()], rtol=0, atol=error)
    assert np.isnan(erf(np.array([np.nan], dtype))).all()


def test_sigmoid_and_softplus_do_not_overflow():
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_allclose(
            sigmoid(EDGES), [1 / (1 + math.exp(-x)) if x > -700 else 0.0 for x in EDGES.tolist()], atol=1e-300
        )
        np.testing.assert_allclose(softplus(EDGES), [max(x, 0) + math.log1p(math.exp(-abs(x))) for x in EDGES.tolist()])
