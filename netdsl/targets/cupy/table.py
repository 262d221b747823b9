"""What CuPy has of NumPy (functions.toml), and what a text for CuPy asks of it that it does not have."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from inspect import Parameter, Signature
from typing import Any

_LISTS = (ast.List, ast.Tuple, ast.ListComp, ast.GeneratorExp)


@dataclass(frozen=True)
class Table:
    """version: of the CuPy that it was read from. functions, methods: name -> the arguments, of methods without `self`.
    attributes: of arrays; constants: dtypes and numbers. numbers, arrays: names of arguments that may be a list or a
    tuple of these; conversions: functions that make an array of anything."""

    version: str
    functions: Mapping[str, Signature]
    methods: Mapping[str, Signature]
    ufuncs: frozenset[str]
    attributes: frozenset[str]
    constants: frozenset[str]
    numbers: frozenset[str]
    arrays: frozenset[str]
    conversions: frozenset[str]

    def takes_lists(self, function: str, argument: str) -> bool:
        """Whether the argument of a function may be a list or a tuple."""
        is_first = argument == next(iter(self.functions[function].parameters), "")
        return argument in self.numbers | self.arrays or (function in self.conversions and is_first)


@cache
def cupy_table() -> Table:
    """The table of functions.toml, and what CuPy has beside NumPy's: `asnumpy`."""
    data: dict[str, Any] = tomllib.loads(files(__package__).joinpath("functions.toml").read_text(encoding="utf-8"))
    ufuncs = data["ufuncs"]
    written = {
        **data["functions"],
        **dict.fromkeys(ufuncs["of_one"], f"x, /, {ufuncs['keywords']}"),
        **dict.fromkeys(ufuncs["of_two"], f"x1, x2, /, {ufuncs['keywords']}"),
        "asnumpy": "a, stream=None, order='C', out=None, *, blocking=True",
    }
    return Table(
        version=data["version"],
        functions={name: signature(text) for name, text in written.items()},
        methods={name: signature(text) for name, text in data["methods"].items()},
        ufuncs=frozenset([*ufuncs["of_one"], *ufuncs["of_two"]]),
        attributes=frozenset(data["names"]["attributes"]),
        constants=frozenset(data["names"]["constants"]),
        **{name: frozenset(names) for name, names in data["arguments"].items()},
    )


def signature(text: str) -> Signature:
    """`a, axis=None, *, dtype=None` as a signature; of defaults it knows that there is one."""
    (node,) = ast.parse(f"def f({text}): ...").body
    assert isinstance(node, ast.FunctionDef)
    a = node.args
    plain = [*a.posonlyargs, *a.args]
    required = len(plain) - len(a.defaults)
    made = [
        Parameter(
            arg.arg,
            Parameter.POSITIONAL_ONLY if i < len(a.posonlyargs) else Parameter.POSITIONAL_OR_KEYWORD,
            default=Parameter.empty if i < required else None,
        )
        for i, arg in enumerate(plain)
    ]
    made += [Parameter(a.vararg.arg, Parameter.VAR_POSITIONAL)] if a.vararg else []
    made += [Parameter(arg.arg, Parameter.KEYWORD_ONLY, default=None) for arg in a.kwonlyargs]
    return Signature(made + ([Parameter(a.kwarg.arg, Parameter.VAR_KEYWORD)] if a.kwarg else []))


def refusals(text: str) -> Iterator[str]:
    """What CuPy would refuse of a text in which it is called `cp`, one after the other: ``CuPy has no `vecdot` ``."""
    table, tree = cupy_table(), ast.parse(text)
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        root, _, name = _chain(node).partition(".")
        call = called.get(id(node))
        if root != "cp":
            if call is not None and node.attr in table.methods:
                yield from _refused_keywords(call, node.attr, table.methods[node.attr])
        elif name in table.functions:
            yield from _refused_of(call, name) if call is not None else ()
        elif name not in table.constants and id(node) not in inner:
            yield f"CuPy has no `{name}`"


def _chain(node: ast.expr) -> str:
    """`cp.linalg.norm`; nothing where it does not begin with a name."""
    if isinstance(node, ast.Attribute):
        root = _chain(node.value)
        return f"{root}.{node.attr}" if root else ""
    return node.id if isinstance(node, ast.Name) else ""


def _refused_of(call: ast.Call, name: str) -> Iterator[str]:
    """What a function does not take: a keyword, one argument more, a list."""
    known = cupy_table().functions[name]
    yield from _refused_keywords(call, name, known)
    plain = [p for p in known.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = next((p for p in known.parameters.values() if p.kind is p.VAR_POSITIONAL), None)
    if len(call.args) > len(plain) and rest is None:
        yield f"CuPy's `{name}` takes {len(plain)} arguments, not {len(call.args)}"
        return
    named = [(p.name, value) for p, value in zip(plain, call.args, strict=False)]
    named += [(rest.name, value) for value in call.args[len(plain) :] if rest is not None]
    named += [(word.arg, word.value) for word in call.keywords if word.arg is not None]
    for argument, value in named:
        if isinstance(value, _LISTS) and not cupy_table().takes_lists(name, argument):
            yield f"CuPy's `{name}` takes no list for `{argument}`"


def _refused_keywords(call: ast.Call, name: str, known: Signature) -> Iterator[str]:
    if any(p.kind is p.VAR_KEYWORD for p in known.parameters.values()):
        return
    words = {p.name for p in known.parameters.values() if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    for word in call.keywords:
        if word.arg is not None and word.arg not in words:
            yield f"CuPy's `{name}` has no argument `{word.arg}`"
