"""The text of a definition as it is emitted: without what only netdsl, its type checker and its passes read.

Annotations go, also of a variable without a value, and what a class declares: `can = ...` (stages/can.py). An
emitted module imports numpy alone, so that it has no names for types, and it is read for what it computes; so each
kernel has one text, in modules of every level. All else stays as it stands, byte for byte: bodies, docstrings,
comments, default values. A header that had annotations is laid out again, as the formatter would.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

WIDTH = 120  # columns of a line
_DECLARED = "can"


@dataclass(frozen=True)
class _Edit:
    """Bytes `begin` to `end` of a text become `new`."""

    begin: int
    end: int
    new: bytes


def plain_text(text: str) -> str:
    """The text of one function or class, as it is emitted. Raises AssertionError for a comment within an annotated
    header, and for a default over several lines: both would be lost."""
    data = text.encode()
    for edit in sorted(_edits(text), key=lambda edit: edit.begin, reverse=True):
        data = data[: edit.begin] + edit.new + data[edit.end :]
    return data.decode()


def _edits(text: str) -> Iterator[_Edit]:
    """What changes in a text; the edits do not overlap."""
    lines, gone = _Lines(text), set[ast.stmt]()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            declared = [part for part in node.body if _is_declaration(part, isinstance(node, ast.ClassDef))]
            gone.update(declared)
            yield from (lines.without(*run) for run in _runs(declared))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_annotated(node):
            yield _header_edit(lines, node)
        elif isinstance(node, ast.AnnAssign) and node not in gone:
            yield _Edit(lines.end(node.target), lines.end(node.annotation), b"")


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    a = node.args
    return [*a.posonlyargs, *a.args, *a.kwonlyargs, *(arg for arg in (a.vararg, a.kwarg) if arg is not None)]


def _is_annotated(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return node.returns is not None or any(arg.annotation is not None for arg in _arguments(node))


def _is_declaration(node: ast.stmt, in_class: bool) -> bool:
    """Whether a statement says something of a class or a variable that nothing of an emitted module reads."""
    if isinstance(node, ast.AnnAssign):
        return node.value is None or (in_class and ast.unparse(node.target) == _DECLARED)
    return in_class and isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == [_DECLARED]


def _runs(nodes: list[ast.stmt]) -> Iterator[tuple[ast.stmt, ast.stmt]]:
    """The first and the last of those that stand in lines behind each other."""
    first = 0
    for i, node in enumerate(nodes):
        if i + 1 == len(nodes) or nodes[i + 1].lineno != (node.end_lineno or node.lineno) + 1:
            yield nodes[first], node
            first = i + 1


class _Lines:
    """A text by its lines; places in it are counted in bytes, as the syntax tree does."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = [line.encode() for line in text.split("\n")]
        self.begins = [0]
        for line in self.lines:
            self.begins.append(self.begins[-1] + len(line) + 1)

    def place(self, line: int, column: int) -> int:
        return self.begins[line - 1] + column

    def end(self, node: ast.expr) -> int:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self.place(node.end_lineno, node.end_col_offset)

    def without(self, first: ast.stmt, last: ast.stmt) -> _Edit:
        """The lines of some statements go, and of the empty lines around them one stays."""
        begin, end = first.lineno - 1, last.end_lineno or last.lineno
        is_between = end < len(self.lines) and not self.lines[begin - 1].strip() and not self.lines[end].strip()
        return _Edit(self.begins[begin], self.begins[end + 1 if is_between else end], b"")

    def colon(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
        """The place behind the colon that ends a header."""
        rest = b"\n".join(self.lines[node.lineno - 1 :]).decode()
        depth = 0
        for token in tokenize.generate_tokens(io.StringIO(rest).readline):
            assert token.type != tokenize.COMMENT, f"a comment in the header of `{node.name}`: say it in the docstring"
            if token.type == tokenize.OP:
                depth += (token.string in "([{") - (token.string in ")]}")
                if token.string == ":" and depth == 0:
                    line, column = token.end
                    start = rest.split("\n")[line - 1][:column].encode()
                    return self.place(node.lineno + line - 1, len(start))
        raise AssertionError(f"the header of `{node.name}` has no end")


def _header_edit(lines: _Lines, node: ast.FunctionDef | ast.AsyncFunctionDef) -> _Edit:
    assert not getattr(node, "type_params", None), f"`{node.name}` has type parameters"
    word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    header = _laid_out(f"{word} {node.name}", _argument_texts(lines.text, node), node.col_offset)
    return _Edit(lines.place(node.lineno, node.col_offset), lines.colon(node), header.encode())


def _laid_out(start: str, arguments: list[str], indent: int) -> str:
    """In one line; else the arguments in a line of their own; else each in one, with a comma behind the last."""
    pad, joined = " " * indent, ", ".join(arguments)
    if indent + len(f"{start}({joined}):") <= WIDTH:
        return f"{start}({joined}):"
    if indent + 4 + len(joined) <= WIDTH:
        return f"{start}(\n{pad}    {joined}\n{pad}):"
    every = "".join(f"{pad}    {argument},\n" for argument in arguments)
    return f"{start}(\n{every}{pad}):"


def _argument_texts(text: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    a = node.args
    plain = [*a.posonlyargs, *a.args]
    defaults = [*[None] * (len(plain) - len(a.defaults)), *a.defaults]
    parts = [_with_default(text, arg, default) for arg, default in zip(plain, defaults, strict=True)]
    if a.posonlyargs:
        parts.insert(len(a.posonlyargs), "/")
    if a.vararg is not None:
        parts.append(f"*{a.vararg.arg}")
    elif a.kwonlyargs:
        parts.append("*")
    parts += [_with_default(text, arg, default) for arg, default in zip(a.kwonlyargs, a.kw_defaults, strict=True)]
    return parts + ([f"**{a.kwarg.arg}"] if a.kwarg is not None else [])


def _with_default(text: str, arg: ast.arg, default: ast.expr | None) -> str:
    """`eps=1e-5`, as it stands."""
    if default is None:
        return arg.arg
    written = ast.get_source_segment(text, default) or ""
    assert written and "\n" not in written, f"the default of `{arg.arg}` stands on several lines"
    return f"{arg.arg}={written}"
