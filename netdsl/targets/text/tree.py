"""Questions about the syntax tree of an emitted module, and the assertion that its checks are made of."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from netdsl.targets.text.kernel_source import children, walk

SCOPES = (ast.Lambda, ast.DictComp, ast.GeneratorExp)


def check(holds: bool, what: str) -> None:
    """An assertion that `python -O` keeps."""
    if not holds:
        raise AssertionError(f"the emitted text has {what[:200]}")


def said(node: ast.AST) -> str:
    return f"`{type(node).__name__}`"


def is_doc(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def flat(target: ast.AST) -> Iterator[ast.AST]:
    if isinstance(target, ast.Tuple):
        for part in target.elts:
            yield from flat(part)
    else:
        yield target


def names_given(node: ast.Assign) -> list[str]:
    """The names that an assignment at the top of a module or class gives. Raises AssertionError for other targets."""
    targets = [target for part in node.targets for target in flat(part)]
    check(all(isinstance(target, ast.Name) for target in targets), "an assignment to no name")
    return [target.id for target in targets if isinstance(target, ast.Name)]


def bound(nodes: Iterable[ast.AST]) -> frozenset[str]:
    """The names that these bind in their own scope: arguments, and what is assigned outside lambdas and the like."""
    names: set[str] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif not isinstance(node, SCOPES):
            waiting += children(node)
    return frozenset(names)


def root_of(node: ast.Attribute) -> str:
    """`self` of `self.encoder.conv1`; nothing where it is no name."""
    value = node.value
    while isinstance(value, ast.Attribute):
        value = value.value
    return value.id if isinstance(value, ast.Name) else ""


def labels_in(tree: ast.AST) -> Iterator[str]:
    """What can be a member of a torch module: assigned to `self`, or named in a dict."""
    for node in walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.keyword) and node.arg is not None:
            yield node.arg


_STAGES = ("s = Stages()", "p, s = (self.params, Stages())")


def makes_stages(node: ast.FunctionDef) -> bool:
    """Whether its only `s` is that of the first line, `s = Stages()`."""
    lines = node.body[1:] if is_doc(node.body[0]) else node.body
    return bool(lines) and ast.unparse(lines[0]) in _STAGES and "s" not in bound(lines[1:])
