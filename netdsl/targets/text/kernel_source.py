"""The text of kernels, for a module that stands alone: what a function or class uses comes before it, each once."""

from __future__ import annotations

import ast
import inspect
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from typing import Any, TypeGuard

from netdsl.targets.text.plain_text import Definitions

REMEMBERED = 1 << 12
"""Of how many texts of definitions it is kept what they are."""

STANDARD = {
    "bisect",
    "ctypes",
    "dataclasses",
    "json",
    "math",
    "mmap",
    "os",
    "queue",
    "select",
    "signal",
    "sys",
    "threading",
    "time",
    "traceback",
    "weakref",
    "zipfile",
}
"""The modules of the standard library that a kernel may use."""

Kernel = Callable[..., Any] | type
"""A function or class whose text is copied."""


TextOf = Callable[[types.ModuleType, str], str | None]
"""Gives the text of a definition at the top of a module as it stands in an emitted one; None where it has none."""


def kernel_texts(roots: Iterable[Kernel], text_of: TextOf | None = None) -> list[str]:
    """Source text of `roots` and of every netdsl function they use, callees first. text_of: what is written of each, if
    not `emitted_text`."""
    ordered: dict[Kernel, str] = {}
    for root in roots:
        _collect(root, ordered, text_of or emitted_text)
    names = [kernel.__name__ for kernel in ordered]
    assert len(set(names)) == len(names), f"two kernels share a name: {sorted(n for n in names if names.count(n) > 1)}"
    return list(ordered.values())


def imported_modules(texts: Iterable[str]) -> list[str]:
    """Of the modules that a kernel may use beside numpy, those that these texts name."""
    return sorted({name for text in texts for name in names_in(text)} & STANDARD)


_LEAVES = frozenset((ast.Name, ast.Constant))  # most nodes of a tree


def children(node: ast.AST) -> list[ast.AST]:
    """The nodes right below one, in their order, without contexts."""
    nodes: list[ast.AST] = []
    if type(node) in _LEAVES:
        return nodes
    for field in node._fields:
        value = getattr(node, field, None)
        if isinstance(value, ast.AST):
            nodes += [value] if field != "ctx" else []
        elif isinstance(value, list):
            nodes += [item for item in value if isinstance(item, ast.AST)]
    return nodes


def walk(tree: ast.AST) -> Sequence[ast.AST]:
    """The nodes of a tree level by level, as ast.walk, but in a third of the time and without contexts. Definitions
    keep theirs, since they are asked for again and again; trees are read and never changed."""
    known: list[ast.AST] | None = getattr(tree, "nodes", None)
    if known is not None:
        return known
    nodes = [tree]
    for node in nodes:
        nodes += children(node)
    if isinstance(tree, ast.Module | ast.ClassDef | ast.FunctionDef):
        tree.nodes = nodes  # type: ignore[union-attr]
    return nodes


def _collect(function: Kernel, ordered: dict[Kernel, str], text_of: TextOf) -> None:
    if function in ordered:
        return
    module = sys.modules[function.__module__]
    assert vars(module).get(function.__name__) is function, f"{function} is not at the top of its module"
    text = text_of(module, function.__name__)
    assert text is not None, f"{function} has no text of its own, or a decorator"
    for name in names_in(text):
        used = vars(module).get(name)
        if used is not None and is_kernel(used) and used is not function:
            _collect(used, ordered, text_of)
    ordered[function] = text


@cache
def emitted_text(module: types.ModuleType, name: str) -> str | None:
    """The text of a function or class at the top of a module, as it is emitted (plain_text); None where there is none,
    or it is decorated."""
    known = definitions(module)
    return known.plain(name) if name in known else None


@cache
def constant_text(module: types.ModuleType, name: str) -> str | None:
    """The line at the top of a module that gives a constant, a name in capitals; None where there is none."""
    return definitions(module).constant(name)


@cache
def definitions(module: types.ModuleType) -> Definitions:
    """The functions and classes at the top of a module (inspect.getsource parses it anew for each)."""
    return Definitions(inspect.getsource(module))


def is_kernel(used: object) -> TypeGuard[Kernel]:
    """A function or class of netdsl, whose text can be copied."""
    return isinstance(used, types.FunctionType | type) and str(used.__module__).startswith("netdsl.")


@lru_cache(REMEMBERED)
def parsed(text: str) -> ast.Module:
    """The syntax tree of a text, which is read and never changed: most texts come again with the next network."""
    return ast.parse(text)


@lru_cache(REMEMBERED)
def names_in(text: str) -> tuple[str, ...]:
    """The names a text uses, in order, each once."""
    return tuple(dict.fromkeys(node.id for node in walk(parsed(text)) if isinstance(node, ast.Name)))
