"""What a graph says of its values, inputs, outputs and shared params, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
from graphs import GraphBuilder, siamese

from netdsl.graph.ir import Input, Output, verify_graph
from netdsl.graph.types import map_of
from netdsl.pipeline import compile_text


def test_values_begin_with_the_inputs():
    graph = siamese().graph
    assert [graph.maker(value) for value in range(4)] == [None, None, 0, 1]
    assert graph.maker_of(graph.value(3)) is graph.nodes[3]
    assert graph.maker_of(1) is None
    assert graph.shape_of(1) == (2, 6, 6)
    assert graph.num_values == 2 + len(graph.nodes)


def test_a_spec_has_one_input_and_one_output_without_names():
    graph = compile_text("input 1x4x4 mean 0.5 std 2\nflatten -> linear 3").graph
    assert graph.is_plain
    assert graph.inputs == (Input("", map_of(1, 4, 4), (0.5,), (2.0,)),)
    assert graph.outputs == (Output("", 2),)
    assert (graph.input_shape, graph.output_shape, graph.mean, graph.std) == ((1, 4, 4), (3,), (0.5,), (2.0,))


def test_shared_params_count_once_and_their_work_twice():
    graph = siamese().graph
    names = [name for name, _ in (*graph.param_specs(), *graph.buffer_specs())]
    assert len(set(names)) == len(names)
    assert not any(name.startswith("body_2") for name in names)
    owners = [node for node in graph.nodes if node.shares is None]
    assert graph.num_params == sum(p.size for node in owners for p in node.params)
    conv, again = (node for node in graph.nodes if node.op == "conv")
    assert (again.num_params, again.owner, again.macs) == (0, conv.name, conv.macs)
    assert graph.num_macs == sum(node.macs for node in graph.nodes)


def changed(graph, index, **change):
    nodes = list(graph.nodes)
    nodes[index] = replace(nodes[index], **change)
    return replace(graph, nodes=tuple(nodes))


def test_a_graph_that_is_not_whole_is_refused():
    graph = siamese().graph
    first, again = (i for i, node in enumerate(graph.nodes) if node.op == "conv")
    wrong = {
        "reads what is made later": changed(graph, 0, inputs=(4,)),
        "share the name": changed(graph, again, name=graph.nodes[first].name),
        "owns nothing yet": changed(changed(graph, again, shares=None), first, shares=graph.nodes[again].name),
        "is not as": changed(graph, again, attrs={**graph.nodes[again].attrs, "stride": (2, 2)}),
        "body_2.0, body.0": changed(graph, again, params=graph.nodes[again].params[:0]),
        "the inputs are called": replace(graph, inputs=(graph.inputs[0], graph.inputs[0])),
        "the outputs are called": replace(graph, outputs=(Output("a", 3), Output("", 4))),
        "no output is called b": replace(graph, judged="b"),
        "output 99 of": replace(graph, outputs=(Output("", 99),)),
        "the scopes hold": replace(graph, root=replace(graph.root, children=graph.root.children[1:])),
    }
    assert verify_graph(graph) is graph
    for message, one in wrong.items():
        with pytest.raises(AssertionError, match=message):
            verify_graph(one)


def test_a_network_of_layer_objects_takes_inputs_in_order_by_name_or_alone():
    net = siamese()
    model = net.build(0, "float64")
    left, right = np.random.default_rng(0).standard_normal((2, 3, 2, 6, 6))
    y = model.forward(left, right)
    assert not np.array_equal(y, model.forward(right, left))
    targets = np.zeros((3, 5))
    loss, grads = model.loss_and_gradients((left, right), targets)
    assert list(grads) == list(model.params)
    assert model.loss_and_gradients({"right": right, "left": left}, targets)[0] == loss
    with pytest.raises(ValueError, match=r"takes 2 inputs \(left, right\), not 1"):
        model.forward(left)
    with pytest.raises(ValueError, match=r"the input right takes \(N, 2, 6, 6\), not \(3, 2, 6\)"):
        model.forward(left, right[..., 0])
    with pytest.raises(ValueError, match=r"the inputs \(left, right\) have 3, 2 samples"):
        model.forward(left, right[:2])
    with pytest.raises(ValueError, match="the inputs are left, right, not left, up"):
        model.loss_and_gradients({"left": left, "up": right}, targets)


def test_outputs_with_names_are_a_dict_in_their_order():
    b = GraphBuilder()
    x = b.input("", "6")
    trunk = b.put("linear 4 -> relu", x)
    outputs = {"digit": b.put("linear 3 -> softmax", trunk), "box": b.put("linear 2", trunk)}
    x = np.random.default_rng(0).standard_normal((5, 6))
    for judged, size in (("", 3), ("box", 2)):
        model = b.net(judged, **outputs).build(0, "float64")
        made = model.forward(x)
        assert [(name, array.shape) for name, array in made.items()] == [("digit", (5, 3)), ("box", (5, 2))]
        assert model.logits(x).shape == (5, size)
        _, grads = model.loss_and_gradients(x, np.zeros((5, size)))
        seen = {name for name, grad in grads.items() if grad.any()}
        assert seen == {n for n in grads if n.startswith(("linear1", "linear2" if judged == "" else "linear3"))}
