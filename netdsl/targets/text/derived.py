"""Whether the text of a definition is a part of another: some of its methods, and of what they do some branches.

It asks no more than that nothing is there which the other has not, in the same order; so the gate knows what a module
may say, whatever was left out of it.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import lru_cache

from netdsl.targets.text.folded import flat, is_call_of_self, is_method, pairs_of
from netdsl.targets.text.kernel_source import REMEMBERED, parsed
from netdsl.targets.text.rewritten import gives


@lru_cache(REMEMBERED)
def is_derived(text: str, origin: str) -> bool:
    """Whether a class or function is `origin`, or a part of it."""
    (node,), (other,) = parsed(text).body, parsed(origin).body
    if isinstance(node, ast.FunctionDef):
        return _statement(node, other)
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
        same = node.name == other.name and _has_parameters(node.args, other.args) and not node.returns
        return same and _same(node.decorator_list, other.decorator_list) and _block(node.body, other.body)
    if isinstance(node, ast.Assign) and isinstance(other, ast.Assign) and _assignment(node, other):
        return True
    return _expression(node, other)


def _has_parameters(node: ast.arguments, other: ast.arguments) -> bool:
    """Whether parameters are some of others, in their order and with their defaults."""
    rest = iter(_parameters(other))
    return all(any(one == other for other in rest) for one in _parameters(node))


def _parameters(node: ast.arguments) -> list[str]:
    """The parameters of a function one by one, as texts."""
    first: list[ast.expr | None] = [None] * (len(node.posonlyargs) + len(node.args) - len(node.defaults))
    plain = zip([*node.posonlyargs, *node.args], [*first, *node.defaults], strict=True)
    named = zip(node.kwonlyargs, node.kw_defaults, strict=True)
    texts = [f"{arg.arg}={ast.dump(default) if default else ''}" for arg, default in plain]
    texts += [f"*{node.vararg.arg}"] if node.vararg else []
    texts += [f"*, {arg.arg}={ast.dump(default) if default else ''}" for arg, default in named]
    return texts + ([f"**{node.kwarg.arg}"] if node.kwarg else [])


def _assignment(node: ast.Assign, other: ast.Assign) -> bool:
    """Whether an assignment gives some of what another one gives side by side."""
    rest = iter(pairs_of(other))
    return all(any(_expression(a, c) and _expression(b, d) for c, d in rest) for a, b in pairs_of(node))


def _may_be_gone(node: ast.stmt) -> bool:
    """Whether a statement does no more than give names, or attributes of `self`, their values."""
    targets = [part for one in node.targets for part in flat(one)] if isinstance(node, ast.Assign) else []
    return bool(targets) and all(isinstance(one, ast.Name) or _is_of_self(one) for one in targets)


def _may_end(others: Sequence[ast.stmt]) -> bool:
    """Whether statements can be gone: up to the end, or to a `return` of nothing."""
    for other in others:
        if isinstance(other, ast.Return) and _may_give_nothing(other):
            return True
        if isinstance(other, ast.If) and any(branch and _returns(branch) for branch in (other.body, other.orelse)):
            return True
        if not isinstance(other, ast.If | ast.Pass) and not is_call_of_self(other) and not _may_be_gone(other):
            return False
    return True


def _may_give_nothing(node: ast.Return) -> bool:
    """Whether a `return` gives nothing, or does so where a choice in it is made: `return a if c else None`."""
    choices = (node.value.body, node.value.orelse) if isinstance(node.value, ast.IfExp) else ()
    return not gives(node) or any(not gives(ast.Return(one)) for one in choices)


def _returns(branch: Sequence[ast.stmt]) -> bool:
    last = branch[-1]
    return isinstance(last, ast.Return) and _may_give_nothing(last) and _may_end(branch)


def _is_of_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"


def _block(body: Sequence[ast.stmt], others: Sequence[ast.stmt], has_ended: bool = False) -> bool:
    """Whether statements are others, in their order: conditions may be gone, or their branches stand in their place,
    and so may all behind a return."""
    if not body or (len(body) == 1 and isinstance(body[0], ast.Pass)):
        return has_ended or _may_end(others)
    if not others:
        return False
    first, *rest = others
    if _statement(body[0], first) and _block(body[1:], rest, isinstance(body[0], ast.Return | ast.Raise)):
        return True
    if is_call_of_self(first) and _block(body, rest):
        return True  # of a method that does nothing
    if _may_be_gone(first) and _block(body, rest):
        return True
    if isinstance(first, ast.If):
        return any(_block(body, [*branch, *rest]) for branch in ([], first.body, first.orelse))
    return False


def _expression(node: object, other: object) -> bool:
    """Whether a node is another one in which choices (`a if c else b`) may be made."""
    if isinstance(other, ast.IfExp) and any(_expression(node, part) for part in (other.body, other.orelse)):
        return True
    if isinstance(node, ast.Call) and isinstance(other, ast.Call) and is_method(other.func):
        return _expression(node.func, other.func) and _given(node, other)
    if not isinstance(node, ast.AST) or not isinstance(other, ast.AST):
        return type(node) is type(other) and node == other
    return type(node) is type(other) and all(
        _field(getattr(node, name, None), getattr(other, name, None)) for name in node._fields
    )


def _given(node: ast.Call, other: ast.Call) -> bool:
    """Whether a call of a method gives some of the arguments of another one."""
    rest = iter([*other.args, *other.keywords])
    return all(any(_expression(one, other) for other in rest) for one in (*node.args, *node.keywords))


def _field(value: object, other: object) -> bool:
    if not isinstance(value, list) or not isinstance(other, list):
        return _expression(value, other)
    if any(isinstance(part, ast.stmt) for part in (*value, *other)):
        return _block(value, other)
    return _same(value, other)


def _same(values: Sequence[object], others: Sequence[object]) -> bool:
    return len(values) == len(others) and all(_expression(a, b) for a, b in zip(values, others, strict=True))
