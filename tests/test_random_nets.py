"""Random networks compute the same in interpreter, both NumPy modules and PyTorch: outputs, loss, every gradient.

`pytest tests/test_random_nets.py --nets 10000` tries as many others, drawn anew each time.
"""

import warnings
from functools import cache

import numpy as np
import pytest
from drawing import drawn
from hypothesis import given, strategies
from random_nets import specs

from netdsl.layers import layer_table
from netdsl.pipeline import compile_text
from netdsl.verify.agreement import largest_gradient, numpy_run, random_batch, rounded_network, torch_run

NORMAL = 320
HUGE = 1e4
TINY = 1e-12


def distance(found, expected):
    return float(np.abs(found - expected).max(initial=0.0))


def check(text, batch, seed, is_fast=True):
    """Bitwise between interpreter and module at -O0; that at -O2 (if `is_fast`) and PyTorch in float64 within 1e-8 of
    the largest value, or within ten times what rounding the input and the weights moves."""
    net = compile_text(text)
    x, y = (array.astype(np.float64) for array in random_batch(net, batch, seed))
    network, module = net.build(seed, "float64"), net.numpy_model(seed, "float64")
    try:
        found = numpy_run(network, x, y, seed)
    except ValueError as error:
        assert "batch norm needs more than one value" in str(error)
        return None
    for name, array in numpy_run(module, x, y, seed).items():
        assert array.tobytes() == found[name].tobytes(), f"{name}\n{text}"
    largest = [np.abs(layer.output).max(initial=0.0) for layer in network.layers if layer.output is not None]
    if not all(value < HUGE for value in largest):
        return net  # factors of factors: PyTorch's attention loses a digit for each one of its logits
    if any(0 < value < TINY for value in largest):
        return net  # zero but for rounding, as the mean behind an inorm is: a relu of that has either gradient

    @cache
    def moved():
        return numpy_run(rounded_network(net, seed), x * (1 + 1e-15), y, seed)

    others = {"PyTorch": torch_run(net, network, x, y, seed)}
    if is_fast:
        others["-O2"] = fast_run(net, x, y, seed)
    for title, expected in others.items():
        noise = 1e-9 * largest_gradient(found)  # a bias before bn has no gradient, out of large ones
        for name, array in expected.items():
            allowed = 1e-8 * max(1e-4, np.abs(array).max(initial=0.0)) + noise
            difference = distance(found[name], array)
            if difference > allowed:
                allowed += 10 * distance(moved()[name], found[name])
            assert difference <= allowed, f"{title}, {name}: {difference} over {allowed}\n{text}"
    return net


def fast_run(net, x, y, seed):
    """What the module at -O2 computes, by two workers that take two samples at a time."""
    model = net.numpy_model(seed, "float64", level=2, workers=2, kind="threads")
    model.block = 2
    try:
        found = numpy_run(model, x, y, seed)
        model.forward(x)  # with the buffers as training left them
        return {name: array for name, array in found.items() if array is not None}
    finally:
        model.close()


def test_random_networks_agree_everywhere(request):
    pytest.importorskip("torch")
    count = request.config.getoption("--nets")
    seen, tried = set(), []

    @drawn(count, NORMAL)
    @given(specs(), strategies.sampled_from([1, 2, 3, 5]), strategies.integers(0, 9))
    def every_net(text, batch, seed):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            net = check(text, batch, seed, is_fast=count > NORMAL or seed % 4 == 0)  # else it takes twice the time
        if net is not None:
            tried.append(len(net.graph.nodes))
            seen.update(node.op for node in net.graph.nodes)

    every_net()
    print(f"{len(tried)} networks, up to {max(tried)} layers; never drawn: {sorted(set(layer_table()) - seen)}")
    if count >= NORMAL:
        assert len(tried) >= 300  # batch norm refuses a single value: those are left out


EVERY_LAYER = """
input 4x13x11
conv 6 k3x2 s=2x1 p1 nobias -> bn -> relu -> conv 6 k3 same g6 -> inorm affine -> leaky 0.2
convt 6 k3 s2 p1 op1 -> gn 3 -> elu 0.5 -> up 4 -> ln -> mish -> pool 3 s2 p1 ceil -> lrn 3 -> pad 1x2
avgpool 2 p1 nopad -> rms -> prelu channelwise -> dropout2d 0.3 -> droppath 0.2 -> scale 0.5 -> selu
skip: conv 8 -> shuffle 2 -> relu6 -> pixelshuffle 2 -> softplus -> upsample 2 bilinear -> adaptive 6x8 -> crop 5x7
gelu -> cat { id | conv 2 k1 -> silu | add { id | tanh } } -> slice 1 5 -> res { conv in.c k3 p1 -> hardswish }
mul { id | cat { gap | gmp } -> linear 4 -> hardsigmoid } -> mul { id | conv 1 k1 -> sigmoid } -> id -> tokens -> cls
pos -> res { ln -> mha 2 } -> softmax -> flatten -> linear 24 -> reshape 6x2x2 -> flatten -> fc 12 -> dropout 0.1
reshape 3x4 -> take 1 -> logsoftmax
train { loss mse }
"""


def test_every_layer_in_one_network():
    pytest.importorskip("torch")
    net = check(EVERY_LAYER, 3, 0)
    assert {node.op for node in net.graph.nodes} == set(layer_table())
