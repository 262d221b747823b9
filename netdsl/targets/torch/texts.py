"""Small texts of an emitted PyTorch class: a member and how forward reads it, what a class is called after."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from netdsl.graph.ir import Scope


def member_lines(name: str, lines: Sequence[str]) -> list[str]:
    """`self.conv1 = nn.Conv2d(...)`; a name that is a number needs a call."""
    first, *rest = lines
    if not name.isdigit():
        return [f"self.{name} = {first}", *rest]
    add = "register_parameter" if first.startswith("nn.Parameter(") else "add_module"
    made = [f'self.{add}("{name}", {first}', *rest]
    made[-1] += ")"
    return made


def attribute(name: str, made: str) -> str:
    """How forward reads a member, `self.conv1`. made: the text that makes it."""
    if not any(part.isdigit() for part in name.split(".")):
        return f"self.{name}"
    get = "get_parameter" if made.startswith("nn.Parameter(") else "get_submodule"
    return f'self.{get}("{name}")'


def label_of(scope: Scope) -> str:
    """What a group is called by: its label, or of one without a label the nearest around it and its numbers."""
    words = scope.name.split(".")
    last = max(i for i, word in enumerate(words) if not word.isdigit())
    return ".".join(words[last:])


def signature(scope: Scope) -> str:
    """`neck(c, s=1)`."""
    assert scope.call is not None
    params = [a.name if a.default is None else f"{a.name}={a.default!r}" for a in scope.call.arguments]
    return f"{scope.call.block}({', '.join(params)})"


def class_in(helper: str) -> str:
    """The name of the class that a helper's text makes."""
    return re.match(r"class (\w+)", helper)[1]  # type: ignore[index]


def names_in(lines: Sequence[str]) -> set[str]:
    """The names that these lines of Python read or assign."""
    return {node.id for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, ast.Name)}
