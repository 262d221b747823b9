"""What expressions and statements read and give, each asked once."""

from __future__ import annotations

import ast
import types
from functools import lru_cache

from netdsl.targets.text.kernel_source import walk

REMEMBERED = 1 << 14  # nodes of syntax trees


@lru_cache(REMEMBERED)
def code_of(node: ast.expr) -> types.CodeType:
    """What computes an expression."""
    return compile(ast.Expression(node), "<known>", "eval")


@lru_cache(REMEMBERED)
def text_of(node: ast.expr) -> str:
    """An expression as a text, the same however it is laid out."""
    return ast.unparse(node)


@lru_cache(REMEMBERED)
def names_read(node: ast.expr) -> frozenset[str]:
    """The names that an expression reads, of those that it does not give itself."""
    return frozenset(name.id for name in walk(node) if isinstance(name, ast.Name)) - names_inside(node)


@lru_cache(REMEMBERED)
def choices_in(node: ast.stmt) -> tuple[ast.expr, ...]:
    """The conditions of `a if c else b` in a simple statement."""
    if not isinstance(node, ast.Assign | ast.AugAssign | ast.Expr | ast.Return):
        return ()
    return tuple(part.test for part in walk(node) if isinstance(part, ast.IfExp))


@lru_cache(REMEMBERED)
def names_inside(node: ast.AST) -> frozenset[str]:
    """The names that comprehensions and lambdas in it give."""
    scopes = [part for part in walk(node) if isinstance(part, ast.comprehension | ast.Lambda)]
    given = [part.target if isinstance(part, ast.comprehension) else part.args for part in scopes]
    return frozenset(name for part in given for name in names_stored(part))


@lru_cache(REMEMBERED)
def attributes_set(node: ast.AST) -> tuple[str, ...]:
    """The attributes that a node gives `self`."""
    stored = [part for part in walk(node) if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store)]
    return tuple(part.attr for part in stored if isinstance(part.value, ast.Name) and part.value.id == "self")


@lru_cache(REMEMBERED)
def names_stored(node: ast.AST) -> frozenset[str]:
    """The names that a statement or method gives, arguments too."""
    names = {part.id for part in walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
    return frozenset((names | {part.arg for part in walk(node) if isinstance(part, ast.arg)}) - {"self"})
