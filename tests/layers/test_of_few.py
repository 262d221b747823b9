"""What layers compute few tokens with, and what they keep of earlier ones."""

import numpy as np
import pytest

from netdsl.kernels.arrays import Array
from netdsl.layers import layer_table
from netdsl.layers.gelu import gelu_forward, gelu_of_few
from netdsl.layers.ln import ln_forward, ln_of_few
from netdsl.layers.mha import appended, attention_go_on

RNG = np.random.default_rng(0)
X = 4 * RNG.standard_normal((2, 3, 8))
CLOSE = {"float32": 1e-6, "float64": 1e-14}  # some roundings of numbers up to ten


def test_which_layers_have_a_kernel_for_few_tokens():
    layers = [known for layer in layer_table().values() for known in (layer, *layer.variants)]
    having = [layer for layer in layers if layer.of_few is not None]
    assert {layer.name for layer in having} == {"gelu", "ln"} and all(layer.by_token for layer in having)
    assert {layer.forward for layer in having} == {gelu_forward, ln_forward}  # that of `gelu tanh` is another


@pytest.mark.parametrize("dtype", CLOSE)
def test_gelu_of_few_is_gelu(dtype):
    x = np.concatenate([X.ravel(), [0, -30, 30, 1e4, -1e4]]).astype(dtype)
    y = gelu_of_few(x)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, gelu_forward(x)[0], rtol=CLOSE[dtype], atol=CLOSE[dtype])


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("has", [(True, True), (True, False), (False, False)])
def test_ln_of_few_is_ln(dtype, has):
    weight, bias = (RNG.standard_normal(8).astype(dtype) if given else None for given in has)
    y = ln_of_few(X.astype(dtype), weight, bias, eps=1e-3)
    assert y.dtype == dtype
    expected = ln_forward(X.astype(dtype), weight, bias, eps=1e-3, axis=2)[0]
    np.testing.assert_allclose(y, expected, rtol=CLOSE[dtype], atol=CLOSE[dtype])


def test_a_buffer_grows_and_keeps_what_it_has():
    tokens: Array = RNG.standard_normal((1, 2, 1, 200, 4))
    buffer, at, sizes = tokens[:, :, :, :0], 0, set()
    for count in (1, 5, 1, 90, 1, 102):
        buffer = appended(buffer, tokens[:, :, :, at : at + count], at)
        at += count
        sizes.add(buffer.shape[3])
        assert np.array_equal(buffer[:, :, :, :at], tokens[:, :, :, :at])
    assert sizes == {64, 194, 400}


def test_attention_writes_new_keys_into_the_buffers_it_has():
    weight = RNG.standard_normal((24, 8))
    _, first = attention_go_on(X, weight, None, weight[:8], None, 2, 2, None)
    _, second = attention_go_on(X[:, :1], weight, None, weight[:8], None, 2, 2, first)
    assert (first[2], second[2]) == (3, 4) and second[0] is first[0] and second[1] is first[1]
