"""The forward method of an emitted PyTorch class: statements over values, joined where a person would nest calls."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from netdsl.targets.text.variables import variables

WIDTH = 100
NESTED = 3  # calls on one line


@dataclass(frozen=True)
class Statement:
    """`makes` = `text`, in which `mark(value)` stands for a value that is read.

    shape: what a comment says of the first value made. keeps: the shape is that of what is read; nested: the calls.
    is_shared: whether it calls what is called elsewhere, too: such calls stay in order.
    """

    makes: tuple[int, ...]
    reads: tuple[int, ...]
    text: str
    shape: str
    keeps: bool = False
    nested: int = 1
    is_shared: bool = False


def mark(value: int) -> str:
    """Stands for a value in the text of a statement; a name, so that the text can be parsed, but none of a spec."""
    return f"v\u00e0lue_{value}_"


_MARK = re.compile("v\u00e0lue_(\\d+)_")


def statement(
    template: str, reads: Sequence[int], made: int, shape: str, keeps: bool, is_shared: bool = False
) -> Statement:
    """From a layer's torch_call: {0}, {1}, ... or {x} are what is read."""
    marks = [mark(value) for value in reads]
    return Statement((made,), tuple(reads), template.format(*marks, x=marks[0]), shape, keeps, 1, is_shared)


def forward_lines(
    statements: Sequence[Statement],
    sources: Sequence[int],
    results: Sequence[int],
    shape: str,
    returned: Callable[[Sequence[str]], str] | None = None,
) -> list[str]:
    """The body of forward, which ends in `return`. Comments say the shape where it changes; `shape` is the first.

    returned: what stands behind `return`, made of the variables of the results.
    """
    statements, results = _without_copies(statements, results)
    joined = _joined(statements, results)
    variable_of = variables([(s.reads, s.makes) for s in joined], sources, results)

    def named(text: str) -> str:
        return _MARK.sub(lambda match: variable_of[int(match[1])], text)

    lines = []
    for index, s in enumerate(joined):
        ends = index == len(joined) - 1 and s.makes == tuple(results) and returned is None
        start = "return " if ends else f"{', '.join(variable_of[value] for value in s.makes)} = "
        lines.append(start + named(s.text) + (f"  # {s.shape}" if s.shape != shape else ""))
        shape = s.shape
    if not lines or not lines[-1].startswith("return "):
        lines.append(f"return {(returned or ', '.join)([variable_of[value] for value in results])}")
    return lines


def _without_copies(statements: Sequence[Statement], results: Sequence[int]) -> tuple[list[Statement], tuple[int, ...]]:
    """Whoever reads the value of an `id` reads what the `id` read."""
    meant: dict[int, int] = {}
    kept = []
    for s in statements:
        text = _MARK.sub(lambda match: mark(meant.get(int(match[1]), int(match[1]))), s.text)
        s = replace(s, reads=tuple(meant.get(value, value) for value in s.reads), text=text)
        if s.text == mark(s.reads[0]) and len(s.makes) == 1:
            meant[s.makes[0]] = s.reads[0]
        else:
            kept.append(s)
    return kept, tuple(meant.get(value, value) for value in results)


def _joined(statements: Sequence[Statement], results: Sequence[int]) -> list[Statement]:
    """What keeps the shape takes the statement before it in, if nothing else reads that one's value."""
    readers: dict[int, int] = dict.fromkeys(results, 2)
    for s in statements:
        for value in s.reads:
            readers[value] = readers.get(value, 0) + 1
    lines: list[Statement] = []
    for s in statements:
        while lines and s.keeps:
            before = lines[-1]
            (made, *more) = before.makes
            if more or readers.get(made) != 1 or s.text.count(mark(made)) != 1 or (before.is_shared and s.nested > 1):
                break
            text = _inside(s.text, mark(made), before.text)
            if before.nested + s.nested > NESTED or len(_MARK.sub("x", text)) > WIDTH - 20:
                break
            reads = tuple(v for value in s.reads for v in (before.reads if value == made else (value,)))
            keeps = before.keeps if len(s.reads) == 1 else s.keeps
            is_shared = s.is_shared or before.is_shared
            s = replace(s, reads=reads, text=text, keeps=keeps, nested=before.nested + s.nested, is_shared=is_shared)
            lines.pop()
        lines.append(s)
    return lines


def _inside(outer: str, name: str, inner: str) -> str:
    """`outer` with `inner` for `name`, in parentheses where they are needed."""
    tree = ast.parse(outer, mode="eval")
    parents = {id(child): parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}
    place = next(node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == name)
    parent = parents[id(place)]
    safe = isinstance(parent, ast.List | ast.Tuple) or (isinstance(parent, ast.Call) and place in parent.args)
    simple = safe or not isinstance(ast.parse(inner, mode="eval").body, ast.BinOp)
    return outer.replace(name, inner if simple else f"({inner})")
