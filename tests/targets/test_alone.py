"""Where no workers share the layers of a sample, the text says what is done without them."""

import ast

import pytest

from netdsl.pipeline import compile_text
from netdsl.targets.text.alone import alone, unshared

CALLS = [
    ("self.w.each(bands(y), self.add, x, y)", "for part in bands(y):\n    self.add(part, x, y)"),
    ("self.w.each(self.w.cut(len(y), 80 * n), self.rows, y)", "self.rows(slice(0, len(y)), y)"),
    ("self.w.each(parts, self.add, *xs)", "for part in parts:\n    self.add(part, *xs)"),
    ("part = 1\nself.w.each(parts, self.add)", "part = 1\nfor one in parts:\n    self.add(one)"),
    ("most = w.cut(c, 2 * f)[0].stop", "most = c"),
    ("most = [w.cut(n, 150)[-1] for n in ns]", "most = [slice(0, n) for n in ns]"),
    ("parts = w.cut(len(x), 80)", "parts = [slice(0, len(x))]"),
    ("sums = y[self.w.row]", "sums = y[0]"),
    ("other.each(parts, work)", "other.each(parts, work)"),
]


def method(lines):
    return "\n        ".join(["class A:", *f"    def f(self, w, parts, x, y):\n{lines}".split("\n")]).replace(
        "class A:\n            def", "class A:\n    def"
    )


@pytest.mark.parametrize(("lines", "made"), CALLS)
def test_what_workers_would_share_is_done_by_one(lines, made):
    assert alone(method(lines)) == method(made)


def test_a_call_of_several_lines_stays_and_no_loop_is_longer_than_its_call():
    text = method("self.w.each(\n    parts, self.add, x\n)")
    assert alone(text) == text
    longest = method(f"self.w.each(p, self.{'w' * 91})")
    assert len(longest.split("\n")[-1]) == 120
    assert max(map(len, alone(longest).split("\n"))) < 120


@pytest.mark.parametrize("text", ["self.w.splits", "w.splits", "self.given and not self.w.splits"])
def test_no_condition_asks_whether_workers_share(text):
    test = ast.parse(text, mode="eval").body
    before = ast.unparse(test)
    assert "splits" not in ast.unparse(unshared(test)) and ast.unparse(test) == before


def test_a_network_that_is_small_has_no_word_of_workers_that_share():
    small = compile_text("input 3x8x8\nconv 4 k3 p1 -> bn -> relu -> pool 2 -> flatten -> linear 2").numpy_source(2)
    large = compile_text("input 16x112x112\nconv 64 k3 p1 -> bn -> relu -> pool 2 -> flatten -> linear 2")
    words = (".each(", ".cut(", "common=", ".row]", "def each(", "\n    row = ")
    assert [word for word in words if word in small] == []
    assert [word for word in words if word not in large.numpy_source(2)] == []
