"""Expressions evaluated: numbers, sizes (tuples) and truth values, in exact Python arithmetic."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

from netdsl.diagnostics import Diagnostic, did_you_mean
from netdsl.ir import Shape, show_shape
from netdsl.syntax import ast

Value = int | float | bool | tuple[int, ...]
LARGEST = 2**63

_COMPARISONS: Mapping[str, Callable] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_ARITHMETIC: Mapping[str, Callable] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}


class ExprError(Exception):
    """An expression without a value; carries the diagnostic."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


class UnknownShape(Exception):
    """`in.c` after a mistake: nothing to say, the mistake has been reported."""


def show_value(value: Value) -> str:
    """As the language writes it: `64x7x7`, `454_922`, `0.1`, `true`."""
    if isinstance(value, tuple):
        return show_shape(value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:_}" if isinstance(value, int) else repr(value)


def _error(expr: ast.Expr, code: str, message: str, *help: str) -> ExprError:
    return ExprError(Diagnostic(code, message, expr.span, help=help))


def in_size(expr: ast.InSize, shape: Shape | None) -> int:
    """`in.c` of a map, tokens or a vector; `in.h`, `in.w` of a map; `in.n` of tokens."""
    if shape is None:
        raise UnknownShape
    axes = {1: {"c": 0}, 2: {"n": 0, "c": 1}, 3: {"c": 0, "h": 1, "w": 2}}[len(shape)]
    if expr.axis not in axes:
        known = ", ".join(f"`in.{axis}`" for axis in axes)
        raise _error(
            expr, "N312", f"`in.{expr.axis}` is not known here: the input is {show_shape(shape)}", f"known: {known}"
        )
    return shape[axes[expr.axis]]


def evaluate(expr: ast.Expr, names: Mapping[str, Value], shape: Shape | None) -> Value:
    """The value of `expr`; `shape` is what arrives at this point. Raises ExprError or UnknownShape."""
    match expr:
        case ast.Number():
            return expr.value
        case ast.Size():
            return expr.values
        case ast.InSize():
            return in_size(expr, shape)
        case ast.Name():
            if expr.id not in names:
                guess = did_you_mean(expr.id, names)
                raise _error(
                    expr, "N312", f"unknown name `{expr.id}`", *([f"did you mean `{guess}`?"] if guess else [])
                )
            return names[expr.id]
        case ast.Unary():
            return _unary(expr, evaluate(expr.operand, names, shape))
        case ast.Binary(op="and" | "or"):
            return _logic(expr, names, shape)
        case ast.Binary():
            return _binary(expr, evaluate(expr.left, names, shape), evaluate(expr.right, names, shape))


def _logic(expr: ast.Binary, names: Mapping[str, Value], shape: Shape | None) -> bool:
    left = evaluate(expr.left, names, shape)
    if not isinstance(left, bool):
        raise _error(expr.left, "N303", f"`{expr.op}` needs true or false, not `{show_value(left)}`")
    if left == (expr.op == "or"):
        return left
    right = evaluate(expr.right, names, shape)
    if not isinstance(right, bool):
        raise _error(expr.right, "N303", f"`{expr.op}` needs true or false, not `{show_value(right)}`")
    return right


def _unary(expr: ast.Unary, value: Value) -> Value:
    if expr.op == "not":
        if not isinstance(value, bool):
            raise _error(expr, "N303", f"`not` needs true or false, not `{show_value(value)}`")
        return not value
    if isinstance(value, bool | tuple):
        raise _error(expr, "N303", f"`-` needs a number, not `{show_value(value)}`")
    return -value


def _binary(expr: ast.Binary, left: Value, right: Value) -> Value:
    if expr.op in _COMPARISONS:
        if isinstance(left, tuple) != isinstance(right, tuple):  # a vector's size is its number
            left, right = (v[0] if isinstance(v, tuple) and len(v) == 1 else v for v in (left, right))
        if isinstance(left, tuple) != isinstance(right, tuple) and expr.op not in ("==", "!="):
            raise _error(
                expr, "N303", f"`{show_value(left)}` and `{show_value(right)}` cannot be compared by `{expr.op}`"
            )
        return _COMPARISONS[expr.op](left, right)
    for value in (left, right):
        if isinstance(value, bool | tuple):
            raise _error(expr, "N303", f"`{expr.op}` needs numbers, not `{show_value(value)}`")
    if expr.op in ("/", "//", "%") and right == 0:
        raise _error(expr, "N304", "division by zero")
    value = _ARITHMETIC[expr.op](left, right)
    if abs(value) > LARGEST:
        raise _error(expr, "N104", "the result is too large")
    return (
        int(value)
        if expr.op == "/" and isinstance(left, int) and isinstance(right, int) and left % right == 0
        else value
    )
