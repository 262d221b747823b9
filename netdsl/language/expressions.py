"""Expressions evaluated: numbers, sizes (tuples), truth values and lists, in exact Python arithmetic."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import TypeAlias, TypeGuard

from netdsl.graph.types import Tensor, show_sizes
from netdsl.ground.diagnostics import Diagnostic, Edit, did_you_mean
from netdsl.ground.spelling import correction
from netdsl.language.axes_in_words import size_letters
from netdsl.language.syntax import ast

Value: TypeAlias = "int | float | bool | tuple[int, ...] | list[Value]"
LARGEST = 2**63
_LENGTHS = ("h", "l", "n", "t", "d", "length", "len", "size")  # what others call the one axis of a signal
CONSTANTS: Mapping[str, bool] = {"true": True, "false": False}
_FUNCTIONS: Mapping[str, Callable[..., int | float]] = {"max": max, "min": min}

_COMPARISONS: Mapping[str, Callable[..., bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_ARITHMETIC: Mapping[str, Callable[..., int | float]] = {
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


class Unknown:
    """The value of a name after a mistake."""


UNKNOWN = Unknown()


class Names(Mapping[str, Value]):
    """The names known at a place: an own table over that of the body around it. Remembers which were read."""

    def __init__(self, outer: Names | None = None, values: Mapping[str, Value | Unknown] | None = None) -> None:
        self._outer = outer
        self._own: dict[str, Value | Unknown] = dict(values or {})
        self._read: set[str] = set()

    def define(self, name: str, value: Value | Unknown) -> None:
        self._own[name] = value

    def is_own(self, name: str) -> bool:
        return name in self._own

    def unread(self) -> list[str]:
        """The names of this table (not of those around it) that nothing asked for."""
        return [name for name in self._own if name not in self._read]

    def __getitem__(self, name: str) -> Value:
        if name in self._own:
            self._read.add(name)
            value = self._own[name]
            if isinstance(value, Unknown):
                raise UnknownShape
            return value
        if self._outer is None:
            raise KeyError(name)
        return self._outer[name]

    def __contains__(self, name: object) -> bool:
        return name in self._own or (self._outer is not None and name in self._outer)

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        if self._outer is not None:
            yield from (name for name in self._outer if name not in self._own)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def is_whole(value: object) -> TypeGuard[int]:
    """True for a whole number; truth values are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def show_value(value: Value) -> str:
    """The value as the language writes it: `64x7x7`, `454_922`, `0.1`, `true`, `[64, 128]`."""
    if isinstance(value, list):
        return f"[{', '.join(show_value(item) for item in value)}]"
    if isinstance(value, tuple):
        return show_sizes(value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:_}" if isinstance(value, int) else str(value)


def expression_text(expr: ast.Expr) -> str:
    """An expression in words that the grammar allows, whatever white space and comments stood in it."""
    match expr:
        case ast.Unary():
            return f"{'not ' if expr.op == 'not' else '-'}{_inner_text(expr.operand, 7)}"
        case ast.Binary():
            binds = _BINDS.get(expr.op, 3)
            return f"{_inner_text(expr.left, binds)} {expr.op} {_inner_text(expr.right, binds + 1)}"
        case ast.Name():
            return expr.id
        case ast.InSize():
            return f"in.{expr.axis}"
        case ast.Number():
            return repr(expr.value)
        case ast.Size():
            return show_sizes(expr.values)
        case ast.Function():
            return f"{expr.name}({', '.join(expression_text(arg) for arg in expr.args)})"
        case ast.Sequence():
            return f"[{', '.join(expression_text(item) for item in expr.items)}]"


_BINDS = {"or": 1, "and": 2, "+": 4, "-": 4, "*": 5, "/": 5, "//": 5, "%": 5}  # comparisons 3


def _inner_text(expr: ast.Expr, binds: int) -> str:
    """The text of an operand, in parentheses where it binds less than what is around it."""
    loose = isinstance(expr, ast.Binary) and _BINDS.get(expr.op, 3) < binds
    return f"({expression_text(expr)})" if loose else expression_text(expr)


_OPPOSITES = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">", "and": "or", "or": "and"}


def opposite(condition: ast.Expr) -> ast.Expr:
    """What holds where the condition does not: `s == 1 and in.c == c` for `s != 1 or in.c != c`."""
    if isinstance(condition, ast.Unary) and condition.op == "not":
        return condition.operand
    if not isinstance(condition, ast.Binary) or condition.op not in _OPPOSITES:
        return ast.Unary(condition.span, "not", condition)
    left, right = condition.left, condition.right
    if condition.op in ("and", "or"):
        left, right = opposite(left), opposite(right)
    return ast.Binary(condition.span, _OPPOSITES[condition.op], left, right)


def _error(expr: ast.Expr, code: str, message: str, *help: str) -> ExprError:
    return ExprError(Diagnostic(code, message, expr.span, help=help))


def in_size(expr: ast.InSize, given: Tensor | None) -> int | tuple[int, ...]:
    """`in.c` of a map, tokens or a vector; of a map `in.w`, the length of a signal, `in.h`, `in.d` and `in.space`, all
    of its axes of space, which of a signal is a number; `in.n` of tokens."""
    if given is None:
        raise UnknownShape
    known = size_letters(given)
    if f"in.{expr.axis}" not in known:
        message = f"`in.{expr.axis}` is not known here: the input is {given.show()} ({given.noun})"
        if given.axes == 1 and expr.axis in _LENGTHS:
            fix = Edit(expr.span, "in.w")
            raise ExprError(Diagnostic("N312", message, expr.span, help=("its length is `in.w`",), fix=fix))
        raise _error(expr, "N312", message, f"known: {', '.join(f'`{name}`' for name in known)}")
    if expr.axis == "space":
        return given.space if given.axes > 1 else given.space[0]
    return given.sizes[given.letters.index(expr.axis)]


def evaluate(expr: ast.Expr, names: Mapping[str, Value], given: Tensor | None) -> Value:
    """The value of `expr`; `given` is what arrives at this point. Raises ExprError or UnknownShape."""
    match expr:
        case ast.Number():
            return expr.value
        case ast.Size():
            return expr.values
        case ast.InSize():
            return in_size(expr, given)
        case ast.Name():
            return _named(expr, names)
        case ast.Unary():
            return _unary(expr, evaluate(expr.operand, names, given))
        case ast.Sequence():
            return [evaluate(item, names, given) for item in expr.items]
        case ast.Function():
            return _function(expr, [evaluate(arg, names, given) for arg in expr.args])
        case ast.Binary():
            return _operators(expr, names, given)


def _operators(expr: ast.Binary, names: Mapping[str, Value], given: Tensor | None) -> Value:
    """`1 + 2 + 3 + ...`: the left operands in a loop, since a line may hold thousands."""
    spine = [expr]
    while isinstance(spine[-1].left, ast.Binary):
        spine.append(spine[-1].left)
    value = evaluate(spine[-1].left, names, given)
    for binary in reversed(spine):
        if binary.op in ("and", "or"):
            value = _logic(binary, value, names, given)
        else:
            value = _binary(binary, value, evaluate(binary.right, names, given))
    return value


def _named(expr: ast.Name, names: Mapping[str, Value]) -> Value:
    if expr.id in names:
        return names[expr.id]
    if expr.id in CONSTANTS:
        return CONSTANTS[expr.id]
    sure = correction(expr.id, chain(names, CONSTANTS))
    guess = sure or did_you_mean(expr.id, chain(names, CONSTANTS))
    hints = [f"did you mean `{guess}`?"] if guess else []
    if not hints and expr.id in ("in_channels", "channels", "c_in"):
        hints, sure = ["the channels that arrive are `in.c`"], "in.c"
    fix = Edit(expr.span, sure) if sure else None
    raise ExprError(Diagnostic("N312", f"unknown name `{expr.id}`", expr.span, help=tuple(hints), fix=fix))


def _function(expr: ast.Function, values: list[Value]) -> Value:
    if expr.name not in _FUNCTIONS:
        guess = did_you_mean(expr.name, _FUNCTIONS)
        hints, fix = [f"did you mean `{guess}`?"] if guess else ["the functions are `max` and `min`"], None
        span = expr.name_span
        if expr.name == "range" and 1 <= len(expr.args) <= 2:
            ends = [arg.span.text for arg in expr.args]
            text = "..".join(["0", *ends][-2:])
            hints, fix, span = [f"write `{text}`"], Edit(expr.span, text), expr.span
        raise ExprError(Diagnostic("N312", f"unknown function `{expr.name}`", span, help=tuple(hints), fix=fix))
    for arg, value in zip(expr.args, values, strict=True):
        if isinstance(value, bool | tuple | list):
            raise _error(arg, "N303", f"`{expr.name}` needs numbers, not `{show_value(value)}`")
    if not values:
        raise _error(expr, "N305", f"`{expr.name}` needs at least one number")
    return _FUNCTIONS[expr.name](values)


def _logic(expr: ast.Binary, left: Value, names: Mapping[str, Value], given: Tensor | None) -> bool:
    if not isinstance(left, bool):
        raise _error(expr.left, "N303", f"`{expr.op}` needs true or false, not `{show_value(left)}`")
    if left == (expr.op == "or"):
        return left
    right = evaluate(expr.right, names, given)
    if not isinstance(right, bool):
        raise _error(expr.right, "N303", f"`{expr.op}` needs true or false, not `{show_value(right)}`")
    return right


def _unary(expr: ast.Unary, value: Value) -> Value:
    if expr.op == "not":
        if not isinstance(value, bool):
            raise _error(expr, "N303", f"`not` needs true or false, not `{show_value(value)}`")
        return not value
    if isinstance(value, bool | tuple | list):
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
        if (isinstance(left, list) or isinstance(right, list)) and expr.op not in ("==", "!="):
            raise _error(expr, "N303", f"a list cannot be compared by `{expr.op}`")
        return _COMPARISONS[expr.op](left, right)
    for value in (left, right):
        if isinstance(value, bool | tuple | list):
            raise _error(expr, "N303", f"`{expr.op}` needs numbers, not `{show_value(value)}`")
    if expr.op in ("/", "//", "%") and right == 0:
        raise _error(expr, "N304", "division by zero")
    exact = expr.op == "/" and isinstance(left, int) and isinstance(right, int) and left % right == 0
    value = _ARITHMETIC["//" if exact else expr.op](left, right)
    if abs(value) > LARGEST:
        raise _error(expr, "N104", "the result is too large")
    return value
