"""The canonical form: meaning and comments stay, a second time changes nothing, and it looks as the goldens say.

`format_source` itself asserts that the syntax tree and the comments stay; these tests bring it programs to try that on.
40 in each run, 300 with the slow tests; `pytest tests/language/test_printer.py --messy 10000` draws as many anew.
"""

import random
import re
from pathlib import Path

import pytest
from drawing import drawn
from hypothesis import given, strategies
from messy_specs import messy_spec
from random_nets import specs

from netdsl.ground.source import Source
from netdsl.language.syntax.parser import parse
from netdsl.language.syntax.printer import comments, format_source

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden/fmt"
REFERENCE = re.findall(r"```net\n(.*?)```", (ROOT / "grammars/README.md").read_text(encoding="utf-8"), re.DOTALL)
GAPS = {
    " -> ": [" -> ", "->", "  ->  ", "\n -> ", " ->\n", " ->  # go on\n", "  # stay\n\t-> ", "\n# between\n->"],
    " | ": [" | ", "|", "\n|", " |\n  ", " | # next\n", "   |   "],
    "{ ": ["{ ", "{", "{\n", "{  # inside\n", "{\n\n\n"],
    " }": [" }", "}", "\n}", "\n\n  }", " # last\n}"],
    ", ": [", ", ",", " , ", ",   "],
    " * ": [" * ", "*", "*  "],
    ": ": [": ", ":", " : ", ":   "],
}


NORMAL = 300


def formatted(text):
    return format_source(Source("x.net", text))


def messy(text, rng):
    """The same program with other white space, line breaks and comments."""
    pieces = re.split("(" + "|".join(map(re.escape, GAPS)) + ")", text)
    text = "".join(rng.choice(GAPS.get(piece, [piece])) for piece in pieces)
    lines = []
    for line in text.split("\n"):
        lines += [""] * rng.choice([0, 0, 0, 1, 3])
        lines.append(" " * rng.randrange(5) + line + rng.choice(["", "", "  ", "\t", " # why", "#", "\r"]))
    return "\n".join(lines)


def test_any_syntax_in_any_hand_keeps_its_meaning_and_comments(messy):
    @drawn(messy, NORMAL)
    @given(strategies.randoms(use_true_random=False), strategies.integers(0, 10**6))
    def every_spec(choose, seed):
        untidy, tidy, said = messy_spec(choose, seed)
        program, diagnostics = parse(Source("x.net", untidy))
        assert not diagnostics, untidy
        once = formatted(untidy)
        assert parse(Source("x.net", once)) == (program, [])
        assert comments(once) == said
        assert formatted(once) == once
        assert formatted(tidy) == once, "white space inside lines must not matter"
        assert not re.search(r"[ \t\r]\n|\n{3}|\A\n|\n\n\Z|\n *\t", once)
        assert once.endswith("\n")

    every_spec()


@drawn(40, 40)
@given(specs(), strategies.integers(0, 10**6))
def test_networks_in_any_layout_keep_their_meaning_and_comments(text, seed):
    changed = messy(text, random.Random(seed))
    program, diagnostics = parse(Source("x.net", changed))
    assert not diagnostics, changed
    assert program == parse(Source("x.net", text))[0]
    once = formatted(changed)
    assert parse(Source("x.net", once))[0] == program
    assert comments(once) == comments(changed)
    assert formatted(once) == once


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.net")), ids=lambda path: path.stem)
def test_canonical_form_looks_like_this(path, golden):
    golden(path.with_suffix(".txt"), formatted(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", sorted((ROOT / "specs").glob("*.net")), ids=lambda path: path.stem)
def test_examples_are_in_canonical_form(path):
    text = path.read_text(encoding="utf-8")
    assert formatted(text) == text


@pytest.mark.parametrize("text", REFERENCE)
def test_examples_of_the_reference_are_in_canonical_form(text):
    assert formatted(text) == text


def test_the_library_is_in_canonical_form():
    text = (ROOT / "netdsl/language/std.net").read_text(encoding="utf-8")
    assert formatted(text) == text


def test_broken_specs_that_parse_keep_their_meaning():
    for path in sorted((ROOT / "tests/golden/diagnostics").glob("*.net")):
        text = path.read_text(encoding="utf-8")
        once = formatted(text)
        assert once is None or formatted(once) == once, path.name


def test_what_does_not_parse_is_not_formatted():
    assert formatted("input 3\nconv = 3\n") is None


def test_words_of_other_systems_are_brought_into_line():
    assert formatted("\ufeffinput 3x8x8\r\nconv  8   k3\t\r\n") == "input 3x8x8\nconv 8 k3\n"
    assert formatted("input 4\nlet a=3\nlinear a -1 -> take -1") == "input 4\nlet a = 3\nlinear a-1 -> take -1\n"
    assert formatted("") == ""
