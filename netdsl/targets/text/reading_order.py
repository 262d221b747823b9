"""The text of kernels in the order in which a reader asks for them: callers first, each followed by what it uses."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import cache

from netdsl.targets.text.kernel_source import (
    Kernel,
    TextOf,
    constant_text,
    emitted_text,
    is_kernel,
    names_in,
    parsed,
    walk,
)


def reading_order(roots: Iterable[Kernel], text_of: TextOf = emitted_text) -> tuple[list[str], list[str]]:
    """-> the constants that the text of `roots` and of all that they use names, and these texts.

    What Python needs to make a function or class stands before it: what a class extends, and what defaults name.
    """
    order = _Order(text_of)
    for root in roots:
        order.place(root)
    names = [kernel.__name__ for kernel in order.texts]
    assert len(set(names)) == len(names), f"two kernels share a name: {sorted(n for n in names if names.count(n) > 1)}"
    return list(dict.fromkeys(order.constants.values())), list(order.texts.values())


class _Order:
    """What is placed so far, in its order."""

    def __init__(self, text_of: TextOf) -> None:
        self.text_of = text_of
        self.texts: dict[Kernel, str] = {}
        self.constants: dict[str, str] = {}

    def place(self, kernel: Kernel) -> None:
        """A definition behind what it is made with, then what these use."""
        group = self._made_with(kernel)
        for part in group:
            self.texts[part] = self._text(part)
        for part in group:
            self._place_used(part)

    def _text(self, kernel: Kernel) -> str:
        text = self.text_of(sys.modules[kernel.__module__], kernel.__name__)
        assert text is not None, f"{kernel} has no text of its own at the top of its module, or a decorator"
        return text

    def _made_with(self, kernel: Kernel) -> list[Kernel]:
        """The definition behind those that must stand before it and do not yet."""
        if kernel in self.texts:
            return []
        module = sys.modules[kernel.__module__]
        needed = [used for name in _needed(self._text(kernel)) if is_kernel(used := vars(module).get(name))]
        before = dict.fromkeys(part for used in needed for part in self._made_with(used))
        return [*before, kernel]

    def _place_used(self, kernel: Kernel) -> None:
        module = sys.modules[kernel.__module__]
        for name in names_in(self.texts[kernel]):
            used = vars(module).get(name)
            if is_kernel(used):
                self.place(used)
            elif name.isupper() and used is not None:
                self.constants[name] = _constant(kernel, name)


def _constant(kernel: Kernel, name: str) -> str:
    """The line that gives a constant: that of the module of a definition, or of what a class extends."""
    parts = kernel.__mro__ if isinstance(kernel, type) else (kernel,)
    modules = dict.fromkeys(sys.modules[part.__module__] for part in parts if is_kernel(part))
    line = next(filter(None, (constant_text(module, name) for module in modules)), None)
    assert line is not None, f"{name} is no constant of {kernel.__module__}, which uses it"
    return line


@cache
def _needed(text: str) -> tuple[str, ...]:
    """The names that a definition needs while it is made: outside the bodies of functions."""
    parts = [part for node in parsed(text).body for part in _outside(node)]
    return tuple(dict.fromkeys(node.id for part in parts for node in walk(part) if isinstance(node, ast.Name)))


def _outside(node: ast.stmt) -> Iterator[ast.AST]:
    if isinstance(node, ast.ClassDef):
        yield from node.bases
        yield from node.decorator_list
        for part in node.body:
            yield from _outside(part)
    elif isinstance(node, ast.FunctionDef):
        yield from node.decorator_list
        yield from (default for default in (*node.args.defaults, *node.args.kw_defaults) if default is not None)
    else:
        yield node
