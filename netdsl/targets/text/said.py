"""What the text of a definition says to the rest of a module: the attributes it reads, its calls, what it hands on."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from netdsl.targets.text.folded import is_method, only_computes, pairs_of
from netdsl.targets.text.kernel_source import REMEMBERED, parsed, walk


@dataclass(frozen=True)
class Call:
    """A call of something of that name. given: the constants by their place or name; `?` of all else."""

    name: str
    given: Mapping[int | str, str]
    is_open: bool  # `*` or `**` gives more
    own: bool  # of a method of `self` or its worker, with values that only compute

    def says(self, place: int, parameter: str) -> str | None:
        """What it gives a parameter: nothing (None), a constant as text, or `?`."""
        return self.given.get(place) or self.given.get(parameter)


@dataclass(frozen=True)
class Said:
    """What a text says: the attributes that it reads, of `self` apart; its calls by their names; and the attributes and
    names that it hands on without a call, of `self` apart. given_on: the attributes that it reads to be those of
    `self`."""

    read: frozenset[str]
    own: frozenset[str]
    calls: Mapping[str, Sequence[Call]]
    handed: frozenset[str]
    given: frozenset[str]
    given_on: frozenset[str]


@lru_cache(REMEMBERED)
def said_in(text: str, is_stage: bool) -> Said:
    """What the text of a definition says, which is remembered."""
    return said_by(parsed(text), is_stage)


def said_by(tree: ast.AST, is_stage: bool = False) -> Said:
    """is_stage: that `self.a = b.a` gives on what `b` has is no reason yet that anyone has it."""
    read, own, handed, given = set[str](), set[str](), set[str](), set[str]()
    calls, called = dict[str, list[Call]](), set[ast.AST]()
    given_on = _given_on(tree) if is_stage else set[ast.expr]()
    for node in walk(tree):
        if isinstance(node, ast.Call):
            called.add(node.func)
            if isinstance(node.func, ast.Name | ast.Attribute):
                calls.setdefault(name_of(node.func), []).append(_call(node))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            read.add(node.value)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            if isinstance(node, ast.Attribute) and node not in given_on:
                (own if is_own(node) else read).add(node.attr)
            if node not in called:
                (given if is_own(node) else handed).add(name_of(node))
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Attribute):
            read.add(node.target.attr)
    return Said(
        frozenset(read),
        frozenset(own),
        calls,
        frozenset(handed),
        frozenset(given),
        frozenset(map(name_of, given_on)),
    )


def _given_on(tree: ast.AST) -> set[ast.expr]:
    """The attributes in a text that are read to be attributes of the same name of `self`."""
    pairs = [pair for node in walk(tree) if isinstance(node, ast.Assign) for pair in pairs_of(node)]
    return {
        value
        for target, value in pairs
        if isinstance(target, ast.Attribute)
        and isinstance(value, ast.Attribute)
        and target.attr == value.attr
        and ast.unparse(target.value) == "self"
        and only_computes(value)
    }


def _call(node: ast.Call) -> Call:
    func = node.func
    values: list[tuple[int | str, ast.expr]] = [*enumerate(node.args)]
    values += [(word.arg or "", word.value) for word in node.keywords]
    given = {key: ast.dump(value) if isinstance(value, ast.Constant) else "?" for key, value in values}
    is_open = any(isinstance(value, ast.Starred) or key == "" for key, value in values)
    return Call(name_of(func), given, is_open, is_method(func) and all(only_computes(value) for _, value in values))


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def is_own(node: ast.AST) -> bool:
    """Whether a node is an attribute of `self`."""
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


@lru_cache(REMEMBERED)
def called_in(text: str) -> tuple[str, ...]:
    """The names of what a text calls, each once."""
    return tuple(dict.fromkeys(name_of(node.func) for node in walk(parsed(text)) if isinstance(node, ast.Call)))


@lru_cache(REMEMBERED)
def own_given_in(text: str) -> frozenset[str]:
    """The attributes that a text gives `self`."""
    nodes = [node for node in walk(parsed(text)) if isinstance(node, ast.Attribute) and is_own(node)]
    return frozenset(node.attr for node in nodes if isinstance(node.ctx, ast.Store))
