"""The methods of classes, from their text, and which of them run for one alone."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Sequence
from functools import cache, lru_cache

from netdsl.targets.text.kernel_source import REMEMBERED, emitted_text, is_kernel, parsed, walk


@cache
def methods_of(owner: type) -> dict[str, ast.FunctionDef]:
    """The methods of a class, from its text."""
    if not is_kernel(owner):
        return {}
    text = emitted_text(sys.modules[owner.__module__], owner.__name__)
    nodes = ast.parse(text).body if text is not None else []
    return {part.name: part for node in nodes for part in _body(node) if isinstance(part, ast.FunctionDef)}


def _body(node: ast.stmt) -> Sequence[ast.stmt]:
    return node.body if isinstance(node, ast.ClassDef) else ()


@cache
def only_for(root: str, classes: frozenset[type]) -> frozenset[str]:
    """The methods of some classes that run for that one alone: nothing else says their names."""
    methods = [(name, node) for part in classes for name, node in methods_of(part).items()]
    said = {(name, word) for name, node in methods for word in _attributes_read(node)}
    outside = [_said_outside(module, classes) for module in {part.__module__ for part in classes}]
    rest = {name for name, _ in methods if not name.startswith("__")} - {"forward", "refresh"}
    gone = rest & frozenset[str]().union(*outside)
    while gone:
        rest -= gone - {root}
        gone = {word for name, word in said if word in rest - {root} and name not in rest}
    return frozenset(name for name in rest if name == root or any(word == name for _, word in said))


@cache
def _said_outside(module: str, classes: frozenset[type]) -> frozenset[str]:
    """The attributes that a module reads outside of these classes."""
    names = {part.__name__ for part in classes if part.__module__ == module}
    nodes = parsed(inspect.getsource(sys.modules[module])).body
    return frozenset[str]().union(*(_attributes_read(node) for node in nodes if getattr(node, "name", "") not in names))


@lru_cache(REMEMBERED)
def _attributes_read(node: ast.AST) -> frozenset[str]:
    parts = [part for part in walk(node) if isinstance(part, ast.Attribute)]
    return frozenset(part.attr for part in parts if isinstance(part.ctx, ast.Load))
