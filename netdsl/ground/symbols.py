"""Numbers that remember the expression they came from, so that an emitted class can say `4 * c` where 256 is meant.

A symbol is its number in every respect (arithmetic, comparison, `str`) but two: its `repr` is the expression, and
arithmetic with it gives a symbol again. `written` makes symbols that equal only what is written alike: a rule that
leaves out a default of 1 then still writes `s`. A size (`3x5`) under a name is a tuple of `k[0]` and `k[1]`.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, Self

_SUM, _PRODUCT, _NEGATION, _ATOM = 1, 2, 3, 4  # how tightly an expression binds
_SIGNS: Mapping[str, tuple[Callable[..., Any], int]] = {
    "+": (operator.add, _SUM),
    "-": (operator.sub, _SUM),
    "*": (operator.mul, _PRODUCT),
    "/": (operator.truediv, _PRODUCT),
    "//": (operator.floordiv, _PRODUCT),
    "%": (operator.mod, _PRODUCT),
}
_NEUTRAL = {"+": 0, "-": 0, "*": 1, "//": 1}


class _Symbolic:
    """What the two kinds share. parts: sign and operands, or nothing for a name. exact: see `written`."""

    text: str
    binds: int
    parts: tuple[Any, ...]
    exact: bool

    def __new__(
        cls, number: Any, text: str, binds: int = _ATOM, parts: tuple[Any, ...] = (), exact: bool = False
    ) -> Self:
        made = super().__new__(cls, number)  # type: ignore[call-arg]
        made.text, made.binds, made.parts, made.exact = text, binds, parts, exact
        return made

    def __repr__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (plain_value(self), self.text, self.binds, self.parts, self.exact)

    def __eq__(self, other: object) -> bool:
        if self.exact:
            return isinstance(other, _Symbolic) and self.text == other.text
        return bool(plain_value(self) == plain_value(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(plain_value(self))

    def __neg__(self) -> Any:
        return _kind(-plain_value(self))(
            -plain_value(self), f"-{_operand(self, _NEGATION)}", _NEGATION, ("-", 0, self), self.exact
        )


class Symbol(_Symbolic, int):
    """A whole number and its expression."""

    def __str__(self) -> str:
        return int.__repr__(self)


class FloatSymbol(_Symbolic, float):
    """A real number and its expression."""

    def __str__(self) -> str:
        return float.__repr__(self)


class Sized:
    """What holds sizes, which may be symbols: the type of a tensor (netdsl.graph.types)."""

    sizes: tuple[int, ...]

    def map_sizes(self, change: Callable[[int], int]) -> Sized:
        """Itself with each size changed."""
        raise NotImplementedError


def _within(value: Any, change: Callable[[Any], Any]) -> Any:
    """A tuple or a tensor's type with what it holds changed; anything else as it is."""
    if isinstance(value, tuple):
        return tuple([change(v) for v in value])
    return value.map_sizes(change) if isinstance(value, Sized) else value


def _kind(number: int | float) -> type:
    return Symbol if isinstance(number, int) else FloatSymbol


def symbol(value: Any, text: str) -> Any:
    """`value` under the name `text`; truth values and lists stay what they are."""
    if isinstance(value, tuple):
        return tuple(symbol(size, f"{text}[{i}]") for i, size in enumerate(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    number = plain_value(value)
    return _kind(number)(number, text)


def written(value: Any) -> Any:
    """`value`, where symbols in it (in tuples and sizes too) are equal only to what is written alike."""
    if isinstance(value, _Symbolic):
        return type(value)(plain_value(value), value.text, value.binds, value.parts, True)
    return _within(value, written)


def plain_value(value: Any) -> Any:
    """The number itself, in tuples and sizes too."""
    if type(value) is int:  # most are, and there are many
        return value
    if isinstance(value, _Symbolic):
        return int(value) if isinstance(value, int) else float(value)  # type: ignore[arg-type]
    return _within(value, plain_value)


def value_text(value: object) -> str:
    """How an emitter writes a value: a finite number, a truth value, None, an expression of a block's names, a tuple of
    them, a layer's name or a word in quotes, the name of a kernel, or a dataclass of such values.

    Raises AssertionError for anything else, so that nothing else can reach emitted text.
    """
    if isinstance(value, _Symbolic) or value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float) and math.isfinite(value):
        return float.__repr__(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(value_text, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, str):
        return '"' + ".".join(part if part.isdecimal() else word_text(part) for part in value.split(".")) + '"'
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _made_text(value)
    if callable(value):
        return word_text(str(getattr(value, "__name__", "")))
    raise AssertionError(f"{type(value).__name__} {str(value)[:80]!r} cannot be written into a module")


def _made_text(value: Any) -> str:
    """`ConvGeometry((16, 32, 32), 16, (3, 3), padding=((1, 1), (1, 1)))`: fields with a default by name, where they are
    something else."""
    parts = []
    for given in dataclasses.fields(value):
        text = value_text(getattr(value, given.name))
        if given.default is dataclasses.MISSING:
            parts.append(text)
        elif getattr(value, given.name) != given.default:
            parts.append(f"{given.name}={text}")
    return f"{word_text(type(value).__name__)}({', '.join(parts)})"


def word_text(word: str) -> str:
    """The word, which is an identifier. Raises AssertionError where it is none."""
    if not (word.isascii() and word.isidentifier()):
        raise AssertionError(f"{word[:80]!r} is no identifier")
    return word


def is_symbolic(value: object) -> bool:
    """True if a symbol is in `value`, in tuples and sizes too."""
    inside = value.sizes if isinstance(value, Sized) else value
    return isinstance(value, _Symbolic) or (isinstance(inside, tuple) and any(is_symbolic(v) for v in inside))


def substitute(value: Any, names: Mapping[str, Any]) -> Any:
    """`value` with each name in its expressions replaced: numbers where all that is put in is numbers."""
    if not isinstance(value, _Symbolic):
        return _within(value, lambda v: substitute(v, names))
    if not value.parts:
        return names.get(value.text, value)
    sign, left, right = value.parts
    return _SIGNS[sign][0](substitute(left, names), substitute(right, names))


def renamed(value: Any, rename: Callable[[str], str]) -> Any:
    """`value` with every name in its expressions changed; a size's name comes with its `[0]`."""
    if not isinstance(value, _Symbolic):
        return _within(value, lambda v: renamed(v, rename))
    if not value.parts:
        return symbol(value, rename(value.text))
    sign, left, right = value.parts
    return _SIGNS[sign][0](renamed(left, rename), renamed(right, rename))


def is_all(value: object, number: float) -> bool:
    """True if a value is that number, along every axis and on every side where it has several."""
    return all(is_all(part, number) for part in value) if isinstance(value, tuple) else value == number


def spatial_text(sizes: tuple[int, ...]) -> int | tuple[int, ...]:
    """Sizes along the axes of space as PyTorch takes them: one number where all are equal, a name where they have one
    together."""
    if all(size == sizes[0] for size in sizes):
        return sizes[0]
    name = repr(sizes[0]).removesuffix("[0]")
    if all(repr(size) == f"{name}[{i}]" for i, size in enumerate(sizes)):
        return Symbol(0, name)
    return sizes


def _operand(value: Any, binds: int) -> str:
    text = repr(value)
    own = value.binds if isinstance(value, _Symbolic) else _NEGATION if text.startswith("-") else _ATOM
    return text if own >= binds else f"({text})"


def _needs_no_parentheses(sign: str, right: Any, result: Any) -> bool:
    """Whether `left sign (right)` may drop them where both bind alike: whole numbers, and sums or products only."""
    if sign not in "+*" or not isinstance(result, int):
        return False
    while isinstance(right, _Symbolic) and right.binds == _SIGNS[sign][1]:
        if sign == "*" and right.parts[0] != "*":
            return False
        right = right.parts[1]
    return True


def _joined(sign: str, left: Any, right: Any) -> Any:
    """left sign right, as a symbol; `+ 0`, `* 1` and `// 1` are left out, a product says its number first, and
    `c + c` is `2 * c`, `3 * c - c` too."""
    compute, binds = _SIGNS[sign]
    if not isinstance(right, _Symbolic) and right == _NEUTRAL.get(sign):
        return left
    if not isinstance(left, _Symbolic) and left == _NEUTRAL.get(sign) and sign in "+*":
        return right
    if sign in "+-":
        (times, base), (more, same) = _multiple(left), _multiple(right)
        if repr(base) == repr(same) and isinstance(base, Symbol) and plain_value(base) == plain_value(same):
            times = compute(times, more)
            return _joined("*", times, base) if times else 0
    parts = (sign, left, right)
    if sign == "*" and not isinstance(right, _Symbolic):
        left, right = right, left
    result = compute(plain_value(left), plain_value(right))
    right_binds = binds if _needs_no_parentheses(sign, right, result) else binds + 1
    text = f"{_operand(left, binds)} {sign} {_operand(right, right_binds)}"
    exact = any(isinstance(side, _Symbolic) and side.exact for side in (left, right))
    return _kind(result)(result, text, binds, parts, exact)


def _multiple(value: Any) -> tuple[int, Any]:
    """`3 * c` -> 3, c; anything else is once itself."""
    if isinstance(value, _Symbolic) and value.parts and value.parts[0] == "*":
        _, left, right = value.parts
        for times, base in ((left, right), (right, left)):
            if isinstance(times, int) and not isinstance(times, _Symbolic):
                return times, base
    return 1, value


def _add_arithmetic() -> None:
    for name, sign in zip(("add", "sub", "mul", "truediv", "floordiv", "mod"), _SIGNS, strict=True):

        def forward(left: Any, right: Any, sign: str = sign) -> Any:
            return _joined(sign, left, right) if isinstance(right, int | float) else NotImplemented

        def reflected(right: Any, left: Any, sign: str = sign) -> Any:
            return _joined(sign, left, right) if isinstance(left, int | float) else NotImplemented

        setattr(_Symbolic, f"__{name}__", forward)
        setattr(_Symbolic, f"__r{name}__", reflected)


_add_arithmetic()
