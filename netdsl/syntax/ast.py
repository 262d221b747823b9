"""The syntax tree of a `.net` file: frozen, with spans that equality ignores."""

from __future__ import annotations

from dataclasses import dataclass, field

from netdsl.source import Span


@dataclass(frozen=True)
class Syntax:
    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True)
class Number(Syntax):
    """An int, or a float if it was written with a point or an exponent."""

    value: int | float


@dataclass(frozen=True)
class Size(Syntax):
    """`1x28x28`, `3x5`."""

    values: tuple[int, ...]


@dataclass(frozen=True)
class Name(Syntax):
    """A bare name: a short flag (`k5`), a word (`nobias`) or a variable; which one is decided when lowering."""

    id: str


@dataclass(frozen=True)
class InSize(Syntax):
    """`in.c`, `in.h`, `in.w`, `in.n`: `axis` is the letter."""

    axis: str


@dataclass(frozen=True)
class Unary(Syntax):
    op: str
    operand: Expr


@dataclass(frozen=True)
class Binary(Syntax):
    op: str
    left: Expr
    right: Expr


Expr = Number | Size | Name | InSize | Unary | Binary


@dataclass(frozen=True)
class Arg(Syntax):
    """What follows a layer's name: `32`, `k5`, `nobias` (key None) or `p=k//2`."""

    key: str | None
    value: Expr
    key_span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Layer(Syntax):
    name: str
    args: tuple[Arg, ...]
    name_span: Span = field(compare=False, repr=False)


@dataclass(frozen=True)
class Body(Syntax):
    """`{ ... }`, or the whole file: chains and expectations in order."""

    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Element(Syntax):
    """`label: count * primary`; label and count may be missing."""

    label: Label | None
    count: Expr | None
    primary: Layer | Body


@dataclass(frozen=True)
class Label(Syntax):
    name: str


@dataclass(frozen=True)
class Chain(Syntax):
    elements: tuple[Element, ...]


@dataclass(frozen=True)
class Input(Syntax):
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Expect(Syntax):
    condition: Expr


@dataclass(frozen=True)
class Value(Syntax):
    """A value of the train block: a word, a number, a quoted string (`quoted`), or several numbers in parentheses."""

    value: str | int | float | tuple[int | float, ...]
    quoted: bool = False


@dataclass(frozen=True)
class Keyed(Syntax):
    key: str
    value: Value


@dataclass(frozen=True)
class Entry(Syntax):
    """`opt adam lr=1e-3`."""

    key: str
    settings: tuple[Value | Keyed, ...]
    key_span: Span = field(compare=False, repr=False)


@dataclass(frozen=True)
class Train(Syntax):
    entries: tuple[Entry, ...]


Statement = Chain | Input | Expect | Train


@dataclass(frozen=True)
class Program(Syntax):
    statements: tuple[Statement, ...]
