"""What files define: blocks and lets, of the spec itself and of the files it uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from netdsl.graph.types import Tensor
from netdsl.ground.diagnostics import Diagnostic
from netdsl.ground.names import reserved
from netdsl.ground.reports import Reports
from netdsl.ground.source import Span
from netdsl.language.blocks import check_name
from netdsl.language.expressions import UNKNOWN, ExprError, Names, UnknownShape, Value, evaluate
from netdsl.language.syntax import ast

Load = Callable[[ast.Use], "ast.Program | list[Diagnostic]"]
"""Gives the syntax tree of a used file, or says why there is none."""


@dataclass
class File:
    """What is defined at the top of a file: its lets, and the blocks that can be called there."""

    names: Names = field(default_factory=Names)
    blocks: dict[str, Block] = field(default_factory=dict)


@dataclass
class Block:
    """A block and the file whose names its body sees."""

    syntax: ast.Block
    file: File
    is_called: bool = False
    is_checked: bool = False  # walked through without shapes


def no_files(use: ast.Use) -> list[Diagnostic]:
    """The Load of a text that stands in no folder."""
    return [Diagnostic("N318", "`use` needs a file, but this text is not in one", use.span)]


class Definitions:
    """Defines the blocks of files; each file is read once, however often it is used."""

    def __init__(self, load: Load, reports: Reports) -> None:
        self._load = load
        self._reports = reports
        self._files: dict[int, File] = {}

    def define(self, program: ast.Program, file: File) -> None:
        """The blocks of a file, those it uses and its own."""
        self._files[id(program)] = file
        for statement in program.statements:
            if isinstance(statement, ast.Use):
                self._use(statement, file)
        for statement in program.statements:
            if isinstance(statement, ast.Block):
                self._block(statement, file)

    def _block(self, block: ast.Block, file: File) -> None:
        first = file.blocks.get(block.name)
        if first is not None:
            where = first.syntax.name_span
            note = f"the first one is on line {where.line} of {where.source.name}"
            self._reports.error("N308", f"there are two blocks `{block.name}`", block.name_span, notes=(note,))
            return
        self._check_name(block)
        self._check_params(block)
        file.blocks[block.name] = Block(block, file)

    def _use(self, use: ast.Use, file: File) -> None:
        loaded = self._load(use)
        if isinstance(loaded, list):
            self._reports.add(*loaded)
            return
        used = self._files.get(id(loaded))
        if used is None:
            used = File()
            self.define(loaded, used)
            for statement in loaded.statements:
                if isinstance(statement, ast.Let):
                    define_let(statement, used.names, None, self._reports)
        for name, block in used.blocks.items():
            first = file.blocks.setdefault(name, block)
            if first is not block:
                where = first.syntax.name_span.source.name
                message = f"the block `{name}` is already there"
                self._reports.error("N308", message, use.span, notes=(f"another one comes from {where}",))

    def _check_name(self, block: ast.Block) -> None:
        """Calls without a label are called after the block."""
        if block.name.startswith("_") or len(block.name) > 64:
            why = reserved(block.name)
            instead = block.name.strip("_")[:60] or "block"
            message = f"`{block.name[:70]}` cannot name a block: {why}"
            self._reports.error("N309", message, block.name_span, f"use another name, for example `{instead}_1`")

    def _check_params(self, block: ast.Block) -> None:
        seen: dict[str, Span] = {}
        for param in block.params:
            names_a_value(param.name, self._reports)
            if param.name.id in seen:
                self._reports.error("N308", f"`{block.name}` has two parameters `{param.name.id}`", param.span)
            seen[param.name.id] = param.span


def define_let(let: ast.Let, names: Names, given: Tensor | None, reports: Reports) -> None:
    """Give a name its value among `names`; `given` is what arrives at this point."""
    value = value_of(let.value, names, given, reports)
    if not names_a_value(let.name, reports):
        return
    if names.is_own(let.name.id):
        help_text = "give one of the two another name"
        reports.error("N308", f"`{let.name.id}` has a value already", let.name.span, help_text)
        return
    names.define(let.name.id, UNKNOWN if value is None else value)


def names_a_value(name: ast.Name, reports: Reports) -> bool:
    """False, and an error, if a let, a parameter or a loop may not use that name."""
    diagnostic = check_name(name)
    if diagnostic is not None:
        reports.add(diagnostic)
    return diagnostic is None


def value_of(expr: ast.Expr, names: Names, given: Tensor | None, reports: Reports) -> Value | None:
    """The value of an expression; None, and an error, if it has none; None if it depends on an unknown shape."""
    try:
        return evaluate(expr, names, given)
    except ExprError as error:
        reports.add(error.diagnostic)
    except UnknownShape:
        pass
    return None


def least_layers(primary: ast.Primary, file: File, known: dict[int, int], calls: int = 0) -> int:
    """A lower bound on the layers that one copy makes, from the counts that are written as numbers.

    known: what was found before, by the identity of the element; it is added to.
    """
    if not calls and id(primary) in known:
        return known[id(primary)]
    bodies: tuple[ast.Body, ...]
    inside = calls
    match primary:
        case ast.Layer():
            return 1
        case ast.Body():
            bodies, total = (primary,), 0
        case ast.Merge():
            bodies, total = primary.branches, 1
        case ast.Call() if calls < 4 and primary.name in file.blocks:
            bodies, total = (file.blocks[primary.name].syntax.body,), 0
            inside += 1
        case _:
            return 0
    for body in bodies:
        for statement in body.statements:
            for element in statement.elements if isinstance(statement, ast.Chain) else ():
                count = element.count
                copies = 1 if count is None else count.value if isinstance(count, ast.Number) else 0
                total += int(copies) * least_layers(element.primary, file, known, inside)
    if not calls:
        known[id(primary)] = total
    return total
