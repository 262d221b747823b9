"""Texts of definitions with some parts left out, the rest as it stands."""

from __future__ import annotations

import ast
from collections.abc import Callable, Container, Iterable, Mapping
from functools import lru_cache

from netdsl.targets.text.kernel_source import REMEMBERED, parsed, walk
from netdsl.targets.text.plain_text import header_without

Edit = tuple[int, int, str]
"""The places where a part begins and ends, and what stands there instead."""


class Places:
    """Where the nodes of a text lie in it. Texts of kernels are ASCII: columns are characters."""

    def __init__(self, text: str) -> None:
        self.text, self.begins = text, [0]
        for line in text.split("\n"):
            self.begins.append(self.begins[-1] + len(line) + 1)

    def span(self, node: ast.expr | ast.stmt | ast.arg) -> tuple[int, int]:
        end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or 0
        return self.begins[node.lineno - 1] + node.col_offset, self.begins[end_line - 1] + end_column

    def of(self, node: ast.expr | ast.stmt) -> str:
        begin, end = self.span(node)
        return self.text[begin:end]


def edited(text: str, edits: Iterable[Edit]) -> str:
    """The text with these edits, none of which lies in another."""
    for begin, end, new in sorted(edits, reverse=True):
        text = text[:begin] + new + text[end:]
    return text


@lru_cache(REMEMBERED)
def calls_in(text: str) -> tuple[ast.Call, ...]:
    """The calls in a text, outer ones first."""
    return tuple(node for node in walk(parsed(text)) if isinstance(node, ast.Call))


def functions_in(node: ast.stmt) -> list[ast.FunctionDef]:
    """A function, or the methods of a class."""
    parts = node.body if isinstance(node, ast.ClassDef) else [node]
    return [part for part in parts if isinstance(part, ast.FunctionDef)]


@lru_cache(REMEMBERED)
def functions_of(text: str) -> Mapping[str, ast.FunctionDef]:
    """The function of a text, or the methods of its class, by their names."""
    return {one.name: one for one in functions_in(parsed(text).body[0])}


def without_statements(text: str, gone: Iterable[ast.stmt]) -> str:
    """A class without some of its methods or other statements, and without the empty lines in front of them, unless
    what comes next needs these."""
    lines = text.split("\n")
    for node in sorted(gone, key=lambda node: node.lineno, reverse=True):
        first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])
        begin = first - 1
        end = node.end_lineno or node.lineno
        while begin > 1 and not lines[begin - 1].strip() and not "".join(lines[end : end + 1]).strip():
            begin -= 1
        del lines[begin:end]
    return "\n".join(lines)


@lru_cache(REMEMBERED)
def without_last_returns(text: str) -> str:
    """The functions in a text without a `return` of nothing at their end, where they never return anything else."""
    gone = []
    for one in functions_in(parsed(text).body[0]):
        returns = [node for node in walk(one) if isinstance(node, ast.Return)]
        if returns and returns[0] is one.body[-1] and len(one.body) > 1 and not any(map(gives, returns)):
            gone.append(one.body[-1])
    return without_statements(text, gone)


def gives(node: ast.Return) -> bool:
    """Whether a `return` gives something."""
    return node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None)


def without_parameters(text: str, gone: Mapping[str, Container[str]]) -> str:
    """The functions in a text without the parameters that are `gone`, by the names of both."""
    (node,) = parsed(text).body
    changed = [one for one in functions_in(node) if any(arg.arg in gone.get(one.name, ()) for arg in one.args.args)]
    return edited(text, (header_without(text, one, gone[one.name]) for one in changed))


def without_arguments(text: str, is_gone: Callable[[ast.Call, int | str], bool]) -> str:
    """Calls without the arguments, said by their place or name, that are gone. Those of several lines stay."""
    places, edits = Places(text), list[Edit]()
    for call in calls_in(text):  # outer ones first; what is in one that changes can wait for the next time
        if any(begin <= places.span(call)[0] < end for begin, end, _ in edits):
            continue
        given: list[tuple[int | str, ast.expr | ast.keyword]] = [*enumerate(call.args)]
        given += [(word.arg or "", word) for word in call.keywords]
        rest = [part for key, part in given if not is_gone(call, key)]
        if len(rest) < len(given):
            begin, end = places.span(call.func)[1], places.span(call)[1]
            edits.append((begin, end, f"({', '.join(map(places.of, rest))})"))  # type: ignore[arg-type]
    return edited(text, edits)


def without_fields(text: str, is_gone: Callable[[int, str], bool]) -> str:
    """A dataclass without the fields, said by their place and name, that are gone, each a line."""
    (node,) = parsed(text).body
    assert isinstance(node, ast.ClassDef), text
    fields = [part for part in node.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)]
    return without_statements(text, [part for i, part in enumerate(fields) if is_gone(i, part.target.id)])  # type: ignore[union-attr]
