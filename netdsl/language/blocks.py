"""Block calls held against the block's parameters, and the names that parameters, loops and lets may have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from netdsl.graph.ir import Argument
from netdsl.graph.types import Tensor
from netdsl.ground.diagnostics import Diagnostic, did_you_mean
from netdsl.ground.names import python_name
from netdsl.ground.symbols import is_symbolic, substitute, symbol
from netdsl.language.expectations import COUNTED
from netdsl.language.expressions import CONSTANTS, UNKNOWN, ExprError, Names, Unknown, UnknownShape, Value, evaluate
from netdsl.language.syntax import ast
from netdsl.layers import layer_table


@dataclass
class Arguments:
    """What a call gives each parameter: `values` as the block's body sees them; `arguments` for the graph.

    in_callers_terms: the name of each symbol of the body -> its value in the caller's terms.
    """

    values: dict[str, Value | Unknown] = field(default_factory=dict)
    arguments: tuple[Argument, ...] = ()
    in_callers_terms: dict[str, object] = field(default_factory=dict)
    diagnostics: list[Diagnostic] = field(default_factory=list)


def check_name(name: ast.Name) -> Diagnostic | None:
    """What is wrong with a name for a value, if anything: it must not read as a flag, a word or a keyword."""
    match = re.fullmatch(r"([A-Za-z_]+?)(\d+)", name.id)
    flags = {attr.flag for layer in layer_table().values() for attr in layer.attrs if attr.flag}
    words = {attr.name for layer in layer_table().values() for attr in layer.attrs if attr.kind == "word"}
    if match and match[1] in flags:
        why, instead = "it looks like a short flag", f"{match[1]}_{match[2]}"
    elif name.id in words:
        why, instead = "it is a word of a layer", f"{name.id}_1"
    elif name.id in CONSTANTS or name.id in COUNTED:
        why, instead = "it has a meaning of its own", f"{name.id}_1"
    elif len(name.id) > 64:
        why, instead = f"it has {len(name.id)} characters; at most 64 are allowed", name.id[:8]
    else:
        return None
    shown = name.id if len(name.id) <= 64 else f"{name.id[:16]}..."
    return Diagnostic(
        "N309", f"`{shown}` cannot name a value: {why}", name.span, help=(f"use another name, for example `{instead}`",)
    )


def bind_call(block: ast.Block, call: ast.Call, names: Names, arriving: Tensor | None, block_names: Names) -> Arguments:
    """What `call`, evaluated among `names`, gives the parameters of `block`, whose defaults see block_names."""
    bound = Arguments()
    given = _given(block, call, bound)
    own = Names(block_names)
    arguments = []
    for param in block.params:
        name = param.name.id
        default = None if param.default is None else _value(param.default, own, None, bound)
        value = _value(given[name].expr, names, arriving, bound) if name in given else default
        if value is None:
            own.define(name, UNKNOWN)
            bound.values[name] = UNKNOWN
            continue
        text = python_name(name)
        bound.values[name] = inside = symbol(value, text)
        own.define(name, inside)
        if name not in given and is_symbolic(value):  # a default made of the other arguments, in the block's terms
            value = substitute(value, bound.in_callers_terms)
        fixed = None if is_symbolic(default) or isinstance(default, list) else default
        arguments.append(Argument(text, value, fixed))
        _remember(bound.in_callers_terms, text, value)
    bound.arguments = tuple(arguments)
    return bound


def _given(block: ast.Block, call: ast.Call, bound: Arguments) -> dict[str, ast.Arg]:
    """Parameter name -> argument, with everything that does not fit reported."""
    params = [param.name.id for param in block.params]
    header = f"{block.name}({', '.join(param.span.text for param in block.params)})"
    notes = (f"it is `{' '.join(header.split())}` on line {block.name_span.line}",)
    given: dict[str, ast.Arg] = {}

    def complain(code: str, message: str, arg: ast.Arg | ast.Call, *help: str) -> None:
        span = call.name_span if isinstance(arg, ast.Call) else arg.key_span or arg.span
        bound.diagnostics.append(Diagnostic(code, message, span, notes=notes, help=help))

    for position, arg in enumerate(call.args):
        if arg.key is None and position >= len(params):
            complain("N306", f"`{block.name}` takes {len(params)} arguments, not {len(call.args)}", arg)
            break
        key = params[position] if arg.key is None else arg.key
        if key not in params:
            guess = did_you_mean(key, params)
            hints = (f"did you mean `{guess}=...`?",) if guess else ()
            complain("N302", f"`{block.name}` has no parameter `{key}`", arg, *hints)
        elif key in given:
            complain("N307", f"`{key}` of `{block.name}` is given twice", arg, "leave out one of the two")
        else:
            given[key] = arg
    missing = [p.name.id for p in block.params if p.default is None and p.name.id not in given]
    if missing and not bound.diagnostics:
        listed = " and ".join(f"`{name}`" for name in missing)
        complain("N305", f"`{block.name}` needs {listed}", call, f"write `{block.name}({', '.join(_example(block))})`")
    return given


def _example(block: ast.Block) -> list[str]:
    return ["64" if i == 0 else "1" for i, param in enumerate(block.params) if param.default is None]


def _value(expr: ast.Expr, names: Mapping[str, Value], arriving: Tensor | None, bound: Arguments) -> Value | None:
    try:
        return evaluate(expr, names, arriving)
    except ExprError as error:
        bound.diagnostics.append(error.diagnostic)
    except UnknownShape:
        pass
    return None


def _remember(meant: dict[str, object], name: str, value: object) -> None:
    if isinstance(value, tuple):
        meant.update({f"{name}[{i}]": size for i, size in enumerate(value)})
    else:
        meant[name] = value
