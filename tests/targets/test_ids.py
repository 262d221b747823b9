"""Ids, whole numbers below a limit, are carried by the graph and by the live network as they are."""

import numpy as np
import pytest

from netdsl.graph.ir import Graph, Input, Node, Output, ParamSpec, Scope, verify_graph
from netdsl.graph.recipe import Recipe
from netdsl.graph.types import ids, tokens
from netdsl.layers import layer_of, register, unregister
from netdsl.layers.contract import REQUIRED, Attr, LayerDef
from netdsl.layers.rules.places import everywhere
from netdsl.pipeline import run_module
from netdsl.targets.fast.emitter import emit_fast
from netdsl.targets.live.interpreter import layer_network
from netdsl.targets.numpy.emitter import emit_numpy

WORDS = ids(5, 300)


def table_forward(x, weight):
    """x (N, T) -> the rows of weight (limit, F) of those numbers, (N, T, F)."""
    return weight[x], (x, weight.shape)


def table_backward(dy, saved):
    """dweight adds up dy for each number; ids have no gradient."""
    x, shape = saved
    dweight = np.zeros(shape, dy.dtype)
    np.add.at(dweight, x, dy)
    return None, {"weight": dweight}


TABLE = LayerDef(
    name="rows_of_a_table",
    summary="a learned row for each number",
    attrs=(Attr("features", "int", REQUIRED, positional=True),),
    shape=lambda attrs, x: tokens(x.length, attrs["features"]),
    params=lambda attrs, x: (ParamSpec("weight", (x.limit, attrs["features"]), "normal"),),
    forward=table_forward,
    backward=table_backward,
    torch=None,
    reads=everywhere,
)


def node(name, op, attrs, value, given):
    layer = layer_of(op)
    attrs = dict(layer.resolve(attrs, given) if layer.resolve else attrs)
    return Node(name, op, attrs, (value,), layer.shape(attrs, given), layer.params(attrs, given))


@pytest.fixture(params=["", "words"], ids=["without a name", "with a name"])
def network(request):
    register(TABLE)
    nodes = [node("table", "rows_of_a_table", {"features": 4}, 0, WORDS)]
    for name, op, attrs in (("flatten", "flatten", {}), ("linear", "linear", {"features": 3, "nobias": False})):
        nodes.append(node(name, op, attrs, len(nodes), nodes[-1].type))
    yield layer_network(reader(request.param, nodes), Recipe(), seed=0, dtype="float64")
    unregister(TABLE.name)


def reader(name, nodes):
    root = Scope("", (0, 1, 2), 0, 3)
    return verify_graph(Graph("reader", (Input(name, WORDS),), tuple(nodes), (Output("", 3),), root))


@pytest.mark.parametrize("dtype", ["int64", "uint8", "int32"])
def test_ids_are_not_cast_to_floats_and_bytes_stay_whole(network, dtype):
    x = np.array([[0, 1, 2, 3, 255], [9, 9, 9, 9, 9]]).astype(dtype)
    y = network.forward(x)
    weight, linear = network.params["table.weight"], network.params["linear.weight"]
    expected = weight[x.astype(int)].reshape(2, -1) @ linear.T + network.params["linear.bias"]
    np.testing.assert_allclose(y, expected, rtol=1e-12)  # one product, summed in another order
    assert network.layers[0].inputs[0].dtype == np.int64


def test_a_table_of_rows_learns(network):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 300, (6, 5)), np.array([0, 1, 2, 0, 1, 2])
    loss, grads = network.loss_and_gradients(x, y)
    name, row, step = "table.weight", x[0, 0], 1e-6
    network.params[name][row, 2] += step
    more, _ = network.loss_and_gradients(x, y)
    assert (more - loss) / step == pytest.approx(grads[name][row, 2], rel=1e-4)  # forward difference
    losses = [network.train_step(x, y, 0.5) for _ in range(20)]
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 5)), r"takes whole numbers \(N, 5\), not float64 of the shape \(2, 5\)"),
        (np.zeros((2, 4), int), r"takes whole numbers \(N, 5\), not int64 of the shape \(2, 4\)"),
        (np.full((2, 5), 300), "takes numbers from 0 to 299, these are 300 to 300"),
        (np.full((1, 5), -1), "takes numbers from 0 to 299, these are -1 to -1"),
    ],
)
def test_what_is_no_id_is_refused_in_words(network, x, message):
    with pytest.raises(ValueError, match=message):
        network.forward(x)


@pytest.mark.parametrize("emit", [emit_numpy, emit_fast])
def test_an_emitted_network_takes_ids_by_name(emit):
    nodes = [node("embed1", "embed", {"features": 4}, 0, WORDS)]
    for name, op, attrs in (("flatten", "flatten", {}), ("linear", "linear", {"features": 3, "nobias": False})):
        nodes.append(node(name, op, attrs, len(nodes), nodes[-1].type))
    graph = reader("words", nodes)
    model = run_module(emit(graph, Recipe()), "named").Model(seed=0, dtype="float64")
    expected = layer_network(graph, Recipe(), seed=0, dtype="float64")
    x = np.array([[0, 1, 2, 3, 299], [9, 9, 9, 9, 9]], np.int32)
    np.testing.assert_allclose(model.logits(x), expected.logits(x), rtol=1e-12)
    for wrong, message in ((np.zeros((2, 5)), "takes whole numbers"), (np.full((1, 5), 300), "from 0 to 299")):
        with pytest.raises(ValueError, match=message):
            model.logits(wrong)
