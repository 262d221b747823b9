"""Attention with the words of decoders: what a token may read, which heads share keys, how positions turn queries, how
tokens go on; and what is said where these do not fit."""

import inspect
import itertools

import numpy as np
import pytest

from netdsl.ground.diagnostics import SpecError
from netdsl.kernels.attention import rotated, rotated_back
from netdsl.kernels.positions import rotary_table, sincos_table
from netdsl.layers import layer_at, layer_of
from netdsl.pipeline import compile_text

WORDS = ["causal", "causal kv=2", "causal rope", "causal kv=1 rope base=500", "causal nobias kv=2 rope"]


def network(line, shape="7x8"):
    return compile_text(f"input {shape}\n{line}\ntrain {{ loss mse }}").build(seed=1, dtype="float64")


def tokens(count=7, samples=3, features=8):
    return np.random.default_rng(0).standard_normal((samples, count, features))


def go_on(model, name, x, state):
    """The next tokens through one layer."""
    node = model.layer(name).node
    layer = layer_of(node.op)
    arguments = {p.argument: model.params[p.full_name(name)] for p in node.params} | dict(node.attrs)
    asked = [argument for argument in inspect.signature(layer.go_on).parameters if argument not in ("x", "state")]
    return layer.go_on(x, state=state, **{argument: arguments.get(argument) for argument in asked})


@pytest.mark.parametrize("words", [*WORDS, "causal dropout=0.5"])
@pytest.mark.parametrize("training", [False, True])
def test_a_causal_token_does_not_read_what_is_behind_it(words, training):
    model, x = network(f"mha 4 {words}"), tokens()
    changed = x.copy()
    changed[:, 4:] += 1
    results = []
    for given in (x, changed):
        model.rng = np.random.default_rng(5)
        results.append(model.forward(given, training))
    np.testing.assert_array_equal(results[0][:, :4], results[1][:, :4])
    assert (results[0][:, 4:] != results[1][:, 4:]).all()


def test_the_first_causal_token_is_its_own_value():
    model, x = network("mha 2 causal"), tokens()
    v = x @ model.params["mha1.in_proj_weight"][16:].T + model.params["mha1.in_proj_bias"][16:]
    y = v @ model.params["mha1.out_proj.weight"].T + model.params["mha1.out_proj.bias"]
    np.testing.assert_allclose(model.forward(x)[:, 0], y[:, 0], rtol=1e-12)


def test_shared_keys_are_those_of_several_heads_with_equal_ones():
    shared, whole = network("mha 4 kv=2"), network("mha 4")
    shared.params["mha1.in_proj_bias"][...] = np.arange(16)
    for kind in ("weight", "bias"):
        given = shared.params[f"mha1.in_proj_{kind}"]
        q, k, v = given[:8], given[8:12], given[12:]
        k, v = (part.reshape(2, 1, 2, *part.shape[1:]).repeat(2, axis=1).reshape(q.shape) for part in (k, v))
        whole.params[f"mha1.in_proj_{kind}"][...] = np.concatenate([q, k, v])
        whole.params[f"mha1.out_proj.{kind}"][...] = shared.params[f"mha1.out_proj.{kind}"]
    np.testing.assert_allclose(shared.forward(tokens()), whole.forward(tokens()), rtol=1e-12)


def test_turned_queries_and_keys_know_how_far_apart_they_are_and_no_more():
    rng = np.random.default_rng(0)
    q, k = rng.standard_normal((2, 6))
    table = rotary_table(0, 50, 6, 10000.0, np.float64)
    scores = rotated(np.tile(q, (50, 1)), table) @ rotated(np.tile(k, (50, 1)), table).T
    for apart in (-40, -3, 0, 7, 49):
        diagonal = np.diagonal(scores, apart)
        np.testing.assert_allclose(diagonal, diagonal[0], rtol=1e-11)
    assert len({round(scores[0, t], 6) for t in range(50)}) == 50


def test_turning_back_undoes_turning():
    x, table = tokens(), rotary_table(3, 10, 8, 100.0, np.float64)
    np.testing.assert_allclose(rotated_back(rotated(x, table), table), x, atol=1e-14)


def test_rope_is_that_of_hugging_face():
    """`rotate_half` and `apply_rotary_pos_emb` of transformers' modeling_llama.py, written out."""
    x, base, size = tokens(), 10000.0, 8
    inv_freq = 1.0 / base ** (np.arange(0, size, 2) / size)
    emb = np.concatenate([np.outer(np.arange(7), inv_freq)] * 2, axis=-1)
    rotated_half = np.concatenate([-x[..., size // 2 :], x[..., : size // 2]], axis=-1)
    expected = x * np.cos(emb) + rotated_half * np.sin(emb)
    np.testing.assert_allclose(rotated(x, rotary_table(0, 7, size, base, np.float64)), expected, atol=1e-14)


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("steps", [(1,) * 7, (3, 1, 3), (7,)])
def test_tokens_that_come_a_few_at_a_time_are_those_of_all(words, steps):
    model, x, state, made = network(f"mha 4 {words}"), tokens(), None, []
    for begin, count in zip(itertools.accumulate((0, *steps)), steps, strict=False):
        y, state = go_on(model, "mha1", x[:, begin : begin + count], state)
        made.append(y)
    np.testing.assert_allclose(np.concatenate(made, axis=1), model.forward(x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("line", ["pos", "pos sincos"])
def test_positions_go_on_where_they_were(line):
    model, x, state, made = network(line), tokens(), None, []
    for begin, end in ((0, 2), (2, 3), (3, 7)):
        y, state = go_on(model, "pos1", x[:, begin:end], state)
        made.append(y)
    assert np.array_equal(np.concatenate(made, axis=1), model.forward(x))


def test_learned_positions_end_and_sines_do_not():
    x = tokens(count=1)
    with pytest.raises(ValueError, match="learned for 7 positions, and there are 8 tokens"):
        go_on(network("pos"), "pos1", x, 7)
    y, state = go_on(network("pos sincos"), "pos1", x, 1000)
    np.testing.assert_allclose(y - x, np.broadcast_to(sincos_table(1000, 1001, 8, np.float64), x.shape), atol=1e-12)
    assert state == 1001


def test_only_causal_attention_goes_on():
    layer = layer_of("mha")
    nodes = [
        compile_text(f"input 7x8\nmha 4 {words}").graph.nodes[0] for words in ("", "rope", "causal", "causal kv=1")
    ]
    assert [layer.goes_on(node.attrs) for node in nodes] == [False, False, True, True]


def test_sines_are_those_of_vaswani():
    table = sincos_table(0, 5, 7, np.float64)
    for t, feature in itertools.product(range(5), range(7)):
        angle = t / 10000 ** (2 * (feature // 2) / 7)
        assert abs(table[t, feature] - (np.cos if feature % 2 else np.sin)(angle)) < 1e-15


def test_without_words_the_kernels_are_the_plain_ones():
    for line in ("mha 4", "mha 4 kv=4", "mha 4 dropout=0", "gelu", "pos"):
        node = compile_text(f"input 7x8\n{line}").graph.nodes[0]
        assert layer_at(node) is layer_of(node.op), line
        assert not layer_at(node).is_random
    assert layer_at(compile_text("input 7x8\nmha 4 dropout=0.1").graph.nodes[0]).is_random


def test_scores_that_causal_tokens_have_none_of_do_not_count():
    """q, k, v: T * (D * D + 2 * D * kv * D / heads), the output T * D * D; D for each score, and for each mixing."""
    net = lambda words: compile_text(f"input 7x8\nmha 4 {words}").graph.num_macs  # noqa: E731
    assert net("") == 7 * 4 * 64 + 2 * 49 * 8
    assert net("causal") == 7 * 4 * 64 + 2 * 28 * 8
    assert net("causal kv=1") == 7 * (2 * 64 + 2 * 16) + 2 * 28 * 8


@pytest.mark.parametrize(
    ("line", "code", "message", "help"),
    [
        ("mha 3", "N203", "3 heads do not divide 8 features", "use a divisor of 8"),
        ("mha 4 kv=3", "N203", "3 heads of keys and values cannot serve 4 heads of queries", "use a divisor of 4"),
        ("mha 2 kv=4", "N203", "4 heads of keys and values cannot serve 2 heads of queries", "use a divisor of 2"),
        (
            "mha 8 rope",
            "N203",
            "`rope` turns features in pairs, but a head has 1",
            "8 heads need a multiple of 16 features",
        ),
        ("mha 4 base=500", "N313", "`base` is for `rope` alone", "write `rope base=500`"),
        ("mha 4 dropout=1", "N304", "must be below 1", ""),
        ("mha 4 kv=0", "N304", "must be at least 1", ""),
        ("mha 4 rope base=0", "N304", "must be above 0", ""),
        ("mha 4 casual", "N302", "unknown attribute `casual`", "did you mean `causal`?"),
        ("swiglu", "N305", "`swiglu` needs the features", "swiglu 32"),
    ],
)
def test_what_does_not_fit_is_said(line, code, message, help):
    with pytest.raises(SpecError) as caught:
        compile_text(f"input 7x8\n{line}")
    (said,) = caught.value.diagnostics
    assert said.code == code
    assert message in said.message
    assert help in " ".join(said.help)


@pytest.mark.parametrize("line", ["mha 2", "pos sincos", "swiglu 4"])
def test_a_map_is_no_sequence(line):
    with pytest.raises(SpecError) as caught:
        compile_text(f"input 2x5x7\n{line}")
    assert [said.code for said in caught.value.diagnostics] == ["N202"]
