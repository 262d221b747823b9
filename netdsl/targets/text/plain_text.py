"""The text of a definition as it is emitted: without what only netdsl, its type checker and its passes read.

Annotations go, also of a variable without a value, what a class declares: `can = ...` (stages/can.py), and comments to
the type checker. An emitted module imports numpy alone, so that it has no names for types, and it is read for what it
computes; so each kernel has one text, in modules of every level. All else stays as it stands, byte for byte: bodies,
docstrings, other comments, default values, and the fields of a dataclass, whose types name what Python has. A header
that had annotations is laid out again, as the formatter would.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Container, Iterator
from dataclasses import dataclass

WIDTH = 120  # columns of a line
_DECLARED = "can"
_FOR_TOOLS = re.compile(rb"  # (type: ignore|noqa)[^\n]*")
_HEADER_END = re.compile(rb"[\s,)]*:")
Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = ast.FunctionDef | ast.ClassDef


@dataclass(frozen=True)
class _Edit:
    """Bytes `begin` to `end` of a text become `new`."""

    begin: int
    end: int
    new: bytes


class Definitions:
    """The functions and classes at the top of a module, from its text. Those with a decorator are left out, since their
    text would not say what that makes of them; but not frozen dataclasses."""

    def __init__(self, text: str) -> None:
        self._lines, body = _Lines(text), ast.parse(text).body
        defined = [node for node in body if isinstance(node, Definition)]
        self._nodes = {node.name: node for node in defined if not node.decorator_list or is_record(node)}
        assigned = [node for node in body if isinstance(node, ast.Assign)]
        names = [
            (name.id, node) for node in assigned for name in ast.walk(node.targets[0]) if isinstance(name, ast.Name)
        ]
        self._constants = {name: node for name, node in names if name.isupper()}

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __contains__(self, name: object) -> bool:
        return name in self._nodes

    def constant(self, name: str) -> str | None:
        """The assignment at the top of the module that gives a name in capitals, as it stands; None where none does."""
        node = self._constants.get(name)
        if node is None:
            return None
        return self._lines.between(self._lines.begins[node.lineno - 1], self._lines.end_of_line(node)).decode()

    def written(self, name: str) -> str:
        """The text of a definition, as it stands."""
        return self._lines.between(*self._place(name)).decode()

    def plain(self, name: str) -> str:
        """The text of a definition, as it is emitted. Raises AssertionError for a comment within an annotated header,
        and for a default over several lines: both would be lost."""
        begin, end = self._place(name)
        parts: list[bytes] = []
        for edit in sorted(_edits(self._lines, self._nodes[name]), key=lambda edit: edit.begin):
            parts += [self._lines.between(begin, edit.begin), edit.new]
            begin = edit.end
        return _FOR_TOOLS.sub(b"", b"".join([*parts, self._lines.between(begin, end)])).decode()

    def _place(self, name: str) -> tuple[int, int]:
        node = self._nodes[name]
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        return self._lines.begins[first - 1], self._lines.end_of_line(node)


def plain_text(text: str) -> str:
    """The text of one function or class, as it is emitted (Definitions.plain)."""
    definitions = Definitions(text)
    (name,) = definitions
    return definitions.plain(name)


def header_without(text: str, node: ast.FunctionDef, gone: Container[str]) -> tuple[int, int, str]:
    """Where the header of a function of an ASCII text begins and ends, and the same without some parameters."""
    lines, a = _Lines(text), node.args
    defaults = [*[None] * (len(a.args) - len(a.defaults)), *a.defaults]
    left = [(arg, default) for arg, default in zip(a.args, defaults, strict=True) if arg.arg not in gone]
    given = [default for _, default in left if default is not None]
    arguments = ast.arguments([], [arg for arg, _ in left], a.vararg, a.kwonlyargs, a.kw_defaults, a.kwarg, given)
    short = ast.FunctionDef(node.name, arguments, [], [], lineno=node.lineno, col_offset=node.col_offset)
    header = _laid_out(f"def {node.name}", _argument_texts(lines, short), node.col_offset)
    return lines.begin(node), _header_end(lines, node), header


def _edits(lines: _Lines, top: ast.stmt) -> Iterator[_Edit]:
    """What changes in a definition; the edits do not overlap."""
    gone = set[ast.stmt]()
    for node in _statements(top):
        if is_record(node):
            gone.update(part for part in getattr(node, "body", ()) if isinstance(part, ast.AnnAssign))
        elif isinstance(node, ast.ClassDef | Function):
            declared = [part for part in node.body if _is_declaration(part, isinstance(node, ast.ClassDef))]
            gone.update(declared)
            yield from (lines.without(*run) for run in _runs(declared))
        if isinstance(node, Function) and _is_annotated(node):
            yield _header_edit(lines, node)
        elif isinstance(node, ast.AnnAssign) and node not in gone:
            yield _Edit(lines.end(node.target), lines.end(node.annotation), b"")


def is_record(node: ast.stmt) -> bool:
    """Whether it is a dataclass, whose fields stay."""
    decorators = [ast.unparse(decorator) for decorator in getattr(node, "decorator_list", ())]
    return decorators == ["dataclasses.dataclass(frozen=True)"]


def _statements(top: ast.stmt) -> Iterator[ast.stmt]:
    """A statement and all in it, outer ones first; expressions hold no annotations, and are not walked through."""
    waiting = [top]
    for node in waiting:
        yield node
        for block in ("body", "orelse", "finalbody"):
            waiting += getattr(node, block, ())
        for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
            waiting += part.body


def _arguments(node: Function) -> list[ast.arg]:
    a = node.args
    return [*a.posonlyargs, *a.args, *a.kwonlyargs, *(arg for arg in (a.vararg, a.kwarg) if arg is not None)]


def _is_annotated(node: Function) -> bool:
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
        self.data = text.encode()
        self.lines = self.data.split(b"\n")
        self.begins = [0]
        for line in self.lines:
            self.begins.append(self.begins[-1] + len(line) + 1)

    def place(self, line: int, column: int) -> int:
        return self.begins[line - 1] + column

    def begin(self, node: ast.expr | ast.stmt) -> int:
        return self.place(node.lineno, node.col_offset)

    def end(self, node: ast.expr | ast.stmt | ast.arg) -> int:
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self.place(node.end_lineno, node.end_col_offset)

    def end_of_line(self, node: ast.stmt) -> int:
        return self.begins[node.end_lineno or node.lineno] - 1

    def between(self, begin: int, end: int) -> bytes:
        return self.data[begin:end]

    def without(self, first: ast.stmt, last: ast.stmt) -> _Edit:
        """The lines of some statements go, and of the empty lines around them one stays."""
        begin, end = first.lineno - 1, last.end_lineno or last.lineno
        is_between = end < len(self.lines) and not self.lines[begin - 1].strip() and not self.lines[end].strip()
        return _Edit(self.begins[begin], self.begins[end + 1 if is_between else end], b"")


def _header_edit(lines: _Lines, node: Function) -> _Edit:
    assert not getattr(node, "type_params", None), f"`{node.name}` has type parameters"
    begin, end = lines.begin(node), _header_end(lines, node)
    assert not _has_comment(lines.between(begin, end)), f"a comment in the header of `{node.name}`: put it elsewhere"
    word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    header = _laid_out(f"{word} {node.name}", _argument_texts(lines, node), node.col_offset)
    return _Edit(begin, end, header.encode())


def _header_end(lines: _Lines, node: Function) -> int:
    """The place behind the colon of a header, which is the first behind all that stands in it."""
    given = [default for default in (*node.args.defaults, *node.args.kw_defaults) if default is not None]
    inside: list[ast.expr | ast.arg] = [*_arguments(node), *given]
    last = max(lines.end(part) for part in (*inside, *([node.returns] if node.returns is not None else [])))
    rest = _HEADER_END.match(lines.data, last)
    assert rest is not None, f"a comment in the header of `{node.name}`: put it elsewhere"
    return rest.end()


def _has_comment(header: bytes) -> bool:
    if b"#" not in header:
        return False
    tokens = tokenize.generate_tokens(io.StringIO(f"{header.decode()} pass\n").readline)
    return any(token.type == tokenize.COMMENT for token in tokens)


def _laid_out(start: str, arguments: list[str], indent: int) -> str:
    """In one line; else the arguments in a line of their own; else each in one, with a comma behind the last."""
    pad, joined = " " * indent, ", ".join(arguments)
    if indent + len(f"{start}({joined}):") <= WIDTH:
        return f"{start}({joined}):"
    if indent + 4 + len(joined) <= WIDTH:
        return f"{start}(\n{pad}    {joined}\n{pad}):"
    every = "".join(f"{pad}    {argument},\n" for argument in arguments)
    return f"{start}(\n{every}{pad}):"


def _argument_texts(lines: _Lines, node: Function) -> list[str]:
    a = node.args
    plain = [*a.posonlyargs, *a.args]
    defaults = [*[None] * (len(plain) - len(a.defaults)), *a.defaults]
    parts = [_with_default(lines, arg, default) for arg, default in zip(plain, defaults, strict=True)]
    if a.posonlyargs:
        parts.insert(len(a.posonlyargs), "/")
    if a.vararg is not None:
        parts.append(f"*{a.vararg.arg}")
    elif a.kwonlyargs:
        parts.append("*")
    parts += [_with_default(lines, arg, default) for arg, default in zip(a.kwonlyargs, a.kw_defaults, strict=True)]
    return parts + ([f"**{a.kwarg.arg}"] if a.kwarg is not None else [])


def _with_default(lines: _Lines, arg: ast.arg, default: ast.expr | None) -> str:
    """`eps=1e-5`, as it stands."""
    if default is None:
        return arg.arg
    written = lines.between(lines.begin(default), lines.end(default)).decode()
    assert "\n" not in written, f"the default of `{arg.arg}` stands on several lines"
    return f"{arg.arg}={written}"
