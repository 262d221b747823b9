"""The text of kernels, for a module that stands alone: what a function or class uses comes before it, each once."""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Callable, Iterable

STANDARD = {
    "ctypes",
    "inspect",
    "json",
    "math",
    "mmap",
    "os",
    "select",
    "signal",
    "sys",
    "threading",
    "time",
    "traceback",
    "weakref",
}
"""The modules of the standard library that a kernel may use."""


def kernel_texts(roots: Iterable[Callable | type]) -> list[str]:
    """Source text of `roots` and of every netdsl function they use, callees first."""
    ordered: dict[Callable | type, str] = {}
    for root in roots:
        _collect(root, ordered)
    return list(ordered.values())


def imported_modules(texts: Iterable[str]) -> list[str]:
    """Of the modules that a kernel may use beside numpy, those that these texts name."""
    used = {node.id for text in texts for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    return sorted(used & STANDARD)


def _collect(function: Callable | type, ordered: dict[Callable | type, str]) -> None:
    if function in ordered:
        return
    text = inspect.getsource(function)
    module = inspect.getmodule(function)
    assert module is not None, function
    for name in _names(text):
        used = vars(module).get(name)
        if _is_kernel(used) and used is not function:
            _collect(used, ordered)
    ordered[function] = text.rstrip("\n")


def _is_kernel(used: object) -> bool:
    """A function or class of netdsl, whose text can be copied."""
    return isinstance(used, types.FunctionType | type) and str(used.__module__).startswith("netdsl.")


def _names(text: str) -> list[str]:
    """The names a text uses, in order, each once."""
    return list(dict.fromkeys(node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)))
