"""`input 64 of 65`, `embed` and `unembed @words`: what they make, and what is said of mistakes."""

import pytest

from netdsl.graph.types import ids, tokens
from netdsl.layers import layer_table
from netdsl.pipeline import check_text, compile_text

TIED = "input 8 of 11\nwords: embed 6 -> pos -> ln\nunembed @words"


def test_an_input_of_whole_numbers_is_a_row_of_ids():
    net = compile_text("input 64 of 65\nembed 3")
    assert net.graph.input_type == ids(64, 65)
    assert net.graph.show_inputs() == "64 of 65" and net.graph.output_type == tokens(64, 3)


def test_tied_weights_count_once_and_multiply_twice():
    graph = compile_text(TIED).graph
    embed, unembed = graph.node_named["words"], graph.node_named["unembed1"]
    assert unembed.owner == "words" and unembed.params == embed.params
    assert graph.num_params == 11 * 6 + 8 * 6 + 2 * 6 and graph.num_macs == 8 * 6 * 11
    assert [name for name, _ in graph.param_specs()] == ["pos1", "words.weight", "ln1.weight", "ln1.bias"]


@pytest.mark.parametrize(
    ("text", "code", "message", "help_text"),
    [
        ("input 8x2 of 11\nembed 2", "N202", "whole numbers stand in a row, which has one size", "`input 64 of 11`"),
        ("input 8 map of 11\nembed 2", "N202", "whole numbers stand in a row, which has one size", ""),
        ("input 8 of 0\nembed 2", "N304", "there must be from 1 to 2_147_483_647 numbers, not 0", "`input 64 of 65`"),
        ("input 8 of 1.5\nembed 2", "N303", "how many numbers there are is a whole number", ""),
        ("input 8 of 11 mean 0\nembed 2", "N320", "whole numbers of a vocabulary have no `mean`", "remove it"),
        ("input 8 off 11\nembed 2", "N101", "unexpected `off`", "did you mean `of`?"),
        ("input 8 of 11\nlinear 2", "N202", "`linear` computes with numbers, but 8 of 11 arrive (ids)", "`embed 64`"),
        ("input 8 of 11\nadd { id | id }", "N202", "`add` computes with numbers, but 8 of 11 arrive (ids)", ""),
        (
            "input 8x2\nembed 2",
            "N202",
            "`embed` needs whole numbers of a vocabulary, but 8x2 arrives (tokens)",
            "of 65",
        ),
        ("input 8 of 11\nembed", "N305", "`embed` needs the features", "`embed 32`"),
        ("input 8 of 11\nembed 2 -> unembed", "N305", "`unembed` needs the label of the `embed`", "`words: embed 64`"),
        ("input 8 of 11\nw: embed 2 -> unembed 3", "N306", "`unembed` takes one label and nothing else", ""),
        ("input 8 of 11\nw: embed 2 -> unembed @w 3", "N306", "`unembed` takes one label and nothing else", ""),
        (
            "input 8 of 11\nwords: embed 2 -> unembed @word",
            "N314",
            "no label `word` is known",
            "did you mean `@words`?",
        ),
        ("input 8 of 11\nembed 2 -> w: ln -> unembed @w", "N303", "uses the weights of one `embed`, but `@w` is", ""),
        ("input 8 of 11\nw: embed 2 -> linear 3 -> unembed @w", "N203", "vectors of 2 features, but 8x3", "`linear 2`"),
        ("input 8 of 11\nembed 4 -> linear 1\ntrain { loss ce }", "N503", "needs at least 2 classes", ""),
    ],
)
def test_mistakes_are_said(text, code, message, help_text):
    net, found = check_text(text)
    assert net is None and [d.code for d in found] == [code], [(d.code, d.message) for d in found]
    assert message in found[0].message and help_text in " ".join(found[0].help)


@pytest.mark.parametrize("name", sorted(layer_table()))
def test_no_layer_stumbles_over_ids_whatever_is_written(name):
    for settings in ("", "2", "0 2", "2x4x4", "k3", "in.c", "in.n", "foo", "a=b", "@x", "1 2 3"):
        for before in ("", "res { id } -> ", "x: id -> ", "block b(c) { linear c }\nb(2) -> "):
            check_text(f"input 4 of 8\n{before}{name} {settings}")


def test_a_block_may_begin_with_ids():
    net = compile_text("block enc(d) { tok: embed d -> ln -> unembed @tok }\ninput 5 of 9\nenc(4)")
    assert net.graph.output_type == tokens(5, 9) and net.graph.num_params == 9 * 4 + 8
    assert (
        "def __init__(self, d):\n        super().__init__()\n        self.tok = nn.Embedding(9, d)"
        in net.torch_source()
    )
