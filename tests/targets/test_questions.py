"""What the text of a network asks about the network is answered once, when a module is written."""

import ast
import re
from pathlib import Path

import pytest

from netdsl.pipeline import compile_text
from netdsl.targets.text.folded import folded
from netdsl.targets.text.questions import Questions

ROOT = Path(__file__).resolve().parents[2]
QUESTIONS = Questions({"draw"}, {"self.splits": False})


@pytest.mark.parametrize(
    ("test", "holds"),
    [
        ("hasattr(self, 'draw')", True),
        ("hasattr(network, 'keep')", False),
        ("not hasattr(self, 'draw')", False),
        ("self.splits", False),
        ("self.splits and n < 3", False),
        ("not self.splits and n < 3", None),
        ("hasattr(self, 'draw') or n < 3", True),
        ("n < 3", None),
    ],
)
def test_a_condition_holds_or_not_or_depends_on_more(test, holds):
    assert QUESTIONS.decide("f", ast.parse(test, mode="eval").body) is holds


def test_a_question_about_another_object_is_a_mistake():
    with pytest.raises(AssertionError, match="hasattr"):
        QUESTIONS.decide("f", ast.parse("hasattr(other, 'draw')", mode="eval").body)


def test_what_a_network_has_not_leaves_the_text():
    text = (
        "class A:\n    def f(self, n):\n        if hasattr(self, 'keep'):\n            self.keep(n)\n        return n"
    )
    assert folded(text, QUESTIONS.decide) == "class A:\n    def f(self, n):\n        return n"


@pytest.mark.parametrize("path", sorted((ROOT / "generated").glob("*_O2.py")), ids=lambda path: path.stem)
def test_no_question_about_the_network_is_left(path):
    assert not re.findall(r"hasattr\((?:self|network), .*", path.read_text(encoding="ascii"))


def test_a_network_has_what_it_needs_and_no_more():
    """Dropouts draw, and a map that comes out is turned; a signal as well."""
    plain = compile_text("input 4\nlinear 3 -> relu -> linear 2").numpy_source(2)
    assert "to_textbook" not in plain and "self.draw(" not in plain
    maps = compile_text("input 2x6 map\nconv 3 k3 -> dropout 0.2 -> conv 2 k3").numpy_source(2)
    assert "gives_map = True" in maps and "self.draw(n)" in maps and "to_textbook(" in maps
