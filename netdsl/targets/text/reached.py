"""What of the kernels a module can reach: methods that nothing names are left out of its text."""

from __future__ import annotations

import ast
import sys
import types
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from netdsl.targets.text.kernel_source import REMEMBERED, Kernel, TextOf, is_kernel, parsed, walk
from netdsl.targets.text.rewritten import functions_in, without_statements


def reached_texts(
    roots: Iterable[Kernel], words: Iterable[str], text_of: TextOf, joined: type, given: Container[str] = ()
) -> dict[Kernel, str]:
    """The texts of the definitions that a module can reach, with those methods alone that it can reach. words: what is
    said of attributes by whoever uses it, beside the roots; joined: what extends it may be one object, which has the
    methods `given` from elsewhere.

    A method is reached where something that is reached says its name, of whatever object; of `self` only where that may
    be of its class. Python calls those of two underscores itself. A method is not reached where every class that
    extends its own has another one, and no `super()` asks.
    """
    reached = _Reached(text_of, set(words), joined, given)
    for root in roots:
        reached.visit(root)
    reached.spread()
    return {kernel: reached.text(kernel) for kernel in reached.parts}


@dataclass
class _Part:
    """A definition: its text, its methods, and which of them are reached."""

    text: str
    bases: tuple[type, ...] = ()
    methods: dict[str, list[ast.FunctionDef]] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Said:
    """What a node says. names, and the kernels among them; words: attributes of objects, own: of `self`, asked: of
    `super()`."""

    names: frozenset[str]
    kernels: tuple[Kernel, ...]
    words: frozenset[str]
    own: frozenset[str]
    asked: frozenset[str]


@lru_cache(8 * REMEMBERED)
def _said(node: ast.AST, module: types.ModuleType) -> _Said:
    """What a node says that stands in that module. An attribute of a module is none of an object."""
    nodes = walk(node)
    names = list(dict.fromkeys(one.id for one in nodes if isinstance(one, ast.Name)))
    said = [(_root(one.value), one.attr) for one in nodes if isinstance(one, ast.Attribute)]
    used = [vars(module).get(name) for name in names]
    return _Said(
        frozenset(names),
        tuple(one for one in used if is_kernel(one)),
        frozenset(word for root, word in said if root != "self" and not _is_module(vars(module).get(root))),
        frozenset(word for root, word in said if root == "self"),
        frozenset(word for root, word in said if root == "super()"),
    )


def _is_module(value: object) -> bool:
    return isinstance(value, types.ModuleType)


def _root(node: ast.expr) -> str:
    """The name of what has an attribute, or `super()`; nothing of all else."""
    return "super()" if _is_super(node) else node.id if isinstance(node, ast.Name) else ""


def _is_super(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"


class _Reached:
    """What is reached so far. words: attributes and names that are said; asked: methods of `super()`."""

    def __init__(self, text_of: TextOf, words: set[str], joined: type, given: Container[str]) -> None:
        self.text_of, self.words, self.joined, self.given = text_of, words, joined, given
        self.own: dict[str, set[Kernel]] = {}  # what is said of `self`, and in which classes
        self.asked: set[str] = set()
        self.made = set(words)  # names of classes that are called, or handed on, not only extended
        self.parts: dict[Kernel, _Part] = {}

    def visit(self, kernel: Kernel) -> None:
        """A definition is reached: what stands outside its methods is, too."""
        if kernel in self.parts:
            return
        text = self.text_of(sys.modules[kernel.__module__], kernel.__name__)
        assert text is not None, f"{kernel} has no text of its own"
        (node,) = parsed(text).body
        part = self.parts[kernel] = _Part(text)
        if not isinstance(node, ast.ClassDef):
            self.say(kernel, [node])
            return
        assert isinstance(kernel, type), kernel
        part.bases = tuple(base for base in kernel.__bases__ if is_kernel(base))
        for method in node.body:
            if isinstance(method, ast.FunctionDef):
                part.methods.setdefault(method.name, []).append(method)
        for base in part.bases:
            self.visit(base)
        self.say(kernel, [*node.decorator_list, *(one for one in node.body if not isinstance(one, ast.FunctionDef))])

    def say(self, kernel: Kernel, nodes: Iterable[ast.AST]) -> None:
        """What is said in a part of the definition is reached."""
        module = sys.modules[kernel.__module__]
        for said in (_said(node, module) for node in nodes):
            self.words |= said.names | said.words
            self.made |= said.names
            self.asked |= said.asked
            for word in said.own:
                self.own.setdefault(word, set()).add(kernel)
            for used in said.kernels:
                self.visit(used)

    def spread(self) -> None:
        """Reach what is named until there is no more."""
        while new := list(self._new()):
            for kernel, name in new:
                part = self.parts[kernel]
                part.kept.add(name)
                self.say(kernel, part.methods[name])

    def _new(self) -> Iterator[tuple[Kernel, str]]:
        for kernel, part in list(self.parts.items()):
            for name in part.methods:
                if name not in part.kept and self._is_named(kernel, name) and not self._is_shadowed(kernel, name):
                    yield kernel, name

    def _is_named(self, kernel: Kernel, name: str) -> bool:
        is_called = name in self.words or (name.startswith("__") and name.endswith("__"))
        return is_called or any(self._are_one(kernel, other) for other in self.own.get(name, ()))

    def _are_one(self, kernel: Kernel, other: Kernel) -> bool:
        """Whether an object may be of both classes."""
        if not isinstance(kernel, type) or not isinstance(other, type):
            return False
        are_joined = issubclass(kernel, self.joined) and issubclass(other, self.joined)
        return are_joined or issubclass(kernel, other) or issubclass(other, kernel)

    def _is_shadowed(self, kernel: Kernel, name: str) -> bool:
        """Whether whoever extends a class has another method of that name, and the class itself is never made."""
        if name in self.given and isinstance(kernel, type) and issubclass(kernel, self.joined):
            return True
        if name in self.asked or kernel.__name__ in self.made:
            return False
        heirs = [(heir, part) for heir, part in self.parts.items() if kernel in part.bases]
        return bool(heirs) and all(name in part.methods or self._is_shadowed(heir, name) for heir, part in heirs)

    def text(self, kernel: Kernel) -> str:
        """The text of a definition without the methods that are not reached."""
        part = self.parts[kernel]
        return _without_methods(part.text, frozenset(name for name in part.methods if name not in part.kept))


@lru_cache(REMEMBERED)
def _without_methods(text: str, gone: frozenset[str]) -> str:
    return without_statements(text, [one for one in functions_in(parsed(text).body[0]) if one.name in gone])
