"""A fast module has no text that its network cannot reach, and what is left is netdsl's own."""

import ast
import sys
from pathlib import Path

import pytest

from netdsl.pipeline import compile_text
from netdsl.stages.linear import Linear
from netdsl.stages.pair_pool import PairPool
from netdsl.targets.fast.emitter import PUBLIC
from netdsl.targets.text.derived import is_derived
from netdsl.targets.text.folded import folded, idle_methods
from netdsl.targets.text.given import Another, Names, Working
from netdsl.targets.text.kernel_source import emitted_text
from netdsl.targets.text.known import UNKNOWN, Known
from netdsl.targets.text.reached import reached_texts

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "generated").glob("*_O2.py"))
TEXT = '''class A(B):
    """What it is."""

    def f(self, x):
        """What comes out."""
        # why it asks
        if self.a:
            # why so
            x = 1
        elif self.b:
            x = 2
        else:
            x = 3
        for i in x:
            if self.a:
                y = 1 if self.a else 2
            elif self.c:
                y = 2
        if not self.a:
            return x
        return (y if self.c else 2) if self.b else 4
'''
KNOWN = {
    "a": (
        {"self.a": True, "not self.a": False},
        ["# why so", "x = 1", "y = 1", "return (y if self.c else 2) if self.b else 4"],
    ),
    "not a": (
        {"self.a": False, "not self.a": True},
        ["if self.b:", "x = 2", "x = 3", "if self.c:", "y = 2", "return x"],
    ),
    "b": ({"self.b": True}, ["x = 1", "else:", "x = 2", "return y if self.c else 2"]),
    "not b": ({"self.b": False}, ["if self.a:", "x = 1", "else:", "x = 3", "return 4"]),
}


@pytest.mark.parametrize("known, lines", KNOWN.values(), ids=KNOWN)
def test_a_branch_that_is_taken_stands_in_the_place_of_its_condition(known, lines):
    text = folded(TEXT, lambda method, test: known.get(ast.unparse(test)))
    rest = iter(map(str.strip, text.split("\n")))
    assert all(line in rest for line in lines), text
    assert not [condition for condition in known if f"if {condition}" in text]
    assert is_derived(text, TEXT)


def run(text, **attributes):
    """What f gives for a list, of an object with these attributes."""
    names = {"B": object}
    exec(text, names)
    made = names["A"]()
    vars(made).update(attributes)
    try:
        return made.f([0])
    except TypeError as error:
        return str(error)


def test_a_folded_method_does_what_the_whole_one_does():
    for a in (True, False):
        for b in (True, False):
            for c in (True, False):
                facts = {"self.a": a, "self.b": b, "not self.a": not a}
                for known in (facts, {"self.b": b}, {"self.a": a, "not self.a": not a}, {"self.c": c}):
                    text = folded(TEXT, lambda method, test, known=known: known.get(ast.unparse(test)))
                    assert run(text, a=a, b=b, c=c) == run(TEXT, a=a, b=b, c=c), text


@pytest.mark.parametrize("wrong", ["x = 7", "x = open('a')", "import os", "self.g(x)", "x = 2; x = 1"])
def test_what_a_class_has_not_is_no_part_of_it(wrong):
    for line in ("x = 1", "y = 2", "return x"):
        assert not is_derived(TEXT.replace(line, wrong), TEXT)
    assert not is_derived(TEXT.replace("class A(B)", "class A(C)"), TEXT)
    assert not is_derived(TEXT.replace("def f(self, x)", "def f(self, x=1)"), TEXT)
    assert not is_derived(f"{TEXT}\n    def g(self):\n        {wrong}\n", TEXT)


def test_calls_of_methods_that_do_nothing_go_with_them():
    text = "class A:\n    def f(self, x):\n        self.g(x + 1)\n        self.g(self.h(x))\n        return x"
    assert idle_methods(text + '\n\n    def g(self, x):\n        """Nothing."""\n        return') == {"g"}
    short = folded(text, lambda method, test: None, {"g"})
    assert short == text.replace("        self.g(x + 1)\n", "")
    assert is_derived(short, text)


def test_attributes_that_follow_from_the_arguments_are_known_and_others_are_not():
    given = {"w": UNKNOWN, "shape": (3, 8, 8), "kernel_size": (2, 2), "conv": None, "relu": True, "dx": True}
    other = {**given, "kernel_size": (1, 2), "relu": False}
    odd = {**given, "shape": (3, 9, 9)}

    def decided(*calls, method="forward", test="not self.is_odd"):
        return Known((PairPool, call) for call in calls).decide(PairPool, method, ast.parse(test, mode="eval").body)

    assert decided(given, other) is True
    assert decided(given, other, odd) is None
    assert decided(odd) is False
    assert decided(given, test="self.relu") is True
    assert decided(given, other, test="self.relu") is None
    assert decided(given, test="self.is_odd or not self.relu") is False
    assert decided({**given, "conv": Another()}, test="self.conv is None") is False
    assert decided({**given, "conv": Another()}, given, test="self.conv is None") is None
    assert decided(given, test="self.w.training") is None
    assert decided(given, method="__init__", test="w.training") is None


def test_what_only_happens_in_training_is_known_from_there():
    names = Names(frozenset(["a.weight", "a.bias", "b.weight"]))
    trains, infers = ({"w": Working(training, names), "filters": 3, "dx": True} for training in (True, False))

    def decided(*calls, method, test):
        return Known((Linear, call) for call in calls).decide(Linear, method, ast.parse(test, mode="eval").body)

    calls = {**trains, "name": "a", "relu": False}, {**infers, "name": "a", "relu": True}
    assert decided(*calls, method="backward", test="self.relu") is False
    assert decided(*calls, method="forward", test="self.relu") is None
    assert decided(*calls, method="forward", test="self.w.training") is None
    assert decided(calls[1], method="forward", test="self.w.training") is False
    assert decided(*calls, method="forward", test="self.bias is not None") is True
    assert decided({**calls[0], "name": "b"}, method="forward", test="self.bias is not None") is False
    assert decided(calls[0], {**calls[0], "name": "b"}, method="forward", test="self.bias is not None") is None


class Watched:
    """What has attributes that others set, and that its own methods do."""

    def __init__(self, shape, follows):
        self.seen, self.is_wide, self.turns = None, shape[0] > 4, False
        self.is_first = follows is None
        if follows is not None:
            follows.seen = self

    def turn(self):
        self.turns = True


def test_what_another_object_sets_and_what_changes_later_is_not_known(monkeypatch):
    monkeypatch.setattr("netdsl.targets.text.methods.is_kernel", lambda used: used is Watched)
    monkeypatch.setattr("netdsl.targets.text.methods.emitted_text", lambda module, name: own_text(name))
    known = Known([(Watched, {"shape": (8,), "follows": None}), (Watched, {"shape": (9,), "follows": UNKNOWN})])

    def decided(test, method="turn"):
        return known.decide(Watched, method, ast.parse(test, mode="eval").body)

    assert decided("self.is_wide") is True
    assert decided("self.is_wide and self.seen is None") is None
    assert decided("self.seen is None") is None
    assert decided("self.turns") is None
    assert decided("self.is_first") is None
    assert decided("follows is not None", "__init__") is None


class Base:
    """What others extend."""

    def kept(self):
        return self.used()

    def used(self):
        return 1

    def shadowed(self):
        return 2

    def idle(self):
        return 3


class Heir(Base):
    """What is made."""

    def shadowed(self):
        return self.idle_too

    def idle_too(self):
        return 4


class Other:
    """Of another kind."""

    def used(self):
        return 5


def make():
    return Heir().kept(), Heir().shadowed(), Other()


def test_methods_that_nothing_names_are_left_out(monkeypatch):
    texts = {name: part for name in ("Base", "Heir", "Other", "make") if (part := own_text(name))}
    monkeypatch.setattr(
        "netdsl.targets.text.reached.is_kernel", lambda used: getattr(used, "__module__", "") == __name__
    )
    reached = reached_texts([make], (), lambda module, name: texts[name], Base)
    defined = {kernel.__name__: text for kernel, text in reached.items()}
    assert "def used" in defined["Base"] and "def kept" in defined["Base"]
    assert "def idle" not in defined["Base"] and "def shadowed" not in defined["Base"]
    assert "def shadowed" in defined["Heir"] and "def idle_too" in defined["Heir"]
    assert "def used" not in defined["Other"]


def own_text(name):
    (node,) = [n for n in ast.parse(Path(__file__).read_text(encoding="utf-8")).body if getattr(n, "name", "") == name]
    return ast.unparse(node)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_function_and_method_of_a_module_is_named(path):
    tree = ast.parse(path.read_text(encoding="ascii"))
    said = {part.attr for part in ast.walk(tree) if isinstance(part, ast.Attribute)}
    said |= {part.id for part in ast.walk(tree) if isinstance(part, ast.Name)}
    defined = [part.name for part in ast.walk(tree) if isinstance(part, ast.FunctionDef | ast.ClassDef)]
    assert not [name for name in defined if name not in said and name not in PUBLIC and not name.startswith("__")]


def test_a_network_of_even_sizes_has_no_text_of_odd_ones():
    text = compile_text("input 3x8x8\nconv 4 k3 p1 -> relu -> pool 2 -> flatten -> linear 3").numpy_source(2)
    whole = emitted_text(sys.modules[PairPool.__module__], "PairPool")
    assert "class PairPool" in text and "MaxPool" not in text
    assert "is_odd:" in whole and "is_odd:" not in text
