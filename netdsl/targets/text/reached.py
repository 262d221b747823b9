"""What of the kernels a module can reach: methods that nothing names are left out of its text."""

from __future__ import annotations

import ast
import sys
import types
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from netdsl.targets.text.kernel_source import REMEMBERED, Kernel, TextOf, is_kernel, parsed, walk
from netdsl.targets.text.rewritten import without_statements


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


@lru_cache(8 * REMEMBERED)
def _said(node: ast.AST) -> tuple[tuple[str | None, str], ...]:
    """The attributes and names in a node: (what it is an attribute of, if that is a name or `super()`, else "";
    None of a name, the word)."""
    return tuple(
        (ast.unparse(one.value) if isinstance(one.value, ast.Name) or _is_super(one.value) else "", one.attr)
        if isinstance(one, ast.Attribute)
        else (None, one.id)
        for one in walk(node)
        if isinstance(one, ast.Attribute | ast.Name)
    )


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
        module = vars(sys.modules[kernel.__module__])
        for root, word in (one for part in nodes for one in _said(part)):
            if root is None:
                self.words.add(word)
                self.made.add(word)
                used = module.get(word)
                if is_kernel(used):
                    self.visit(used)
                continue
            if root == "self":
                self.own.setdefault(word, set()).add(kernel)
            elif not isinstance(module.get(root), types.ModuleType):
                self.words.add(word)
            if root == "super()":
                self.asked.add(word)

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
        gone = [method for name, methods in part.methods.items() if name not in part.kept for method in methods]
        return without_statements(part.text, gone)
