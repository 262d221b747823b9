"""Random networks compute the same in interpreter, both NumPy modules and PyTorch: outputs, loss, every gradient.

60 in each run, 320 with the slow tests; `pytest tests/test_random_nets.py --nets 10000` draws as many anew each time.
"""

import warnings

import everywhere
import numpy as np
import pytest
from drawing import drawn
from hypothesis import given, strategies
from random_nets import specs

from netdsl.layers import layer_table
from netdsl.pipeline import compile_text

NORMAL = 320


def check(text, batch, seed, is_fast=True):
    """The net of a spec computes the same everywhere."""
    return everywhere.check(compile_text(text), batch, seed, is_fast, text)


def test_random_networks_agree_everywhere(nets):
    pytest.importorskip("torch")
    seen, tried = set(), []

    @drawn(nets, NORMAL)
    @given(specs(), strategies.sampled_from([1, 2, 3, 5]), strategies.integers(0, 9))
    def every_net(text, batch, seed):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            net = check(text, batch, seed, is_fast=nets > NORMAL or seed % 4 == 0)  # else it takes twice the time
        if net is not None:
            tried.append(len(net.graph.nodes))
            seen.update(node.op for node in net.graph.nodes)

    every_net()
    print(f"{len(tried)} networks, up to {max(tried)} layers; never drawn: {sorted(set(layer_table()) - seen)}")
    assert len(tried) > 0.85 * nets  # batch norm refuses a single value: those are left out


EVERY_LAYER = """
input 4x13x11
conv 6 k3x2 s=2x1 p1 nobias -> bn -> relu -> conv 6 k3 same g6 -> inorm affine -> leaky 0.2
convt 6 k3 s2 p1 op1 -> gn 3 -> elu 0.5 -> up 4 -> ln -> mish -> pool 3 s2 p1 ceil -> lrn 3 -> pad 1x2
avgpool 2 p1 nopad -> rms -> prelu channelwise -> dropout2d 0.3 -> droppath 0.2 -> scale 0.5 -> selu
skip: conv 8 -> shuffle 2 -> relu6 -> pixelshuffle 2 -> softplus -> upsample 2 bilinear -> adaptive 6x8 -> crop 5x7
gelu -> cat { id | conv 2 k1 -> silu | add { id | tanh } } -> slice 1 5 -> res { conv in.c k3 p1 -> hardswish }
mul { id | cat { gap | gmp } -> linear 4 -> hardsigmoid } -> mul { id | conv 1 k1 -> sigmoid } -> id -> tokens -> cls
pos sincos -> res { rms -> mha 2 causal kv=1 rope dropout=0.2 } -> gelu tanh
pos -> res { ln -> mha 2 } -> transpose -> tanh -> transpose -> map -> tokens -> softmax
flatten -> linear 24 -> reshape 6x2x2 -> flatten -> fc 12 -> swiglu 12 -> dropout 0.1
reshape 3x4 -> lstm 4 layers=2 dropout=0.3 -> gru 3 bi -> rnn 4 layers=2 -> take -2 -> logsoftmax
train { loss mse }
"""


OF_A_VOCABULARY = """
input 6 of 9
words: embed 4 -> ln -> linear 4 -> unembed @words
train { loss ce }
"""


def test_every_layer_in_two_networks():
    pytest.importorskip("torch")
    nets = check(EVERY_LAYER, 3, 0), check(OF_A_VOCABULARY, 3, 0)
    assert {node.op for net in nets for node in net.graph.nodes} == set(layer_table())
