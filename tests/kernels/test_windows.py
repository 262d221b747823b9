"""The kernels that slide windows over signals, images and volumes, against PyTorch's."""

import numpy as np
import pytest

from netdsl.kernels.transposed import transposed_backward, transposed_forward
from netdsl.layers.conv import conv_backward, conv_forward
from netdsl.layers.pool import pool_backward, pool_forward

torch = pytest.importorskip("torch")
F = torch.nn.functional

SETTINGS = {  # space, kernel_size, stride, padding, dilation
    "signal": ((11,), (3,), (2,), (1,), (2,)),
    "image": ((7, 9), (3, 2), (1, 2), (1, 0), (1, 1)),
    "volume": ((5, 6, 7), (3, 2, 3), (2, 1, 1), (1, 0, 1), (1, 2, 1)),
}
CLOSE = {"rtol": 1e-10, "atol": 1e-12}  # float64, sums of at most a hundred numbers near 1


def drawn(*shape):
    return np.random.default_rng(0).standard_normal(shape)


def gradients(function, *arrays):
    """y, the gradient by y, and those by the arrays, of a PyTorch function."""
    leaves = [torch.tensor(array, requires_grad=True) for array in arrays]
    y = function(*leaves)
    dy = drawn(*y.shape)
    y.backward(torch.from_numpy(dy))
    return y.detach().numpy(), dy, [leaf.grad.numpy() for leaf in leaves]


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("groups", [1, 2])
def test_convolution_is_pytorch_s(settings, groups):
    space, kernel_size, stride, padding, dilation = settings
    torchs = getattr(F, f"conv{len(space)}d")
    arrays = drawn(2, 4, *space), drawn(6, 4 // groups, *kernel_size), drawn(6)
    expected, dy, grads = gradients(lambda *given: torchs(*given, stride, padding, dilation, groups), *arrays)
    y, saved = conv_forward(*arrays, stride, tuple((p, p) for p in padding), dilation, groups)
    dx, own = conv_backward(dy, saved)
    for actual, wanted in zip((y, dx, own["weight"], own["bias"]), (expected, *grads), strict=True):
        np.testing.assert_allclose(actual, wanted, **CLOSE)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolution_is_pytorch_s(settings, groups):
    space, kernel_size, stride, padding, dilation = settings
    more = tuple(max(s, d) - 1 for s, d in zip(stride, dilation, strict=True))  # as much output padding as there may be
    torchs = getattr(F, f"conv_transpose{len(space)}d")
    arrays = drawn(2, 4, *space), drawn(4, 6 // groups, *kernel_size), drawn(6)
    expected, dy, grads = gradients(lambda *given: torchs(*given, stride, padding, more, groups, dilation), *arrays)
    y, saved = transposed_forward(*arrays, stride, padding, more, dilation, groups)
    dx, own = transposed_backward(dy, saved)
    for actual, wanted in zip((y, dx, own["weight"], own["bias"]), (expected, *grads), strict=True):
        np.testing.assert_allclose(actual, wanted, **CLOSE)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_maximum_pooling_is_pytorch_s(settings):
    space, kernel_size, stride, padding, dilation = settings
    torchs = getattr(F, f"max_pool{len(space)}d")
    x = drawn(2, 4, *space)
    expected, dy, (wanted,) = gradients(lambda given: torchs(given, kernel_size, stride, padding, dilation), x)
    y, saved = pool_forward(x, kernel_size, stride, tuple((p, p) for p in padding), dilation)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_allclose(pool_backward(dy, saved)[0], wanted, **CLOSE)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_one_number_stands_for_all_axes(settings):
    space, kernel_size = settings[:2]
    axes = len(space)
    x, weight = drawn(2, 4, *space), drawn(6, 4, *kernel_size)
    y, _ = conv_forward(x, weight, None, stride=2, padding=2, dilation=2)
    along_each, _ = conv_forward(x, weight, None, (2,) * axes, ((2, 2),) * axes, (2,) * axes)
    assert y.tobytes() == along_each.tobytes()
    assert pool_forward(x, kernel_size, 2)[0].tobytes() == pool_forward(x, kernel_size, (2,) * axes)[0].tobytes()
