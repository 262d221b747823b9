"""What the text of a network and of its workers asks, and the emitter knows: `self.splits`, `hasattr(self, "draw")`."""

from __future__ import annotations

import ast
from collections.abc import Container, Mapping
from dataclasses import dataclass

_OF_NETWORKS = ("self", "network", "self.network")


@dataclass(frozen=True)
class Questions:
    """methods: all that the network has beside those that every network has. flags: its attributes that are known."""

    methods: Container[str]
    flags: Mapping[str, bool]

    def decide(self, method: str, test: ast.expr) -> bool | None:
        """Whether a condition in a method holds; None where that is not known."""
        if isinstance(test, ast.BoolOp):
            parts = [self.decide(method, part) for part in test.values]
            decides = isinstance(test.op, ast.Or)
            return decides if decides in parts else None if None in parts else not decides
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            holds = self.decide(method, test.operand)
            return None if holds is None else not holds
        if isinstance(test, ast.Call) and ast.unparse(test.func) == "hasattr":
            of, name = test.args
            assert ast.unparse(of) in _OF_NETWORKS and isinstance(name, ast.Constant), ast.unparse(test)
            return name.value in self.methods
        return self.flags.get(ast.unparse(test))
