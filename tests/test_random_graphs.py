"""Random graphs of several inputs and outputs and of shared params compute the same everywhere; faults are found.

40 in each run, 300 with the slow tests; `pytest tests/test_random_graphs.py --graphs 1000` draws as many anew.
"""

import warnings
from collections import Counter
from dataclasses import replace

import everywhere
import numpy as np
import pytest
from drawing import drawn
from graphs import siamese
from hypothesis import given, strategies
from random_graphs import drawn_graphs

from netdsl.targets.live.interpreter import Layer, LayerNetwork
from netdsl.targets.numpy import emitter as numpy_emitter
from netdsl.verify.batches import in_dtype, random_batch
from netdsl.verify.gradients import gradient_check

NORMAL = 300  # as many are the same in each run


def quietly():
    warnings.simplefilter("ignore")
    return np.errstate(all="ignore")


def test_random_graphs_agree_everywhere(graphs):
    pytest.importorskip("torch")
    seen = Counter()

    @drawn(graphs, NORMAL)
    @given(drawn_graphs(), strategies.sampled_from([1, 2, 3, 5]), strategies.integers(0, 9))
    def every_graph(drawn_net, batch, seed):
        net, said = drawn_net
        with warnings.catch_warnings(), quietly():
            if everywhere.check(net, batch, seed, seed % 2 == 0, said) is None:
                seen["refused"] += 1
                return
        graph = net.graph
        seen["compared"] += 1
        seen["several inputs"] += len(graph.inputs) > 1
        seen["several outputs"] += len(graph.outputs) > 1
        seen["shared params"] += graph.has_shares
        seen["shared buffers"] += any(node.shares and node.buffers for node in graph.nodes)

    every_graph()
    print(dict(seen))
    assert seen["compared"] >= 0.8 * graphs  # batch norm refuses a single value: those are left out
    assert min(seen["several inputs"], seen["several outputs"], seen["shared params"]) >= graphs // 6, seen
    assert seen["shared buffers"] >= graphs // 10, seen


def overwritten(network, dlogits):
    """As LayerNetwork._gradients, but of a param that several layers use the gradient by the first of them alone."""
    dxs, grads = RIGHT(network, dlogits)
    for layer in reversed(network.layers):
        if layer.grads and any(node.shares == layer.node.owner for node in network.graph.nodes):
            grads |= {spec.full_name(layer.node.owner): layer.grads[spec.name] for spec in layer.node.params}
    return dxs, grads


RIGHT = LayerNetwork._gradients
TWICE = Layer.forward


def forward_twice(layer, *inputs, training=False):
    """A shared layer that moves its buffers twice."""
    if training and layer.node.shares is not None and layer.node.buffers:
        TWICE(layer, *inputs, training=training)
    return TWICE(layer, *inputs, training=training)


def no_sum(graph, node, dy, found, reached):
    """As the textbook's lines for a node, without the one that adds up the gradients by shared params."""
    return [line for line in OWN_LINES(graph, node, dy, found, reached) if "more[name]" not in line]


OWN_LINES = numpy_emitter._backward_node

FAULTS = {
    "layer objects: a gradient is not added": (LayerNetwork, "_gradients", overwritten),
    "layer objects: a buffer is moved twice": (Layer, "forward", forward_twice),
    "textbook: a gradient is not added": (numpy_emitter, "_backward_node", no_sum),
}


GRADIENT = "layer objects: a gradient is not added"


def check_planted(net, seed, fault, said):
    """The fault is found, and a wrong gradient of the layer objects by differences of the loss, too."""
    where, name, wrong = FAULTS[fault]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, name, wrong, raising=False)
        with pytest.raises(AssertionError):
            everywhere.check(replace(net), 3, seed, False, said)  # a copy, whose texts are emitted anew
        if fault == GRADIENT:
            x, y = (in_dtype(arrays, "float64") for arrays in random_batch(net, 4, seed))
            assert not gradient_check(net, x, y, seed).ok, f"seed {seed}\n{said}"


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_with_shared_params_are_found(fault):
    pytest.importorskip("torch")
    check_planted(siamese(), 0, fault, "")
