"""What is known of a class from how a module makes its instances: attributes that are the same in all of them.

A constructor is walked through with the arguments that the module gives. What follows from these alone is computed; all
else, what depends on the worker above all, is unknown, and so is what only some instances have, or a method sets later.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

from netdsl.targets.text.expressions import (
    REMEMBERED,
    attributes_set,
    choices_in,
    code_of,
    names_inside,
    names_read,
    names_stored,
    text_of,
)
from netdsl.targets.text.kernel_source import walk
from netdsl.targets.text.methods import methods_of, only_for

UNKNOWN: Any = object()
DEPTH = 8  # calls within calls that are followed
Call = tuple[type, Mapping[str, object]]
"""A class, and what its constructor is given: of each parameter the value, which has a hash, or UNKNOWN."""


class Known:
    """What a module's instances have in common. calls: all that make one of them."""

    def __init__(self, calls: Iterable[Call]) -> None:
        self._attributes: dict[type, dict[str, object]] = {}
        self._trained: dict[type, dict[str, object]] = {}  # of those that train
        self._tests: dict[tuple[type, str, str], set[bool | None]] = {}
        self._scopes: dict[tuple[type, str], _Scope] = {}
        calls = list(calls)
        modules = {part.__module__ for kernel, _ in calls for part in kernel.__mro__[:-1]}
        self._foreign = {name for module in modules for name in _set_elsewhere(module)}
        for made in dict.fromkeys(_made(kernel, _arguments(given)) for kernel, given in calls):
            self._add(made)
        self._backward = only_for("backward", frozenset(part for kernel, _ in calls for part in kernel.__mro__[:-1]))

    def _add(self, made: _Instance) -> None:
        for key, outcomes in made.tests.items():
            self._tests.setdefault(key, set()).update(outcomes)
        changing = _changing(made.kernel) | self._foreign
        own = {name: value for name, value in made.attributes.items() if name not in changing}
        for known in (self._attributes, self._trained)[: 1 + made.trains]:
            for part in made.kernel.__mro__[:-1]:
                known[part] = _alike(known.get(part, own), own)

    def decide(self, owner: type, method: str, test: ast.expr) -> bool | None:
        """Whether a condition in a method holds in all instances, or in none; None where that is not known."""
        outcomes = self._tests.get((owner, method, text_of(test)))
        if outcomes is not None:
            return next(iter(outcomes)) if len(outcomes) == 1 else None
        if owner not in self._attributes or method in _constructing(owner):
            return None
        if (owner, method) not in self._scopes:
            self._scopes[owner, method] = self._scope(owner, method)
        return self._scopes[owner, method].truth(test, _locals(owner, method))

    def _scope(self, owner: type, method: str) -> _Scope:
        """Where the conditions of a method are computed."""
        known = self._trained.get(owner, {}) if method in self._backward else self._attributes[owner]
        scope = _Scope(owner, _Attributes(known), {})
        for name, value in _given_once(owner, method):
            scope.known[name] = scope.best(value, _locals(owner, method))
        return scope

    def is_known(self, owner: type) -> bool:
        return owner in self._attributes


def _same(a: object, b: object) -> bool:
    return b is not UNKNOWN and type(a) is type(b) and a == b


class _Attributes:
    """What `self` is known to have."""

    __slots__ = ("_known",)

    def __init__(self, known: Mapping[str, object]) -> None:
        self._known = known

    def __getattr__(self, name: str) -> object:
        value = self._known.get(name, UNKNOWN)
        if value is UNKNOWN:
            raise AttributeError(name)
        return value


class _Scope:
    """Where expressions of a method are computed, as far as that is possible."""

    def __init__(self, owner: type, instance: _Attributes, known: dict[str, object]) -> None:
        self.owner, self.instance, self.known = owner, instance, known

    def value(self, node: ast.expr, local: frozenset[str]) -> Any:
        """What an expression gives, a plain value, or UNKNOWN. local: the names that the method itself gives."""
        read = names_read(node)
        if "np" in read or any(self.known.get(name, UNKNOWN) is UNKNOWN for name in read & local):
            return UNKNOWN  # text is laid out without numpy, which may not be at hand
        module, names, code = (
            vars(sys.modules[self.owner.__module__]),
            {**self.known, "self": self.instance},
            code_of(node),
        )
        is_flat = not any(isinstance(part, types.CodeType) for part in code.co_consts)  # code inside sees globals alone
        try:
            value = eval(code, module, names) if is_flat else eval(code, {**module, **names})  # netdsl's own text
        except (AttributeError, NameError, TypeError, ValueError, KeyError, IndexError, ArithmeticError):
            return UNKNOWN
        return value if _is_plain(value) else UNKNOWN

    def best(self, node: ast.expr, local: frozenset[str]) -> Any:
        """What an expression gives; of a condition whether it holds, though a part of it may be unknown."""
        value = self.value(node, local)
        if value is UNKNOWN and isinstance(node, ast.BoolOp | ast.UnaryOp):
            outcome = self.truth(node, local)
            return UNKNOWN if outcome is None else outcome
        return value

    def truth(self, node: ast.expr, local: frozenset[str]) -> bool | None:
        """Whether a condition holds; None where it is not known."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self.truth(node.operand, local)
            return None if inner is None else not inner
        if isinstance(node, ast.BoolOp):
            parts = [self.truth(part, local) for part in node.values]
            decides = isinstance(node.op, ast.Or)
            if decides in parts:
                return decides
            return None if None in parts else not decides
        value = self.value(node, local)
        return None if value is UNKNOWN else bool(value)


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    frozen = dataclasses.is_dataclass(value) and not isinstance(value, type)
    return value is None or isinstance(value, bool | int | float | str) or frozen


class _Instance:
    """An instance as far as it is known while its constructor is walked through."""

    def __init__(self, kernel: type, trains: bool) -> None:
        self.kernel, self.trains = kernel, trains
        self.attributes: dict[str, object] = {}
        self.tests: dict[tuple[type, str, str], set[bool | None]] = {}

    def run(self, method: str, given: Mapping[str, object], after: type | None = None, depth: int = 0) -> None:
        """Walk through a method. after: only classes behind it are looked through, as `super()` does."""
        line = self.kernel.__mro__[:-1]
        line = line[line.index(after) + 1 :] if after else line
        owner = next((part for part in line if method in methods_of(part)), None)
        if owner is None or depth > DEPTH:
            return
        node = methods_of(owner)[method]
        known = {arg.arg: UNKNOWN for arg in (*node.args.args, *node.args.kwonlyargs)} | dict(given)
        self._block(node.body, _Walk(owner, method, known, names_stored(node), depth))

    def _block(self, body: Sequence[ast.stmt], at: _Walk) -> bool:
        """Statements, one after the other; whether one of them returns."""
        return any(self._statement(node, at) for node in body)

    def _statement(self, node: ast.stmt, at: _Walk) -> bool:
        if isinstance(node, ast.If):
            return self._branch(node, at)
        scope = at.scope(self.attributes)
        for test in choices_in(node):
            outside = _Scope(at.owner, scope.instance, {**at.known, **dict.fromkeys(names_inside(node), UNKNOWN)})
            self._note(at, test, outside.truth(test, at.local))
        if isinstance(node, ast.Assign):
            given = [one for target in node.targets for one in _pairs(target, node.value)]
            for target, value in [(target, scope.best(value, at.local)) for target, value in given]:
                self._assign(target, value, at)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            self._call(node.value, at)
        else:
            self._forget([node], at)
        return isinstance(node, ast.Return | ast.Raise)

    def _note(self, at: _Walk, test: ast.expr, outcome: bool | None) -> None:
        self.tests.setdefault((at.owner, at.method, text_of(test)), set()).add(outcome)

    def _branch(self, node: ast.If, at: _Walk) -> bool:
        outcome = at.scope(self.attributes).truth(node.test, at.local)
        self._note(at, node.test, outcome)
        if outcome is not None:
            return self._block(node.body if outcome else node.orelse, at)
        before = self.attributes, at.known
        ends = []
        for block in (node.body, node.orelse):
            self.attributes, at.known = dict(before[0]), dict(before[1])
            self._block(block, at)
            ends.append((self.attributes, at.known))
        (one, names), (other, more) = ends
        self.attributes, at.known = _alike(one, other), _alike(names, more)
        return False

    def _assign(self, target: ast.expr, value: Any, at: _Walk) -> None:
        if isinstance(target, ast.Tuple):
            parts = (
                value if isinstance(value, tuple) and len(value) == len(target.elts) else (UNKNOWN,) * len(target.elts)
            )
            for part, one in zip(target.elts, parts, strict=True):
                self._assign(part, one, at)
        elif isinstance(target, ast.Name):
            at.known[target.id] = value
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
            self.attributes[target.attr] = value

    def _call(self, node: ast.Call, at: _Walk) -> None:
        """Walk through `self.prepare(...)`, `super().__init__(...)`."""
        if not isinstance(node.func, ast.Attribute):
            return
        is_super = text_of(node.func.value) == "super()"
        if not is_super and text_of(node.func.value) != "self":
            return
        owner = next((part for part in self.kernel.__mro__[:-1] if node.func.attr in methods_of(part)), None)
        if is_super:
            line = self.kernel.__mro__[self.kernel.__mro__.index(at.owner) + 1 : -1]
            owner = next((part for part in line if node.func.attr in methods_of(part)), None)
        if owner is not None:
            given = _bound(methods_of(owner)[node.func.attr], node, at.scope(self.attributes), at.local)
            self.run(node.func.attr, given, at.owner if is_super else None, at.depth + 1)

    def _forget(self, nodes: Iterable[ast.stmt], at: _Walk) -> None:
        """What these statements may give is unknown."""
        for node in nodes:
            self.attributes |= dict.fromkeys(_set_by(self.kernel, node), UNKNOWN)
            at.known |= dict.fromkeys(names_stored(node), UNKNOWN)


@cache
def _changing(kernel: type) -> frozenset[str]:
    """The attributes that a method sets later."""
    methods = [method for part in kernel.__mro__[:-1] for method in methods_of(part).values()]
    later = [method for method in methods if method.name not in _constructing(kernel)]
    return frozenset(name for method in later for name in attributes_set(method))


def _pairs(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    """(target, value) of what is given, one by one where several are."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        return list(zip(target.elts, value.elts, strict=True))
    return [(target, value)]


Arguments = tuple[tuple[str, type, object], ...]
"""The names of parameters, the types of what they are given, since 1 is not True, and that."""


def _arguments(given: Mapping[str, object]) -> Arguments:
    return tuple((name, type(value), value) for name, value in given.items())


@lru_cache(REMEMBERED)
def _made(kernel: type, arguments: Arguments) -> _Instance:
    """An instance whose constructor is given these. Most are made again, in the same network or the next."""
    given = {name: value for name, _, value in arguments}
    made = _Instance(kernel, getattr(given.get("w"), "training", True))
    made.run("__init__", given)
    return made


def _alike(one: Mapping[str, object], other: Mapping[str, object]) -> dict[str, object]:
    """What is known after either of two branches."""
    return {name: v if _same(v, other.get(name, UNKNOWN)) else UNKNOWN for name, v in {**other, **one}.items()}


@dataclasses.dataclass
class _Walk:
    """Where a walk through a method is."""

    owner: type
    method: str
    known: dict[str, object]
    local: frozenset[str]
    depth: int

    def scope(self, attributes: Mapping[str, object]) -> _Scope:
        return _Scope(self.owner, _Attributes(attributes), self.known)


def _bound(node: ast.FunctionDef, call: ast.Call, scope: _Scope, local: frozenset[str]) -> dict[str, object]:
    """What a call gives the parameters of a method, `self` left out; defaults where they are plain."""
    names = [arg.arg for arg in node.args.args][1:]
    given: dict[str, object] = {}
    for arg, default in zip(reversed(names), reversed(node.args.defaults), strict=False):
        given[arg] = scope.value(default, frozenset())
    for arg, value in zip(names, call.args, strict=False):
        given[arg] = UNKNOWN if isinstance(value, ast.Starred) else scope.value(value, local)
    given |= {word.arg: scope.value(word.value, local) for word in call.keywords if word.arg}
    return given


@cache
def _set_elsewhere(module: str) -> frozenset[str]:
    """The attributes that anything in a module sets on other objects than `self`."""
    parts = list(walk(ast.parse(inspect.getsource(sys.modules[module]))))
    stored = [part for part in parts if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store)]
    return frozenset(part.attr for part in stored if ast.unparse(part.value) != "self")


@cache
def _constructing(kernel: type) -> frozenset[str]:
    """The methods that a constructor walks through."""
    names, waiting = {"__init__"}, ["__init__"]
    while waiting:
        name = waiting.pop()
        for part in kernel.__mro__[:-1]:
            node = methods_of(part).get(name)
            for called in _statement_calls(node) if node is not None else ():
                if called not in names:
                    names.add(called)
                    waiting.append(called)
    return frozenset(names)


def _statement_calls(node: ast.FunctionDef) -> Iterator[str]:
    for part in walk(node):
        value = part.value if isinstance(part, ast.Expr) else None
        called = value.func if isinstance(value, ast.Call) else None
        if isinstance(called, ast.Attribute) and ast.unparse(called.value) in ("self", "super()"):
            yield called.attr


@lru_cache(REMEMBERED)
def _set_by(kernel: type, node: ast.AST) -> tuple[str, ...]:
    """The attributes that a statement sets, and the methods that it calls."""
    return tuple(_set_in(kernel, node))


def _set_in(kernel: type, node: ast.AST) -> Iterator[str]:
    yield from attributes_set(node)
    for name in _constructing(kernel):
        if any(isinstance(part, ast.Attribute) and part.attr == name for part in walk(node)):
            methods = [methods_of(part)[name] for part in kernel.__mro__[:-1] if name in methods_of(part)]
            yield from (attribute for method in methods for attribute in attributes_set(method))


@cache
def _given_once(owner: type, method: str) -> list[tuple[str, ast.expr]]:
    """The names that a method gives in one place, not in a branch or loop, and what."""
    node = methods_of(owner).get(method)
    if node is None:
        return []
    stored = [part.id for part in walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]
    stored += [part.arg for part in walk(node) if isinstance(part, ast.arg)]
    pairs: list[tuple[ast.expr, ast.expr]] = []
    for part in node.body:
        if isinstance(part, ast.Assign) and len(part.targets) == 1:
            pairs += _pairs(part.targets[0], part.value)
    return [(name.id, value) for name, value in pairs if isinstance(name, ast.Name) and stored.count(name.id) == 1]


@cache
def _locals(owner: type, method: str) -> frozenset[str]:
    node = methods_of(owner).get(method)
    return names_stored(node) if node is not None else frozenset()
