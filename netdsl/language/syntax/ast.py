"""The syntax tree of a `.net` file: frozen, with spans that equality ignores."""

from __future__ import annotations

from collections.abc import Iterator

from netdsl.graph.schedules import Steps as Steps
from netdsl.ground.source import Span
from netdsl.language.syntax.frozen import Frozen


class Syntax(Frozen):
    """A piece of the text, and where it stands."""

    span: Span


class Number(Syntax):
    """An int, or a float if it was written with a point or an exponent."""

    value: int | float


class Size(Syntax):
    """`1x28x28`, `3x5`."""

    values: tuple[int, ...]


class Name(Syntax):
    """A bare name: a short flag (`k5`), a word (`nobias`) or a variable; which one is decided when lowering."""

    id: str


class InSize(Syntax):
    """`in.c`, `in.d`, `in.h`, `in.w`, `in.n`: `axis` is the letter; or `in.space`."""

    axis: str


class Unary(Syntax):
    op: str
    operand: Expr


class Binary(Syntax):
    op: str
    left: Expr
    right: Expr


class Sequence(Syntax):
    """`[6, 12, 24]`, or with `parentheses` one item of it, `(64, 1)`."""

    items: tuple[Expr, ...]
    parentheses: bool = False


class Function(Syntax):
    """`max(8, c // 4)` in an expression."""

    name: str
    args: tuple[Expr, ...]
    name_span: Span


class Range(Syntax):
    """`0..4`: 0, 1, 2, 3."""

    start: Expr
    stop: Expr


Expr = Number | Size | Name | InSize | Unary | Binary | Sequence | Function


class Ref(Syntax):
    """`@skip`, `@encoder.skip`: the output of what has that label; `path` is without the `@`."""

    path: str


class Arg(Syntax):
    """What follows a layer's name: `32`, `k5`, `nobias`, `@skip` (key None) or `p=k//2`."""

    key: str | None
    value: Expr | Ref
    key_span: Span | None = None

    @property
    def expr(self) -> Expr:
        """The value of an argument that is no `@skip`."""
        assert not isinstance(self.value, Ref), self
        return self.value


class Layer(Syntax):
    name: str
    args: tuple[Arg, ...]
    name_span: Span


class Call(Syntax):
    """`neck(64, s=2)`."""

    name: str
    args: tuple[Arg, ...]
    name_span: Span


class Body(Syntax):
    """`{ ... }`, a branch of a merge, or the whole file: chains, lets and expectations in order."""

    statements: tuple[Statement, ...]


MERGES = ("add", "mul", "cat", "res")
"""What joins branches: each is the layer of that name, but for `res { f }`, which is `add { f | id }`."""


class Merge(Syntax):
    """`add { a | b }`; `op` is one of MERGES, of which `res` has one branch."""

    op: str
    branches: tuple[Body, ...]
    op_span: Span


class If(Syntax):
    condition: Expr
    then: Body
    otherwise: Body | If | None


class For(Syntax):
    """`for c, s in [(64, 1), (128, 2)] { ... }`, `for i in 0..4 { ... }`."""

    names: tuple[Name, ...]
    items: Expr | Range
    body: Body


Primary = Layer | Ref | Call | Body | Merge | If | For


class Element(Syntax):
    """`label: count * primary`; label and count may be missing."""

    label: Label | None
    count: Expr | None
    primary: Primary


class Label(Syntax):
    """`name:`; its parts are text and, from `{i}`, expressions."""

    parts: tuple[str | Expr, ...]


class Chain(Syntax):
    elements: tuple[Element, ...]


class Constants(Syntax):
    """`mean (0.49, 0.48, 0.45)` behind the sizes of an input: `name` is mean or std, the numbers may be negative."""

    name: str
    values: tuple[Number | Unary, ...]

    @property
    def numbers(self) -> tuple[float, ...]:
        numbers = []
        for value in self.values:
            number = value.operand if isinstance(value, Unary) else value
            assert isinstance(number, Number), number
            numbers.append(float(-number.value if number is not value else number.value))
        return tuple(numbers)


class Input(Syntax):
    """`input 1x28x28 mean 0.1307 std 0.3081`, `input 9x128 map` (`is_map`), `input 64 of 65` (`limit`); the span holds
    the sizes and what says what they are."""

    shape: tuple[int, ...]
    is_map: bool = False
    limit: int | None = None
    constants: tuple[Constants, ...] = ()


class Expect(Syntax):
    condition: Expr


class Value(Syntax):
    """A value of the train block: a word, a number, `100steps`, a quoted string (`quoted`), or several numbers in
    parentheses."""

    value: str | int | float | Steps | tuple[int | float | Steps, ...]
    quoted: bool = False


class Keyed(Syntax):
    key: str
    value: Value


class Entry(Syntax):
    """`opt adam lr=1e-3`."""

    key: str
    settings: tuple[Value | Keyed, ...]
    key_span: Span


class Train(Syntax):
    entries: tuple[Entry, ...]


class Let(Syntax):
    name: Name
    value: Expr


class Param(Syntax):
    """A parameter of a block, `s=1`."""

    name: Name
    default: Expr | None


class Block(Syntax):
    """`block neck(c, s=1) { ... }`."""

    name: str
    params: tuple[Param, ...]
    body: Body
    name_span: Span


class Use(Syntax):
    """`use "blocks.net"` (`quoted`), `use std`."""

    target: str
    quoted: bool


Statement = Chain | Input | Expect | Train | Let | Block | Use


class Program(Syntax):
    statements: tuple[Statement, ...]


def walk(syntax: Syntax) -> Iterator[Syntax]:
    """The syntax itself and everything in it."""
    pending: list[object] = [syntax]
    while pending:
        item = pending.pop()
        if isinstance(item, tuple):
            pending += item
        elif isinstance(item, Syntax):
            yield item
            pending += item.content()
