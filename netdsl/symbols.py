"""Numbers that remember the expression they came from, so that an emitted class can say `4 * c` where 256 is meant.

A Symbol is its number in every respect (arithmetic, comparison, `str`) but two: its `repr` is the expression, and
arithmetic with it gives a Symbol again. `written` makes the second kind, which equals only what is written alike: a rule
that leaves out a default of 1 then still writes `s`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

_SUM, _PRODUCT, _NEGATION, _ATOM = 1, 2, 3, 4  # how tightly an expression binds


class _Symbolic:
    """What the kinds of number share."""

    text: str
    binds: int

    def __repr__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple:
        return (type(self), (self.number, self.text, self.binds))

    @property
    def number(self) -> int | float:
        raise NotImplementedError


class Symbol(_Symbolic, int):
    """A whole number and its expression."""

    def __new__(cls, number: int, text: str, binds: int = _ATOM) -> Symbol:
        made = super().__new__(cls, number)
        made.text, made.binds = text, binds
        return made

    def __str__(self) -> str:
        return int.__repr__(self)

    @property
    def number(self) -> int:
        return int(self)


class FloatSymbol(_Symbolic, float):
    """A real number and its expression."""

    def __new__(cls, number: float, text: str, binds: int = _ATOM) -> FloatSymbol:
        made = super().__new__(cls, number)
        made.text, made.binds = text, binds
        return made

    def __str__(self) -> str:
        return float.__repr__(self)

    @property
    def number(self) -> float:
        return float(self)


class SizeSymbol(tuple):
    """A size (`3x5`) and the name it is known under."""

    text: str

    def __new__(cls, sizes: tuple[int, ...], text: str) -> SizeSymbol:
        made = super().__new__(cls, sizes)
        made.text = text
        return made

    def __repr__(self) -> str:
        return self.text


class _Written:
    """Equal only to what is written alike; see `written`."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Written) and repr(self) == repr(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(repr(self))


class WrittenSymbol(_Written, Symbol):
    pass


class WrittenFloat(_Written, FloatSymbol):
    pass


class WrittenSize(_Written, SizeSymbol):
    pass


def symbol(value: object, text: str) -> object:
    """`value` under the name `text`; truth values and lists stay what they are."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return Symbol(int(value), text)
    if isinstance(value, float):
        return FloatSymbol(float(value), text)
    return SizeSymbol(value, text) if isinstance(value, tuple) else value


def written(value: object) -> object:
    """`value`, where symbols in it (in tuples too) are equal only to what is written alike."""
    if isinstance(value, _Written):
        return value
    if isinstance(value, Symbol):
        return WrittenSymbol(int(value), value.text, value.binds)
    if isinstance(value, FloatSymbol):
        return WrittenFloat(float(value), value.text, value.binds)
    if isinstance(value, SizeSymbol):
        return WrittenSize(tuple(value), value.text)
    return tuple(written(v) for v in value) if isinstance(value, tuple) else value


def plain_value(value: object) -> object:
    """The number itself, in tuples too."""
    if isinstance(value, _Symbolic):
        return value.number
    return tuple(plain_value(v) for v in value) if isinstance(value, tuple) else value


def is_symbolic(value: object) -> bool:
    """True if a symbol is in `value`, in tuples too."""
    if isinstance(value, _Symbolic | SizeSymbol):
        return True
    return isinstance(value, tuple) and any(is_symbolic(v) for v in value)


def _operand(value: object, binds: int) -> str:
    text = repr(value)
    own = value.binds if isinstance(value, _Symbolic) else _NEGATION if text.startswith("-") else _ATOM
    return text if own >= binds else f"({text})"


def _joined(sign: str, binds: int, compute: Callable, left: object, right: object) -> object:
    """left sign right, as a symbol; `+ 0`, `* 1` and `// 1` are left out, and a product says its number first."""
    result = compute(plain_value(left), plain_value(right))
    neutral = {"+": 0, "-": 0, "*": 1, "//": 1}.get(sign)
    if not isinstance(right, _Symbolic) and right == neutral:
        return left
    if not isinstance(left, _Symbolic) and left == neutral and sign in "+*":
        return right
    if sign == "*" and not isinstance(right, _Symbolic):
        left, right = right, left
    commutes = sign in "+*"
    text = f"{_operand(left, binds)} {sign} {_operand(right, binds if commutes else binds + 1)}"
    if isinstance(result, int):
        return WrittenSymbol(result, text, binds) if isinstance(left, _Written) else Symbol(result, text, binds)
    return FloatSymbol(result, text, binds)


def _with_arithmetic(kind: type) -> None:
    for name, sign, binds in (
        ("add", "+", _SUM),
        ("sub", "-", _SUM),
        ("mul", "*", _PRODUCT),
        ("truediv", "/", _PRODUCT),
        ("floordiv", "//", _PRODUCT),
        ("mod", "%", _PRODUCT),
    ):
        compute = getattr(operator, name)

        def forward(left, right, sign=sign, binds=binds, compute=compute):
            return _joined(sign, binds, compute, left, right) if isinstance(right, int | float) else NotImplemented

        def reflected(right, left, sign=sign, binds=binds, compute=compute):
            return _joined(sign, binds, compute, left, right) if isinstance(left, int | float) else NotImplemented

        setattr(kind, f"__{name}__", forward)
        setattr(kind, f"__r{name}__", reflected)

    def negative(value):
        return type(value)(-value.number, f"-{_operand(value, _NEGATION)}", _NEGATION)

    kind.__neg__ = negative


_with_arithmetic(Symbol)
_with_arithmetic(FloatSymbol)
