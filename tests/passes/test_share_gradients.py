"""Of which weights workers have one gradient."""

import pytest
from graphs import GraphBuilder

from netdsl.passes import share_gradients as passes
from netdsl.passes.make_plan import make_plan
from netdsl.pipeline import compile_text


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(passes, "WORTH", 300)


def common(net):
    """The layers whose workers have one gradient."""
    graph = net.graph
    plans = [make_plan(graph, graph.output, len(graph.nodes), training) for training in (True, False)]
    chosen = [[stage.node.name for stage in plan.stages if stage.options.get("common")] for plan in plans]
    assert chosen[0] == chosen[1]
    return chosen[0]


def test_it_is_those_of_linear_layers_from_a_size_on():
    net = compile_text("input 20\nlinear 15 -> relu -> linear 14 -> relu -> linear 30")
    assert common(net) == ["linear1", "linear3"]


def test_layers_that_use_the_same_weights_have_gradients_of_their_own():
    graph = GraphBuilder("tied")
    x = graph.put("first: linear 20", graph.input("x", "20"))
    x = graph.put("first: linear 20", graph.put("relu", x), shares="first")
    net = graph.net(_=graph.put("last: linear 20", graph.put("relu", x)))
    assert common(net) == ["last"]


def test_convolutions_and_layers_of_tokens_have_one_too():
    assert common(compile_text("input 16x6x6\nconv 32 k3 -> relu -> tokens -> linear 80 -> mha 4")) == [
        "conv1",
        "linear1",
        "mha1",
    ]


def test_blocks_of_one_sample_make_one_for_each_worker(monkeypatch):
    monkeypatch.setattr(passes, "block_size", lambda graph: 1)
    assert common(compile_text("input 16x6x6\nconv 32 k3 -> relu")) == []
