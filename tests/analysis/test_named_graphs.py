"""What is said and drawn of networks of several inputs and outputs, and of layers that share params."""

import re

import pytest
from graphs import GraphBuilder, siamese, three_times, two_heads, two_inputs

import netdsl
from netdsl.analysis.diagram import diagram_svg
from netdsl.analysis.plain import require_plain
from netdsl.analysis.receptive_field import receptive_field
from netdsl.bench.match import Options, bench
from netdsl.ground.diagnostics import UserError


def test_a_summary_counts_shared_params_once_and_their_work_twice():
    net = siamese()
    lines = str(net.summary()).splitlines()
    assert lines[0] == "siamese: left 2x6x6, right 2x6x6 -> 5"
    assert [line.split() for line in lines[4:6]] == [["input", "left", "2x6x6"], ["input", "right", "2x6x6"]]
    rows = {line.split()[0]: line for line in lines if line}
    assert "shares body.0" in rows["body_2.0"] and rows["body_2.0"].endswith("2,592")
    assert rows["body.0"].endswith("72  2,592")
    assert rows["total"].split() == ["total", "15", "layers", "5", "300", "5,569"]
    told = net.summary().as_dict()
    assert (told["params"], told["macs"]) == (net.graph.num_params, net.graph.num_macs)
    assert told["input"] == {"left": [2, 6, 6], "right": [2, 6, 6]}
    assert told["output"] == [5]
    assert told["layers"][6]["shares"] == "body.0" and told["layers"][6]["params"] == 0


def test_a_summary_tells_the_constants_of_each_input_and_every_output():
    told = two_inputs().summary().as_dict()
    assert told["mean"] == {"image": [0.5, 0.1, -1.0]}
    assert "input image  mean (0.5, 0.1, -1) std (2, 1, 0.5)" in str(two_inputs().summary())
    heads = two_heads().summary()
    assert str(heads).startswith("two_heads: 2x8x8 -> digit 5, box 4\n")
    assert heads.as_dict()["output"] == {"digit": [5], "box": [4]}


def test_memory_holds_every_input_and_shared_params_once():
    told = siamese().summary().as_dict()["memory"]
    graph = siamese().graph
    assert told["params"] == 4 * graph.num_params
    assert told["activations"] == 4 * (2 * 72 + sum(node.type.size for node in graph.nodes))


def test_a_diagram_shows_every_input_and_output_with_its_name():
    svg = diagram_svg(siamese().graph)
    assert [f"input {name} 2x6x6" in svg for name in ("left", "right")] == [True, True]
    assert "output 5" in svg
    assert "the params of body.0" in svg
    both = diagram_svg(two_heads().graph)
    assert "output digit 5" in both and "output box 4" in both and "two_heads, 2x8x8 to digit 5, box 4" in both
    assert len(re.findall("<title>", diagram_svg(three_times().graph))) > 10


def test_a_receptive_field_is_that_in_one_of_the_inputs():
    b = GraphBuilder()
    left, right = b.input("left", "1x9x9"), b.input("right", "1x9x9")
    first, second = b.put("conv 1 k3 p1", left), b.put("conv 1 k5 p2", right)
    graph = b.graph(_=b.merge("add", first, second))
    fields = [receptive_field(graph, 2, (4, 4), given) for given in (0, 1)]
    assert [field.size for field in fields] == [(3, 3), (5, 5)]
    assert [field.spans[0] for field in fields] == [(3, 5), (2, 6)]
    assert receptive_field(graph, 0, (4, 4), 1) is None


def test_what_takes_one_input_and_output_alone_says_so(tmp_path):
    net = siamese()
    message = "takes networks of one input and one output, but `siamese` takes left 2x6x6, right 2x6x6 and gives 5"
    with pytest.raises(UserError, match=re.escape(message)):
        require_plain(net.graph, "this")
    with pytest.raises(UserError, match=re.escape(f"training on a data set {message}")):
        netdsl.train(net, out=tmp_path / "run")
    with pytest.raises(UserError, match=re.escape(f"the benchmark {message}")):
        bench(net, Options(batch=2, threads=1, level=2))
