"""`input` and its sizes: what they mean, alone and with the word `map`."""

import pytest

from netdsl.graph.types import map_of, tokens
from netdsl.ground.source import Source
from netdsl.language.syntax import ast
from netdsl.language.syntax.parser import parse
from netdsl.pipeline import check_text, compile_text, format_text


@pytest.mark.parametrize(
    ("written", "given"),
    [
        ("9x128 map", map_of(9, 128)),
        ("9x128", tokens(9, 128)),
        ("3x32x32", map_of(3, 32, 32)),
        ("3x32x32 map", map_of(3, 32, 32)),
        ("1x16x64x64", map_of(1, 16, 64, 64)),
        ("1x16x64x64 map", map_of(1, 16, 64, 64)),
    ],
)
def test_an_input_has_one_to_three_axes_of_space(written, given):
    for line in (f"input {written}", f"input {written} mean 0.5 std 2"):
        net, found = check_text(f"{line}\nrelu\n")
        assert net is not None and not found, line
        assert net.graph.input_type == given


def test_the_word_is_part_of_the_sizes_and_of_what_is_said_of_the_network():
    net = compile_text("input 9x128 map mean (1, 2, 3, 4, 5, 6, 7, 8, 9) std 2\nflatten -> linear 6")
    statement = parse(net.source)[0].statements[0]
    assert isinstance(statement, ast.Input) and statement.is_map and statement.span.text == "9x128 map"
    assert net.graph.show_inputs() == "9x128 map" and len(net.graph.mean) == 9
    assert str(net.summary()).startswith("net: 9x128 map -> 6")


def test_formatting_keeps_the_word():
    assert format_text("input  9x128   map mean(1) std 2 # steps\nrelu")[0] == (
        "input 9x128 map mean (1) std 2  # steps\nrelu\n"
    )


def test_map_is_a_free_name_elsewhere():
    text = "input 4\nblock map(c) { linear c }\nmap: linear 3 -> relu\nmap(2)\n"
    net, found = check_text(text)
    assert net is not None and not found
    assert [node.name for node in net.graph.nodes] == ["map", "relu1", "map1.linear1"]


@pytest.mark.parametrize(
    ("line", "marked", "message", "help_text"),
    [
        ("input 64 map", "64 map", "a map has channels and one to three axes of space", "write `input 1x64 map` for"),
        ("input 1x2x3x4x5", "1x2x3x4x5", "an input has one to four sizes, not 5", "the batch is not written"),
        ("input 9x128 map map", "map", "unexpected `map`", "expected `mean` or `of` or `std` or a new line"),
        ("input map 9x128", "map", "unexpected `map`", ""),
    ],
)
def test_what_no_map_can_be_is_said_once(line, marked, message, help_text):
    _, found = check_text(f"{line}\nrelu")
    assert [(d.message, d.span.text) for d in found] == [(message, marked)]
    assert help_text in " ".join(found[0].help)


def test_a_spec_with_the_word_parses_alike_with_or_without_its_spaces():
    a, b = (parse(Source("a.net", text))[0] for text in ("input 9x128 map\nrelu", "input 9x128\tmap # c\n\nrelu\n"))
    assert a == b
