"""A token is taken before what is made of each token by itself, and no number changes by it but by rounding."""

import numpy as np
import pytest
from fast_twins import assert_twins

from netdsl.layers import layer_table
from netdsl.passes.make_plan import make_plan
from netdsl.pipeline import compile_text

BODY = "input 3x4x2\nconv 8 k1 -> tokens -> cls\n"
LAST = "res { ln -> mha 2 } -> res { ln -> linear 12 -> gelu -> linear 8 } -> rms -> take 0 -> linear 3"
ENDINGS = [
    LAST,
    "mha 2 -> relu -> add { linear 8 -> silu | id | tanh } -> take 5 -> linear 3",
    "gelu -> cat { take 0 | take 2 } -> linear 3",
    "ln -> add { take 3 | map 3x3 -> gap } -> linear 3",
    "mha 2 -> dropout 0 -> ln -> take 1",
    "mha 2 -> transpose -> linear 4 -> transpose -> linear 5 -> take 1",
    "linear 4 -> take 8 -> reshape 2x2 -> linear 3 -> gelu -> take 1",
]


def stages_of(text, training):
    net = compile_text(text)
    return make_plan(net.graph, net.graph.output, len(net.graph.nodes), training).stages


@pytest.mark.parametrize("training", [True, False])
def test_the_last_layer_of_a_transformer_makes_one_token(training):
    stages = stages_of(BODY + LAST, training)
    (take,) = [i for i, stage in enumerate(stages) if stage.node.op == "take"]
    assert [stage.node.op for stage in stages[take + 1 :]][:4] == ["ln", "linear", "gelu", "linear"]
    assert all(stage.node.type.is_vector for stage in stages[take:])
    assert all(stage.node.type.is_tokens for stage in stages[take - 3 : take])


@pytest.mark.parametrize("ending", ENDINGS)
def test_numbers_are_those_of_all_tokens(ending):
    assert_twins(BODY + ending + "\ntrain { loss mse }", workers=2, block=2)


def test_a_token_that_something_else_reads_is_taken_where_it_was():
    ops = [stage.node.op for stage in stages_of(f"{BODY}gelu -> cat {{ take 0 | take 2 }} -> linear 3", True)]
    assert ops == ["conv", "tokens", "cls", "gelu", "take", "take", "cat", "linear"]


BY_TOKEN = [name for name, layer in layer_table().items() if layer.by_token and not layer.ties]


@pytest.mark.parametrize("name", BY_TOKEN)
def test_layers_by_token_make_a_token_as_a_vector(name):
    line = {"linear": "linear 7", "swiglu": "swiglu 7", "add": "add { id | id }"}.get(name, name)
    of_tokens, of_vectors = (compile_text(f"input {shape}\n{line}").build(dtype="float64") for shape in ("5x6", "6"))
    for param, array in of_vectors.params.items():
        array[...] = of_tokens.params[param]
    x = np.random.default_rng(0).standard_normal((4, 5, 6))
    y = of_tokens.logits(x)
    np.testing.assert_allclose(of_vectors.logits(x.reshape(-1, 6)).reshape(y.shape), y, rtol=1e-12)


def test_a_token_is_taken_before_it_is_compared_with_the_vocabulary():
    assert_twins("input 5 of 9\nwords: embed 6 -> ln -> unembed @words -> take 2", workers=2, block=2)
