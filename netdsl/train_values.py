"""Values and options in a train block: what is read of each kind, and what is said about one that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from netdsl.diagnostics import did_you_mean
from netdsl.syntax import ast


class Mistake(Exception):
    """What is wrong with an entry, and what helps; the caller knows the place."""

    def __init__(self, message: str, *help: str) -> None:
        super().__init__(message)
        self.help = help


def word(value: object, known: Mapping[str, object], what: str) -> str:
    """The value, if it is a known word."""
    if value in known:
        return str(value)
    guess = did_you_mean(str(value), known)
    hints = (f"did you mean `{guess}`?",) if guess else ()
    raise Mistake(f"unknown {what} `{value}`", *hints, f"known: {', '.join(f'`{name}`' for name in known)}")


def whole(value: object, minimum: int, what: str) -> int:
    """The value, if it is a whole number of at least `minimum`."""
    if not isinstance(value, int) or value < minimum:
        raise Mistake(f"{what} must be a whole number of at least {minimum}, not `{_shown(value)}`")
    return value


def _number(value: object, what: str) -> float:
    if not isinstance(value, int | float):
        raise Mistake(f"`{what}` takes a number, not `{_shown(value)}`")
    return float(value)


def _numbers(value: object, what: str, count: int, example: str) -> tuple[float, ...]:
    """Several numbers in parentheses, `count` or more."""
    if not isinstance(value, tuple) or len(value) < count:
        raise Mistake(f"`{what}` takes {count} numbers or more, not `{_shown(value)}`", f"write `{what}={example}`")
    return tuple(float(v) for v in value)


def _shown(value: object) -> str:
    return f"({', '.join(map(str, value))})" if isinstance(value, tuple) else str(value)


def _within(fits: Callable[[float], bool], text: str) -> Callable[[object, str], float]:
    """What reads a number of a range, which `text` tells."""

    def read(value: object, what: str) -> float:
        number = _number(value, what)
        if not fits(number):
            raise Mistake(f"`{what}` must be {text}, not {value}")
        return number

    return read


def _pair(value: object, what: str) -> tuple[float, ...]:
    if not (isinstance(value, tuple) and len(value) == 2 and all(0 <= v < 1 for v in value)):
        raise Mistake(f"`{what}` takes two numbers of at least 0 and below 1", f"write `{what}=(0.9, 0.999)`")
    return tuple(float(v) for v in value)


def _weights(value: object, what: str) -> tuple[float, ...]:
    weights = _numbers(value, what, 2, "(1, 2, 1)")
    if min(weights) <= 0:
        raise Mistake(f"`{what}` must be above 0, not `{_shown(value)}`")
    return weights


def _rising(value: object, what: str) -> tuple[float, ...]:
    epochs = _numbers(value if isinstance(value, tuple) else (_number(value, what),), what, 1, "(30, 60)")
    if epochs[0] <= 0 or any(a >= b for a, b in zip(epochs, epochs[1:], strict=False)):
        raise Mistake(f"`{what}` takes epochs above 0 that rise, not `{_shown(value)}`", f"write `{what}=(30, 60)`")
    return epochs


KINDS: Mapping[str, Callable[[object, str], object]] = {
    "number": _number,
    "fraction": _within(lambda v: 0 <= v < 1, "at least 0 and below 1"),
    "share": _within(lambda v: 0 < v < 1, "above 0 and below 1"),
    "positive": _within(lambda v: v > 0, "above 0"),
    "epochs": _within(lambda v: v > 0, "above 0"),
    "factor": _within(lambda v: v >= 1, "at least 1"),
    "degrees": _within(lambda v: 0 < v <= 180, "above 0 and at most 180"),
    "whole": lambda value, what: whole(value, 1, f"`{what}`"),
    "pair": _pair,
    "weights": _weights,
    "rising": _rising,
}
"""Kind of a value -> what checks one. A `word` has none."""


def single(entry: ast.Entry) -> object:
    """The value of an entry that has one and nothing else."""
    if len(entry.settings) != 1 or not isinstance(entry.settings[0], ast.Value):
        raise Mistake(f"`{entry.key}` takes one value")
    return entry.settings[0].value


def named(entry: ast.Entry, known: Mapping[str, object], what: str, example: str) -> str:
    """The first word of an entry that goes on with options."""
    if not entry.settings or not isinstance(entry.settings[0], ast.Value):
        raise Mistake(f"`{entry.key}` takes the name of {what}", f"write `{example}`")
    return word(entry.settings[0].value, known, what.partition(" ")[2])


def read_options(settings: tuple, owner: str, table: Mapping[str, Mapping[str, str]]) -> dict[str, object]:
    """`momentum=0.9 nesterov` -> {"momentum": 0.9, "nesterov": True}; table: owner -> spelling -> kind."""
    known, found = table[owner], {}
    for setting in settings:
        key = setting.key if isinstance(setting, ast.Keyed) else _shown(setting.value)
        if key not in known:
            raise _foreign(key, owner, table)
        if isinstance(setting, ast.Keyed) == (known[key] == "word"):
            is_word = known[key] == "word"
            raise Mistake(f"`{key}` is a word: it takes no value" if is_word else f"`{key}` needs a value: `{key}=...`")
        if key in found:
            raise Mistake(f"`{key}` is given twice")
        found[key] = True if known[key] == "word" else KINDS[known[key]](setting.value.value, key)
    return found


def _foreign(key: str, owner: str, table: Mapping[str, Mapping[str, str]]) -> Mistake:
    """About an option that `owner` has not."""
    guess = did_you_mean(key, table[owner])
    others = [f"`{name}`" for name, options in table.items() if key in options]
    hints = [f"did you mean `{guess}`?"] if guess else []
    hints += [f"it is an option of {', '.join(others)}"] if others else []
    hints += [f"known: {', '.join(f'`{name}`' for name in table[owner])}"] if table[owner] else []
    return Mistake(f"unknown option of `{owner}` `{key}`", *hints)
