"""lstm, gru and rnn: the counts of published networks, PyTorch's names and first weights, and the same tokens from all
at once as from some at a time."""

import numpy as np
import pytest
from graphs import GraphBuilder

from netdsl.graph.recipe import SCHEMES
from netdsl.layers import layer_at, layer_of
from netdsl.pipeline import check_text, compile_text
from netdsl.targets.contract import Device, Workers
from netdsl.verify.agreement import verify
from netdsl.verify.batches import random_batch

GATES = {"lstm": 4, "gru": 3, "rnn": 1}


@pytest.mark.parametrize(
    "text, params",
    [
        ("input 50 of 65\nembed 128 -> lstm 128 layers=2 -> linear 65", 280_897),
        ("input 50 of 65\nembed 128 -> gru 128 layers=2 -> linear 65", 214_849),
        ("input 50x65\nlstm 128 layers=2 -> linear 65", 240_321),
    ],
)
def test_networks_of_characters_have_the_params_that_pytorch_counts(text, params):
    assert compile_text(text).graph.num_params == params


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("settings", ["", "layers=3", "bi", "layers=2 bi nobias"])
def test_params_have_the_names_shapes_and_order_of_pytorch(op, settings):
    nn = pytest.importorskip("torch").nn
    node = compile_text(f"input 7x5\n{op} 4 {settings}").graph.nodes[0]
    options = {"num_layers": node.attrs["layers"], "bidirectional": node.attrs["bi"], "bias": not node.attrs["nobias"]}
    module = getattr(nn, op.upper())(5, 4, **options)
    ours = [(p.name, p.shape) for p in node.params]
    assert ours == [(name, tuple(param.shape)) for name, param in module.named_parameters()]


@pytest.mark.parametrize("op", GATES)
def test_macs_are_those_of_the_products_with_weights(op):
    macs = lambda line: compile_text(f"input 7x5\n{op} 4 {line}").graph.num_macs  # noqa: E731
    one = 7 * GATES[op] * 4 * (5 + 4)
    assert macs("") == one and macs("bi") == 2 * one
    assert macs("layers=3") == one + 2 * 7 * GATES[op] * 4 * (4 + 4)
    assert macs("layers=2 bi") == 2 * one + 2 * 7 * GATES[op] * 4 * (8 + 4)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("op", GATES)
def test_they_start_as_in_pytorch_whatever_the_scheme_is(op, scheme):
    net = compile_text(f"input 7x5\n{op} 64 -> take -1 -> linear 3\ntrain {{ init {scheme} }}")
    networks = net.build(seed=1), net.numpy_model(seed=1)
    for name, param in networks[0].params.items():
        assert np.array_equal(param, networks[1].params[name])
        if name.startswith(op):
            assert 0.9 / 8 < np.abs(param).max() <= 1 / 8 and abs(param.mean()) < 0.03


@pytest.mark.parametrize("line", ["lstm 4", "lstm 3 layers=2 nobias", "gru 4 layers=3", "gru 3 nobias", "rnn 4 relu"])
@pytest.mark.parametrize("cut", [(1, 1, 1, 1, 1, 1), (2, 4), (5, 1), (6,)])
def test_the_next_tokens_are_those_that_all_at_once_give(line, cut):
    net = compile_text(f"input 6x5\n{line}")
    (node,), network = net.graph.nodes, net.build(dtype="float64")
    layer = layer_of(node.op)
    assert layer.goes_on(node.attrs)
    x = np.random.default_rng(0).standard_normal((3, 6, 5))
    attrs = {key: node.attrs[key] for key in ("layers", "relu") if key in node.attrs}
    params = {p.argument: network.params[p.full_name(node.name)] for p in node.params}
    state, begin, made = None, 0, []
    for length in cut:
        y, state = layer.go_on(x[:, begin : begin + length], state=state, **attrs, **params)
        made.append(y)
        begin += length
    np.testing.assert_allclose(np.concatenate(made, axis=1), network.forward(x), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("op", GATES)
def test_what_reads_the_tokens_backwards_cannot_go_on(op):
    node = compile_text(f"input 6x5\n{op} 4 bi").graph.nodes[0]
    assert not layer_of(op).goes_on(node.attrs)


def test_a_layer_without_that_says_nothing_goes_on_with_any_attrs():
    assert layer_of("linear").goes_on({})


@pytest.mark.parametrize("index", [-5, -2, -1, 0, 4])
def test_tokens_are_counted_from_the_end_too(index):
    net = compile_text(f"input 5x3\ntake {index}")
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
    assert np.array_equal(net.build().forward(x), x[:, index])
    with_names = compile_text(f"block last(i) {{ take i }}\ninput 5x3\nlast({index})")
    assert np.array_equal(with_names.build().forward(x), x[:, index])
    assert f"[:, {index}]" in net.torch_source()


@pytest.mark.parametrize(
    "body",
    [
        "lstm 5 layers=2 dropout=0.2 -> take -1 -> linear 3",
        "gru 4 bi layers=2 dropout=0.3 -> linear 3 -> flatten -> linear 3",
        "rnn 4 relu -> rnn 3 bi nobias -> take -2 -> linear 3",
    ],
)
def test_a_network_of_recurrent_layers_is_verified(body):
    report = verify(compile_text(f"input 6x4\n{body}\ntrain {{ opt adamw lr=0.01 wd=0.1 }}"))
    assert report.ok, str(report)


@pytest.mark.parametrize("op", GATES)
def test_pytorch_learns_with_the_factors_that_numpy_draws(op):
    """The dropout between layers is drawn by NumPy: the same steps under either, from one seed."""
    pytest.importorskip("torch")
    net = compile_text(f"input 6x4\n{op} 5 layers=3 bi dropout=0.4 -> dropout 0.3 -> take -1 -> linear 3")
    workers = Workers(1, "threads", Device("cpu"))
    models = [net.model(target, seed=3, dtype="float64", workers=workers) for target in ("torch", "interp", "numpy")]
    losses = []
    for model in models:
        losses.append([])
        for number in range(3):
            x, y = random_batch(net, 5, number)
            model.rng = np.random.default_rng([7, number])
            losses[-1].append(model.learn(x.astype("float64"), y, 0.01).loss)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)
    np.testing.assert_allclose(losses[2], losses[1], rtol=1e-9)
    for name, array in models[1].params.items():
        np.testing.assert_allclose(models[0].params[name], array, rtol=1e-7, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("op", GATES)
def test_outside_of_training_nothing_is_dropped_and_nothing_is_drawn(op):
    net = compile_text(f"input 6x4\n{op} 5 layers=2 dropout=0.4")
    network, rng = net.build(), np.random.default_rng(0)
    x = rng.standard_normal((2, 6, 4)).astype(np.float32)
    before = network.rng.bit_generator.state
    assert np.array_equal(network.forward(x), network.forward(x))
    assert network.rng.bit_generator.state == before
    assert not np.array_equal(network.forward(x, training=True), network.forward(x))


def test_one_layer_has_nothing_to_draw():
    for op in GATES:
        node = compile_text(f"input 6x4\n{op} 5").graph.nodes[0]
        assert not layer_at(node).is_random
        node = compile_text(f"input 6x4\n{op} 5 layers=2 dropout=0.1").graph.nodes[0]
        assert layer_at(node).is_random


@pytest.mark.parametrize("op", GATES)
def test_two_inputs_may_go_through_one_recurrent_layer(op):
    """Its gradients add up, and each call has a factor of its own."""
    b = GraphBuilder()
    left, right = b.input("left", "5x4"), b.input("right", "5x4")
    text = f"body: {{ {op} 3 layers=2 dropout=0.4 bi }}"
    first = b.put(text, left)
    both = b.merge("cat", first, b.put(text, right, shares="body"))
    net = b.net(_=b.put("take -1 -> linear 2", both))
    everywhere = pytest.importorskip("everywhere", exc_type=ImportError)
    assert everywhere.check(net, 4, 0, True, text) is not None


@pytest.mark.parametrize("op", GATES)
def test_most_params_may_lie_in_a_recurrent_layer(op):
    """They are those of its state: a smaller input does not help."""
    _, said = check_text(f"input 6x4\n{op} 512 layers=2 -> take -1 -> linear 3")
    assert said == []
