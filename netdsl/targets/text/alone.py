"""The text of a definition where no workers share the layers of a sample: what a stage gives to `each` is a loop."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from copy import deepcopy
from functools import lru_cache

from netdsl.targets.text.kernel_source import REMEMBERED, parsed, walk
from netdsl.targets.text.rewritten import Edit, Places, edited, functions_in

_WORKERS = ("w", "self.w")


@lru_cache(REMEMBERED)
def alone(text: str) -> str:
    """A function or class that has of `w.each(parts, work, x)` the loop, of `w.cut(length, ...)` the one part, and of
    `w.row` the first. What is given to `each` in several lines stays a call."""
    loops = [edit for one in functions_in(parsed(text).body[0]) for edit in _loops(Places(text), one)]
    text = edited(text, loops)
    text = edited(text, _cuts(Places(text), parsed(text)))
    places, rows = Places(text), [node for node in walk(parsed(text)) if _is_of_worker(node, "row")]
    return edited(text, ((*places.span(node), "0") for node in rows))  # type: ignore[arg-type]


@lru_cache(REMEMBERED)
def unshared(test: ast.expr) -> ast.expr:
    """A condition in which workers share nothing: False stands for `w.splits`."""
    new = _Unshared().visit(deepcopy(test))
    assert isinstance(new, ast.expr), ast.dump(new)
    return new


class _Unshared(ast.NodeTransformer):
    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        return ast.copy_location(ast.Constant(False), node) if _is_of_worker(node, "splits") else node


def _is_of_worker(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == name and ast.unparse(node.value) in _WORKERS


def _loops(places: Places, function: ast.FunctionDef) -> Iterator[Edit]:
    """`w.each(parts, work, x)` becomes `for part in parts: work(part, x)`, of one part `work(part, x)`."""
    taken = {node.id for node in walk(function) if isinstance(node, ast.Name)}
    part = "part" if "part" not in taken else "one"
    for node in walk(function):
        call = node.value if isinstance(node, ast.Expr) else None
        if not isinstance(call, ast.Call) or not _is_of_worker(call.func, "each") or call.lineno != call.end_lineno:
            continue
        parts, work, *given = call.args
        is_one = isinstance(parts, ast.Call) and _is_of_worker(parts.func, "cut")
        first = _whole(places, parts) if is_one else part  # type: ignore[arg-type]
        made = f"{places.of(work)}({', '.join([first, *map(places.of, given)])})"
        pad = " " * (call.col_offset + 4)
        yield (*places.span(call), made if is_one else f"for {part} in {places.of(parts)}:\n{pad}{made}")


def _whole(places: Places, call: ast.Call) -> str:
    """The one part of `w.cut(length, operations)`."""
    return f"slice(0, {places.of(call.args[0])})"


def _cuts(places: Places, tree: ast.AST) -> Iterator[Edit]:
    """`w.cut(length, operations)` is a list of one slice."""
    done = set[ast.AST]()
    for node in walk(tree):  # outer ones first
        stopped = node.value if isinstance(node, ast.Attribute) and node.attr == "stop" else None
        place = stopped or node
        first = place.value if isinstance(place, ast.Subscript) and ast.unparse(place.slice) in ("0", "-1") else None
        call = first or node
        if not isinstance(call, ast.Call) or not _is_of_worker(call.func, "cut") or call in done:
            continue
        done.add(call)
        whole = _whole(places, call)
        new = places.of(call.args[0]) if stopped else whole if first else f"[{whole}]"
        yield (*places.span(node), new)  # type: ignore[arg-type]
