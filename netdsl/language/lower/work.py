"""What grows while a file is walked through: the nodes, the reports, and what the end of the file asks about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from netdsl.graph.ir import Node
from netdsl.graph.recipe import Recipe
from netdsl.graph.types import Tensor
from netdsl.ground.reports import Reports
from netdsl.ground.source import Span
from netdsl.language.definitions import value_of
from netdsl.language.expressions import Names, Value
from netdsl.language.input_constants import Constants
from netdsl.language.lower.flow import Flow, Place
from netdsl.language.scopes import Output
from netdsl.language.syntax import ast

MAX_LAYERS = 10_000


@dataclass
class Declared:
    """What a file says once: its input (span, type, mean and std) and its train block with the recipe."""

    input_span: Span | None = None
    input_type: Tensor | None = None
    normalization: Constants = ((), ())
    train_block: ast.Train | None = None
    recipe: Recipe = field(default_factory=Recipe)


@dataclass
class Expansion:
    """How much has been walked through: `elements` counts copies and turns of loops.

    is_over: nothing more is expanded. least: what `least_layers` knows.
    """

    elements: int = 0
    has_layers: bool = False
    is_over: bool = False
    least: dict[int, int] = field(default_factory=dict)


@dataclass
class Ledger:
    """What is settled at the end: expectations with what was known there, lets and whether they were read, labels."""

    expects: list[tuple[ast.Expect, Tensor | None, Names]] = field(default_factory=list)
    lets: dict[Span, tuple[ast.Let, bool]] = field(default_factory=dict)
    outputs: dict[Span, list[Output]] = field(default_factory=dict)

    def note_lets(self, statements: Sequence[ast.Statement], names: Names) -> None:
        """Remember which lets of the body that ends here were read; a body may be walked through several times."""
        unread = set(names.unread())
        for let in statements:
            if isinstance(let, ast.Let):
                _, was_read = self.lets.get(let.span, (let, False))
                self.lets[let.span] = (let, was_read or let.name.id not in unread)


@dataclass(frozen=True)
class Work:
    """One lowering. complete: whether the syntax tree has no holes; why_reserved(name) -> why no label may have that
    name, or None."""

    complete: bool
    why_reserved: Callable[[str], str | None]
    reports: Reports = field(default_factory=Reports)
    nodes: list[Node] = field(default_factory=list)
    declared: Declared = field(default_factory=Declared)
    expansion: Expansion = field(default_factory=Expansion)
    ledger: Ledger = field(default_factory=Ledger)

    def value_of(self, expr: ast.Expr, here: Place, flow: Flow) -> Value | None:
        """The value of an expression; None, and an error, if it has none; None if it depends on an unknown shape."""
        return value_of(expr, here.names, flow.type, self.reports)

    def plain_type(self, flow: Flow) -> Tensor:
        """The type of what flows without symbols; it is known."""
        if flow.value:
            return self.nodes[flow.value - 1].type
        assert self.declared.input_type is not None
        return self.declared.input_type

    def stop(self, flow: Flow) -> Flow:
        """Nothing more is expanded after this point; what flows on."""
        self.expansion.is_over = True
        return flow.unknown()
