"""netdsl/language/syntax/lalr.py and its tables, beside Lark."""

import random
from pathlib import Path

import pytest
from larks_parser import LarksParser
from messy_specs import messy_spec

from netdsl.ground.source import Source
from netdsl.language.syntax import ast, lalr, parser
from netdsl.language.syntax.lark_tables import tables_text

ROOT = Path(__file__).resolve().parents[2]
SIGNS = ("->", "{", "}", "(", ")", "[", "]", "|", ",", ":", "\n", "\r", "#c\n", "@a", "3x5", "1.5e3", "..", "*", "//")
SIGNS += ("==", "=", "-", "if", "else", "for", "in", "in.c", "let", "block f(a)", "input", "train", "add", "res {")
SIGNS += ("mean", "not", "and", "f(1)", "{i}b:", "'", '"', "9", "_", "$", " ", "\u00e9")


def test_the_tables_are_those_that_lark_makes_of_the_grammar(golden):
    golden(lalr.TABLES, tables_text())


def damaged(text, rng):
    """The text with a few signs too many, or a few characters too few."""
    for _ in range(rng.randint(0, 3)):
        at = rng.randrange(len(text) + 1)
        text = text[:at] + (rng.choice(SIGNS) + text[at:] if rng.random() < 0.6 else text[at + rng.randint(1, 4) :])
    return text


def texts():
    """Every example, and random texts that use every construct, most of them damaged."""
    examples = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "specs").glob("*.net"))]
    rng = random.Random(0)
    messy = [messy_spec(rng, seed)[0] for seed in range(150)]
    return examples + [damaged(text, rng) for text in [*examples, *messy]]


def described(program, diagnostics):
    """The tree with every span, and what was said."""
    return [(node, node.span) for node in ast.walk(program)], diagnostics


def test_lark_itself_gives_the_same_trees_and_the_same_mistakes(monkeypatch):
    sources = [Source("net.net", text) for text in texts()]
    ours = [parser.parse(source) for source in sources]
    monkeypatch.setattr(parser, "parse_text", LarksParser())
    for source, (program, diagnostics) in zip(sources, ours, strict=True):
        assert described(*parser.parse(source)) == described(program, diagnostics), source.text
    errors = sum(bool(diagnostics) for _, diagnostics in ours)
    assert 50 < errors < len(sources) - 50, f"{errors} of {len(sources)} texts have errors"


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("relu $\n", "", {"NAME", "NUMBER"}),
        ("relu )\n", "RPAR", {"NAME", "NUMBER"}),
        ("input 4\nadd {", lalr.END, {"_NL", "NAME"}),
    ],
)
def test_what_cannot_stand_somewhere_comes_with_what_can(text, kind, expected):
    with pytest.raises(lalr.Unexpected) as caught:
        lalr.parse_text(Source("net.net", text), text, lambda rule, parts: None)
    assert caught.value.kind == kind
    assert caught.value.expected >= expected
