"""Text to tree: spans, recovery, and that no bytes make it fail in another way than by a diagnostic."""

from hypothesis import given, settings
from hypothesis import strategies as st

from netdsl.ground.source import Source
from netdsl.language.syntax import ast
from netdsl.language.syntax.parser import parse
from netdsl.pipeline import check_text

WORDS = [
    "input",
    "conv",
    "relu",
    "pool",
    "linear",
    "train",
    "expect",
    "data",
    "params",
    "k3",
    "1x8x8",
    "8",
    "0.5",
    "->",
    "{",
    "}",
    "(",
    ")",
    "\n",
    "*",
    "=",
    "==",
    ":",
    ",",
    "# c",
    '"s"',
    "|",
    "in.c",
    "//",
    "-",
    "@x",
    "..",
    "[",
    "é",
]


def tree(text):
    program, diagnostics = parse(Source("a.net", text))
    assert diagnostics == []
    return program


def test_spans_are_the_text_they_came_from():
    program = tree("input 1x8x8\n head: 2 * { conv 8 k3x5 p=1+1 } # c\n")
    (element,) = program.statements[1].elements
    layer = element.primary.statements[0].elements[0].primary
    assert element.primary.span.text == "{ conv 8 k3x5 p=1+1 }"
    assert layer.span.text == "conv 8 k3x5 p=1+1"
    assert [arg.span.text for arg in layer.args] == ["8", "k3x5", "p=1+1"]
    assert element.label.span.text == "head"


def test_equality_ignores_spans():
    assert tree("input 4\nrelu->relu") == tree("input   4 # x\n\n relu\n  ->   relu\n")


def test_newlines_and_comments_around_arrows_are_free():
    (_, chain) = tree("input 4\nrelu # a\n\n  # b\n -> relu -> # c\n # d\n relu\n").statements
    assert len(chain.elements) == 3


def test_operators_bind_as_in_python():
    (_, expect) = tree("input 4\nexpect 1 + 2 * 3 == 7 and not 1 > 2 or 2 == 3\n").statements
    assert expect.condition.op == "or"
    assert expect.condition.left.left.left.op == "+"


def test_a_byte_order_mark_is_allowed():
    assert isinstance(tree("\ufeffinput 4\nrelu").statements[0], ast.Input)


def test_each_line_with_a_syntax_error_is_reported_once():
    _, diagnostics = parse(Source("a.net", "input 4\nrelu = 3\nrelu\nlinear 3 4,\n-> -> relu\n"))
    assert [d.span.line for d in diagnostics] == [2, 4, 5]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=30))
def test_any_words_end_in_a_network_or_in_located_errors(words):
    text = "input 1x8x8\n" + " ".join(words)
    net, diagnostics = check_text(text)
    assert (net is None) == any(d.level == "error" for d in diagnostics)
    assert all(0 <= d.span.start <= d.span.end <= len(text) for d in diagnostics)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_ends_in_a_network_or_in_located_errors(text):
    net, diagnostics = check_text(text)
    assert (net is None) == any(d.level == "error" for d in diagnostics)
