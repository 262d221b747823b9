"""What the writers of a target say: attributes, heads of methods, names at the top, read from their own source."""

from __future__ import annotations

import builtins
import re
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.resources import files
from pkgutil import iter_modules
from typing import Any

from netdsl.graph.types import MOST_AXES
from netdsl.layers import layer_table
from netdsl.targets.dialect import Dialect
from netdsl.targets.text.kernel_source import constant_text, emitted_text

_HEAD = re.compile(r"\w+\(self\b[^{}]*\)")
_ATTRIBUTE = re.compile(r"\.([A-Za-z]\w*)")


@dataclass(frozen=True)
class Words:
    """chains: `np.zeros`, `nn.Conv2d`. attributes: of values. heads: of methods. names: classes that a layer's rule
    writes."""

    chains: frozenset[str]
    attributes: frozenset[str]
    heads: frozenset[str]
    names: frozenset[str]


def words_of(dialect: Dialect) -> Words:
    """What the writers of the dialect write: the strings of their code, the template, and the rules of layers."""
    return _words(dialect, dialect.rules())


@cache
def _words(dialect: Dialect, rules: tuple[Callable[..., Any], ...]) -> Words:
    chain = re.compile(rf"\b(?:{'|'.join(sorted(roots(dialect)))})(?:\.[A-Za-z]\w*)+")
    written = set(_rule_strings(rules))
    texts = _writers_strings(dialect) | written
    names = {match for text in written for match in re.findall(r"^([A-Z]\w+)(?:\(|$)", text)}
    chains = {one for text in texts for one in chain.findall(text)}
    return Words(
        frozenset(chains | {dialect.line_of(one) for one in chains}),
        frozenset(name for text in texts for name in _ATTRIBUTE.findall(chain.sub("", text))) | dialect.members,
        frozenset(text.replace('"', "'") for text in texts if _HEAD.fullmatch(text)),
        frozenset(name for name in names if not hasattr(builtins, name)),
    )


def roots(dialect: Dialect) -> frozenset[str]:
    """The imported names whose attributes are read: `np`."""
    return frozenset(dialect.imports.values()) - dialect.callable


@cache
def constants_of(dialect: Dialect) -> frozenset[str]:
    """What the template assigns at the top of a module: `INPUT_SHAPE`, `OUTPUTS, LOGITS, ...`, `Model`."""
    heads = [line.partition(" = ")[0] for line in _template(dialect) if re.match(r"[A-Z][\w, ]* = ", line)]
    return frozenset(name for head in heads for name in head.split(", "))


def holder(dialect: Dialect, name: str, text: str) -> types.ModuleType | None:
    """The module that has a definition of that name which is emitted as these very bytes."""
    text_of = dialect.text_of or emitted_text
    for module in (*_modules(dialect), *_layer_modules(dialect)):
        if _is_at_home(module, name) and text_of(module, name) == text:
            return module
    return None


def _is_at_home(module: types.ModuleType, name: str) -> bool:
    """Whether a module may define that name: it has it, and not from another module."""
    return name in vars(module) and getattr(vars(module)[name], "__module__", module.__name__) == module.__name__


@cache
def known_names(dialect: Dialect) -> frozenset[str]:
    """The names of what may be emitted as it is, or a part of it."""
    modules = {*_modules(dialect), *_layer_modules(dialect)}
    return frozenset(name for module in modules for name in vars(module))


def origin(dialect: Dialect, name: str, is_it: Callable[[str], bool]) -> types.ModuleType | None:
    """The module that has a definition of that name whose text, as it is emitted, is it."""
    text_of = dialect.text_of or emitted_text
    for module in (*_modules(dialect), *_layer_modules(dialect)):
        text = text_of(module, name) if _is_at_home(module, name) else None
        if text is not None and is_it(text):
            return module
    return None


def has_constant(dialect: Dialect, name: str, text: str) -> bool:
    """Whether one of the modules gives a constant by this very line."""
    return any(name in vars(module) and constant_text(module, name) == text for module in _modules(dialect))


@cache
def _modules(dialect: Dialect) -> tuple[types.ModuleType, ...]:
    """The modules whose definitions may stand in an emitted module, but for those of layers."""
    modules = []
    for name in (*dialect.kernels, *dialect.networks, *dialect.scripts):
        module = import_module(name)
        inside = [f"{name}.{part.name}" for part in iter_modules(getattr(module, "__path__", ()))]
        modules += [import_module(part) for part in inside] or [module]
    return tuple(modules)


def _layer_modules(dialect: Dialect) -> list[types.ModuleType]:
    """The modules of the layers' kernels, where those may stand in an emitted module."""
    layers = layer_table().values() if dialect.layers else ()
    names = [kernel.__module__ for layer in layers for kernel in (layer.forward, layer.backward)]
    return [import_module(name) for name in dict.fromkeys(names)]


def _strings(code: types.CodeType, doc: str | None) -> Iterator[str]:
    """The strings in a function's code but its docstring, those of functions inside it too."""
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            yield from _strings(value, None)
        elif isinstance(value, str) and value != doc:
            yield value


def _functions(module: types.ModuleType) -> Iterator[types.FunctionType]:
    for value in vars(module).values():
        for function in vars(value).values() if isinstance(value, type) else (value,):
            function = getattr(function, "fget", function)
            if isinstance(function, types.FunctionType) and function.__module__ == module.__name__:
                yield function


def _rule_strings(rules: Iterable[Callable[..., Any]]) -> Iterator[str]:
    """The strings of layers' rules, and of the functions that they call; what names a module for images, `nn.Conv2d`,
    may be made to name that for signals and volumes (`for_axes`)."""
    waiting: list[object] = list(rules)
    seen: set[object] = set()
    while waiting:
        function = waiting.pop()
        if not isinstance(function, types.FunctionType) or function in seen:
            continue
        seen.add(function)
        for text in _strings(function.__code__, function.__doc__):
            yield from {text.replace("2d", f"{axes}d") for axes in range(1, MOST_AXES + 1)}
        waiting += [function.__globals__.get(name) for name in function.__code__.co_names]


@cache
def _writers_strings(dialect: Dialect) -> set[str]:
    """The strings in the code of the writers, and the lines of the template without Jinja's tags."""
    modules = [import_module(name) for name in dialect.writers]
    strings = (s for m in modules for f in _functions(m) for s in _strings(f.__code__, f.__doc__))
    texts = {s for s in strings if not s.startswith(("import ", "from ")) and not s.endswith((".j2", ".py"))}
    lines = {line.strip() for line in _template(dialect)}
    return texts | lines | {line.removeprefix("def ").rstrip(":") for line in lines}


@cache
def _template(dialect: Dialect) -> tuple[str, ...]:
    """The lines of the template behind its docstring, without Jinja's tags."""
    text = files(dialect.package).joinpath(dialect.template).read_text(encoding="utf-8")
    return tuple(re.sub(r"\{[{%].*?[}%]\}", " ", text).split('"""', 2)[2].split("\n"))
