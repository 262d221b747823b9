"""`tokens`, `map`, `transpose` and `reshape ... map`: between sequences and maps of any axes of space."""

import numpy as np
import pytest

from netdsl.graph.types import map_of, tokens
from netdsl.pipeline import check_text, compile_text
from netdsl.verify.agreement import verify


def run(text):
    """What a network makes of numbers in their order, and these, (1, ...)."""
    net = compile_text(f"{text}\ntrain {{ loss mse }}")
    x = np.arange(np.prod(net.graph.input_shape), dtype=np.float64).reshape(1, *net.graph.input_shape)
    return net.graph.nodes[-1].type, net.build(0, "float64").forward(x), x


@pytest.mark.parametrize("sizes, back", [("3x10 map", "map"), ("3x4x5", "map 4x5"), ("3x2x4x5", "map 2x4x5")])
def test_a_map_of_the_tokens_of_a_map_is_that_map(sizes, back):
    for layer in (back, "map @skip"):
        made, y, x = run(f"input {sizes}\nskip: id -> tokens -> {layer}")
        assert np.array_equal(y, x) and made == map_of(*x.shape[1:])


def test_a_transposed_sequence_has_its_features_as_positions():
    made, y, x = run("input 4x6\ntranspose")
    assert made == tokens(6, 4) and np.array_equal(y[0], x[0].T)
    made, y, x = run("input 4x6\ntranspose -> transpose")
    assert made == tokens(4, 6) and np.array_equal(y, x)


def test_tokens_of_a_signal_are_its_steps():
    made, y, x = run("input 3x10 map\ntokens")
    assert made == tokens(10, 3) and np.array_equal(y[0], x[0].T)


def test_the_word_makes_a_signal_of_two_sizes_and_the_numbers_stay():
    assert run("input 12\nreshape 3x4 map")[0] == map_of(3, 4)
    assert run("input 12\nreshape 3x4")[0] == tokens(3, 4)
    assert run("input 3x4 map\nreshape 3x4")[0] == tokens(3, 4)
    assert run("input 24\nreshape 1x2x3x4")[0] == map_of(1, 2, 3, 4) == run("input 24\nreshape 1x2x3x4 map")[0]
    _, y, x = run("input 12\nreshape 3x4 map -> flatten")
    assert np.array_equal(y, x)


@pytest.mark.parametrize(
    ("text", "code", "message", "help_text"),
    [
        ("input 16x5\nmap 4x5", "N203", "a map of 4x5 has 20 places, but 16 tokens arrive", "use 4x4"),
        ("input 12x5\nmap 5x4", "N203", "a map of 5x4 has 20 places, but 12 tokens arrive", "use 3x4"),
        ("input 7x5\nmap 2x2x2", "N203", "a map of 2x2x2 has 8 places, but 7 tokens", "use 7, a map of one axis"),
        (
            "input 16x5\nmap 2x2x2x2",
            "N303",
            "`map` takes one to three sizes, not 4",
            "the features become the channels",
        ),
        (
            "input 3x8x8\nmap 8x8",
            "N202",
            "`map` needs tokens, but 3x8x8 arrives (a map)",
            "leave it out: this is a map",
        ),
        ("input 8\nmap", "N202", "`map` needs tokens, but 8 arrives (a vector)", "`reshape 1x8` makes one token"),
        ("input 3x8x8\ntranspose", "N202", "`transpose` needs tokens, but 3x8x8 arrives", "`tokens` makes a sequence"),
        ("input 12\nreshape 12 map", "N202", "a map has channels and one to three axes", "`reshape 1x12 map`"),
        ("input 3x4x4\nskip: tokens -> map @skip", "N303", "`@skip` is 16x3 (tokens), which has no axes", "name a map"),
    ],
)
def test_what_is_no_map_is_said_with_what_helps(text, code, message, help_text):
    _, (diagnostic,) = check_text(text)
    assert diagnostic.code == code and message in diagnostic.message and help_text in diagnostic.help[0]


def test_a_layer_called_map_hides_nothing_in_what_is_emitted():
    layers = "tokens -> map: map 4x4 -> conv 2 k3 -> tokens -> transpose: transpose -> map -> flatten -> linear 2"
    assert verify(compile_text(f"input 3x4x4\n{layers}")).ok


def test_a_block_of_an_mlp_mixer_agrees_with_pytorch_and_the_fast_module():
    text = """input 3x8x8
conv 6 k2 s2 -> tokens
block mixer(inner) {
  let positions = in.n
  res { ln -> transpose -> linear inner -> gelu -> linear positions -> transpose }
}
2 * mixer(5) -> map 4x4 -> gap -> linear 3
"""
    assert verify(compile_text(text)).ok
