"""Whether the text of a class is a part of another: some of its methods, and of what they do some branches.

It asks no more than that nothing is there which the other has not, in the same order; so the gate knows what a module
may say, whatever was left out of it.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import lru_cache

from netdsl.targets.text.folded import is_call_of_self
from netdsl.targets.text.kernel_source import REMEMBERED, parsed


@lru_cache(REMEMBERED)
def is_derived(text: str, origin: str) -> bool:
    """Whether a class is `origin`, or a part of it."""
    (node,), (other,) = parsed(text).body, parsed(origin).body
    if not isinstance(node, ast.ClassDef) or not isinstance(other, ast.ClassDef):
        return False
    if ast.dump(ast.ClassDef(node.name, node.bases, node.keywords, [], node.decorator_list)) != ast.dump(
        ast.ClassDef(other.name, other.bases, other.keywords, [], other.decorator_list)
    ):
        return False
    rest = iter(other.body)
    return all(any(_statement(part, one) for one in rest) for part in node.body)


def _statement(node: ast.stmt, other: ast.stmt) -> bool:
    """Whether a statement is another one with fewer branches in it."""
    if isinstance(node, ast.FunctionDef) and isinstance(other, ast.FunctionDef):
        same = node.name == other.name and _equal(node.args, other.args) and not node.returns
        return same and _same(node.decorator_list, other.decorator_list) and _block(node.body, other.body)
    return _expression(node, other)


def _block(body: Sequence[ast.stmt], others: Sequence[ast.stmt], has_ended: bool = False) -> bool:
    """Whether statements are others, in their order: conditions may be gone, or their branches stand in their place,
    and so may all behind a return."""
    if not body or (len(body) == 1 and isinstance(body[0], ast.Pass)):
        return has_ended or all(isinstance(other, ast.If | ast.Pass) or is_call_of_self(other) for other in others)
    if not others:
        return False
    first, *rest = others
    if _statement(body[0], first) and _block(body[1:], rest, isinstance(body[0], ast.Return | ast.Raise)):
        return True
    if is_call_of_self(first) and _block(body, rest):
        return True  # of a method that does nothing
    if isinstance(first, ast.If):
        return any(_block(body, [*branch, *rest]) for branch in ([], first.body, first.orelse))
    return False


def _expression(node: object, other: object) -> bool:
    """Whether a node is another one in which choices (`a if c else b`) may be made."""
    if isinstance(other, ast.IfExp) and any(_expression(node, part) for part in (other.body, other.orelse)):
        return True
    if not isinstance(node, ast.AST) or not isinstance(other, ast.AST):
        return type(node) is type(other) and node == other
    return type(node) is type(other) and all(
        _field(getattr(node, name, None), getattr(other, name, None)) for name in node._fields
    )


def _field(value: object, other: object) -> bool:
    if not isinstance(value, list) or not isinstance(other, list):
        return _expression(value, other)
    if any(isinstance(part, ast.stmt) for part in (*value, *other)):
        return _block(value, other)
    return _same(value, other)


def _same(values: Sequence[object], others: Sequence[object]) -> bool:
    return len(values) == len(others) and all(_expression(a, b) for a, b in zip(values, others, strict=True))


def _equal(node: ast.AST, other: ast.AST) -> bool:
    return ast.dump(node) == ast.dump(other)
