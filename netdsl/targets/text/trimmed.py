"""The texts of a module without what nothing in it asks for: parameters that no call gives or no line reads, attributes
and variables that nobody reads, fields of records that are neither given nor read.

What a parameter is that no call gives is known, its default; so conditions on it are decided. One leads to the next:
this goes on until no text changes.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from netdsl.targets.text.folded import does_nothing, folded
from netdsl.targets.text.kernel_source import REMEMBERED, Kernel, TextOf, parsed, walk
from netdsl.targets.text.plain_text import is_record
from netdsl.targets.text.rewritten import (
    functions_in,
    functions_of,
    without_arguments,
    without_fields,
    without_last_returns,
    without_parameters,
    without_statements,
)
from netdsl.targets.text.said import Call, Said, called_in, is_own, name_of, own_given_in, said_in

Reach = Callable[[TextOf], Mapping[Kernel, str]]
"""Gives the texts that a module reaches, of those that it is given."""


@dataclass(frozen=True)
class Outside:
    """What else a module is. others: what those of its texts say that are no kernels; kept: names that are called from
    outside. Heirs of `left` keep their methods as they are; heirs of `stages` have attributes for each other alone."""

    others: tuple[Said, ...]
    kept: frozenset[str]
    left: type
    stages: type


def trimmed(reach: Reach, text_of: TextOf, outside: Outside) -> dict[Kernel, str]:
    """The texts of `text_of` that are reached, without what nothing asks for in them."""
    reached: Mapping[Kernel, str] = {}
    texts = dict(reach(text_of))
    while texts != reached:
        reached = reach(text_from(texts, text_of))
        trim = _Trim(reached, outside)
        texts = {kernel: trim.text(kernel, text) for kernel, text in reached.items()}
    return texts


def unread_settings(texts: Mapping[Kernel, str]) -> dict[Kernel, frozenset[str]]:
    """Of classes the parameters of their constructors, those with defaults, that are not read in these."""
    made = [(kernel, one) for kernel, text in texts.items() for one in functions_in(parsed(text).body[0])]
    return {
        kernel: frozenset(name for _, name, default in _parameters(one) if default is not None) - _read_in(one)
        for kernel, one in made
        if one.name == "__init__"
    }


def text_from(texts: Mapping[Kernel, str], text_of: TextOf) -> TextOf:
    """Gives these texts, and else those of `text_of`."""
    named = {(kernel.__module__, kernel.__name__): text for kernel, text in texts.items()}
    return lambda module, name: named.get((module.__name__, name)) or text_of(module, name)


class _Trim:
    """What is asked for in a module, where these are its texts."""

    def __init__(self, texts: Mapping[Kernel, str], outside: Outside) -> None:
        told = {kernel: said_in(text, self._is_stage(kernel, outside)) for kernel, text in texts.items()}
        said = [*told.values(), *outside.others]
        self.outside, self.told, self.texts = outside, told, texts
        self.read = outside.kept.union(*(one.read for one in said))
        self.handed = frozenset[str]().union(*(one.handed for one in said))
        self.calls: dict[str, list[Call]] = {}
        for name, calls in (pair for one in said for pair in one.calls.items()):
            self.calls.setdefault(name, []).extend(calls)
        self.open = {name for name, calls in self.calls.items() if any(call.is_open for call in calls)}
        self.lines: dict[Kernel, frozenset[Kernel]] = {}
        self.extended = {base for kernel in texts if isinstance(kernel, type) for base in kernel.__mro__[1:]}
        needed = [one.given_on & told[other].own for kernel, one in told.items() for other in self._related(kernel)]
        self.read = self.read.union(*needed)
        self.methods = {kernel: functions_of(text) for kernel, text in texts.items()}
        self.called = {kernel: self._called(kernel, methods) for kernel, methods in self.methods.items()}
        defined: dict[str, list[ast.FunctionDef]] = {}
        for kernel, called in self.called.items():
            for name, function in self.methods[kernel].items():
                defined.setdefault(called[name], []).append(function)
        self.gone = {name: self._gone(name, ones[0]) for name, ones in defined.items() if len(ones) == 1}
        self.needless = {
            name: frozenset(key for one in gone for key in one) for name, gone in self.gone.items() if gone
        }
        self.idle = frozenset(name for name, ones in defined.items() if name and all(map(_is_idle, ones)))

    @staticmethod
    def _is_stage(kernel: Kernel, outside: Outside) -> bool:
        return isinstance(kernel, type) and issubclass(kernel, outside.stages)

    def _called(self, kernel: Kernel, functions: Iterable[str]) -> dict[str, str]:
        """By what names functions are called; nothing where that is not known."""
        if isinstance(kernel, type) and issubclass(kernel, self.outside.left):
            return dict.fromkeys(functions, "")
        names = {
            one: kernel.__name__ if one == "__init__" and kernel not in self.extended else one for one in functions
        }
        handed = self.handed.union(*(self.told[one].given for one in self._related(kernel)))
        return {one: "" if name.startswith("__") or name in handed else name for one, name in names.items()}

    def _related(self, kernel: Kernel) -> frozenset[Kernel]:
        """The definitions that an object of the class may be of, too."""
        if kernel not in self.lines:
            made = [one for one in self.texts if isinstance(one, type) and kernel in one.__mro__]
            self.lines[kernel] = frozenset(base for one in made for base in one.__mro__ if base in self.texts) | {
                kernel
            }
        return self.lines[kernel]

    def _idle(self, name: str, function: ast.FunctionDef) -> frozenset[str]:
        """The parameters of a function, which is called by that name, that are always their default."""
        calls = self._calls_of(name)
        if not calls:
            return frozenset()
        optional = [(place, arg, (None, default)) for place, arg, default in _optional(function)]
        return frozenset(
            arg for place, arg, default in optional if all(call.says(place, arg) in default for call in calls)
        )

    def _gone(self, name: str, function: ast.FunctionDef) -> set[tuple[int, str]]:
        """The places and names of the parameters of a function that nothing in it reads, so that no call need give
        them. Those that do give them are all of methods of `self` or of its worker."""
        calls, unused = self._calls_of(name), _unused(function)
        if not calls or not unused:
            return set()
        idle = self._idle(name, function)
        return {
            (place, arg)
            for place, arg in unused
            if (arg in idle or all(call.own for call in calls))
            and all(call.own for call in calls if call.says(place, arg) is not None)
        }

    def _calls_of(self, name: str) -> list[Call]:
        """The calls of that name; none where it is not known what they give."""
        return [] if not name or name in self.open else self.calls.get(name, [])

    def text(self, kernel: Kernel, text: str) -> str:
        """The text of a definition without what nobody asks for."""
        (node,) = parsed(text).body
        if isinstance(kernel, type) and issubclass(kernel, self.outside.left):
            return without_statements(text, self._unread_in(kernel, node))
        if is_record(node):
            return without_fields(text, lambda place, name: self._is_idle_field(kernel, place, name))
        is_stage = self._is_stage(kernel, self.outside)
        functions, called = self.methods[kernel], self.called[kernel]
        idle = {name: self._idle(called[name], one) for name, one in functions.items()}
        gone = {name: self._unread(called[name], one, idle[name]) for name, one in functions.items()}
        parts = self._parts_for_nobody(kernel, node) if is_stage else self._unread_in(kernel, node)
        calls = called_in(text)
        needless = _Needless(
            frozenset(part.lineno for part in parts),
            tuple((name, args) for name, args in idle.items() if args),
            tuple((name, args) for name, args in gone.items() if args),
            tuple((name, self.needless[name]) for name in calls if name in self.needless),
            own_given_in(text) - self._read_of(kernel) if is_stage else frozenset(),
            self.idle.intersection(calls),
        )
        return _without(text, needless)

    def _parts_for_nobody(self, kernel: Kernel, node: ast.stmt) -> list[ast.stmt]:
        """Of a class the attributes that nobody reads, and the methods that do nothing, as the ones they replace."""
        methods = [part for part in getattr(node, "body", ()) if isinstance(part, ast.FunctionDef)]
        return [*self._unread_in(kernel, node), *(part for part in methods if self._adds_nothing(kernel, part))]

    def _unread_in(self, kernel: Kernel, node: ast.stmt) -> list[ast.stmt]:
        """Of a class the attributes that nobody reads."""
        given = [part for part in node.body if isinstance(part, ast.Assign)] if isinstance(node, ast.ClassDef) else []
        read = self._read_of(kernel) if given else frozenset()
        return [part for part in given if read.isdisjoint(n.id for n in walk(part) if isinstance(n, ast.Name))]

    def _adds_nothing(self, kernel: Kernel, method: ast.FunctionDef) -> bool:
        line = [self.methods[base] for base in getattr(kernel, "__mro__", ())[1:] if base in self.methods]
        replaced = next((methods[method.name] for methods in line if method.name in methods), None)
        return replaced is not None and all(map(does_nothing, (*method.body, *replaced.body)))

    def _unread(self, name: str, function: ast.FunctionDef, idle: Container[str]) -> frozenset[str]:
        """The parameters that a function does without: of several functions of one name those that no call gives."""
        if name in self.gone:
            return frozenset(arg for _, arg in self.gone[name])
        unread = {(place, arg) for place, arg in _unused(function) if arg in idle} if name else set()
        given = {key for call in self.calls.get(name, []) for key in call.given} if unread else set()
        return frozenset(arg for place, arg in unread if not given & {place, arg})

    def _read_of(self, kernel: Kernel) -> frozenset[str]:
        """The attributes that are read of objects of a class, or may be; a network extends several parts."""
        is_left = isinstance(kernel, type) and issubclass(kernel, self.outside.left)
        return self.read.union(*(self.told[one].own for one in (self.told if is_left else self._related(kernel))))

    def _is_idle_field(self, kernel: Kernel, place: int, name: str) -> bool:
        """Whether nobody reads or gives a field of a record."""
        calls = self.calls.get(kernel.__name__, [])
        is_made = calls and kernel.__name__ not in self.handed and not any(call.is_open for call in calls)
        is_idle = name not in self._read_of(kernel) and all(call.says(place, name) is None for call in calls)
        return bool(is_made) and is_idle


@dataclass(frozen=True)
class _Needless:
    """What the text of a definition does without. statements: those of a class, by their first lines; idle: by the name
    of a function its parameters that are always their default, gone: those that no line reads; arguments: by the name
    of what is called the places and names of what no call need give; unread: attributes of `self`; calls: methods that
    do nothing."""

    statements: frozenset[int]
    idle: tuple[tuple[str, frozenset[str]], ...]
    gone: tuple[tuple[str, frozenset[str]], ...]
    arguments: tuple[tuple[str, frozenset[int | str]], ...]
    unread: frozenset[str]
    calls: frozenset[str]


@lru_cache(2 * REMEMBERED)
def _without(text: str, needless: _Needless) -> str:
    """The text of a definition without all that: mostly the same as in a network before."""
    (node,) = parsed(text).body
    idle, gone, arguments = dict(needless.idle), dict(needless.gone), dict(needless.arguments)
    read = {one.name: _read_in(one) for one in functions_in(node)}
    known = {
        one.name: {arg: default for _, arg, default in _parameters(one) if default and arg in idle.get(one.name, ())}
        for one in functions_in(node)
    }

    def is_unread(method: str, target: ast.expr) -> bool:
        if isinstance(target, ast.Name):
            return target.id not in read[method]
        return is_own(target) and name_of(target) in needless.unread

    parts = [part for part in getattr(node, "body", ()) if part.lineno in needless.statements]
    new = without_parameters(without_statements(text, parts), gone)
    new = without_arguments(new, lambda call, key: key in arguments.get(name_of(call.func), ()))
    new = folded(new, lambda method, test: _truth(test, known[method]), needless.calls, is_unread)
    return without_last_returns(new)


def _is_idle(function: ast.FunctionDef) -> bool:
    return all(map(does_nothing, function.body))


@lru_cache(8 * REMEMBERED)
def _parameters(function: ast.FunctionDef) -> list[tuple[int, str, ast.expr | None]]:
    """(place, name, default) of each parameter but `self`."""
    arguments = [arg.arg for arg in function.args.args]
    defaults = [*[None] * (len(arguments) - len(function.args.defaults)), *function.args.defaults]
    first = 1 if arguments[:1] == ["self"] else 0
    return [(i - first, *one) for i, one in enumerate(zip(arguments, defaults, strict=True)) if i >= first]


@lru_cache(8 * REMEMBERED)
def _optional(function: ast.FunctionDef) -> tuple[tuple[int, str, str], ...]:
    """(place, name, default as a text) of each parameter that has one, and that the body gives no other value."""
    given = [(place, arg, default) for place, arg, default in _parameters(function) if default is not None]
    return tuple((place, arg, ast.dump(default)) for place, arg, default in given if arg not in _stored_in(function))


@lru_cache(8 * REMEMBERED)
def _unused(function: ast.FunctionDef) -> tuple[tuple[int, str], ...]:
    """(place, name) of each parameter that the body does not read."""
    return tuple((place, arg) for place, arg, _ in _parameters(function) if arg not in _read_in(function))


@lru_cache(8 * REMEMBERED)
def _stored_in(function: ast.FunctionDef) -> frozenset[str]:
    """The names that the body of a function gives a value."""
    names = [part for node in function.body for part in walk(node) if isinstance(part, ast.Name)]
    return frozenset(part.id for part in names if isinstance(part.ctx, ast.Store))


@lru_cache(8 * REMEMBERED)
def _read_in(function: ast.FunctionDef) -> frozenset[str]:
    """The names that the body of a function reads."""
    names = [part for node in function.body for part in walk(node) if isinstance(part, ast.Name)]
    changed = [n.target for node in function.body for n in walk(node) if isinstance(n, ast.AugAssign)]
    return frozenset(part.id for part in names if isinstance(part.ctx, ast.Load) or part in changed)


def _truth(test: ast.expr, known: Mapping[str, ast.expr]) -> bool | None:
    """Whether a condition holds where these names stand for constants; None where that is not known."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = _truth(test.operand, known)
        return None if inner is None else not inner
    if isinstance(test, ast.BoolOp):
        parts = [_truth(part, known) for part in test.values]
        decides = isinstance(test.op, ast.Or)
        return decides if decides in parts else None if None in parts else not decides
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Is | ast.IsNot):
        value = _constant(test.left, known)
        if value is None or not isinstance(test.comparators[0], ast.Constant):
            return None
        return (value.value is test.comparators[0].value) == isinstance(test.ops[0], ast.Is)
    value = _constant(test, known)
    return None if value is None else bool(value.value)


def _constant(node: ast.expr, known: Mapping[str, ast.expr]) -> ast.Constant | None:
    value = known.get(node.id) if isinstance(node, ast.Name) else None
    return value if isinstance(value, ast.Constant) else None
