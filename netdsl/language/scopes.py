"""Scopes while they are filled: how layers, groups and block calls get their names, and what `@name` finds."""

from __future__ import annotations

from dataclasses import dataclass, field

from netdsl.graph.ir import Call, Scope
from netdsl.graph.types import Tensor
from netdsl.ground.source import Span


@dataclass
class OpenScope:
    """A scope being filled. In a labelled group (`numbered`) children are numbered from 0, as nn.Sequential does."""

    path: str
    numbered: bool
    source: int = 0
    call: Call | None = None
    outer: OpenScope | None = None
    children: list[Scope | int] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    taken: dict[str, Span] = field(default_factory=dict)
    number: int = 0

    def full(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def next_name(self, op: str, is_module: bool = True) -> str:
        """The name of a layer or block call without a label. Merges (is_module False) take no number in a group."""
        if self.numbered and is_module:
            return str(self.number)
        self.counts[op] = self.counts.get(op, 0) + 1
        return f"{op}{self.counts[op]}"

    def add(self, child: Scope | int, is_module: bool = True) -> None:
        self.children.append(child)
        self.number += is_module

    def close(self, result: int) -> Scope:
        return Scope(self.path, tuple(self.children), self.source, result, self.call)


@dataclass
class Output:
    """What a label names: the value behind it. `nodes` are those the labelled element made."""

    path: str
    value: int
    type: Tensor | None
    span: Span
    nodes: range
    is_read: bool = False


@dataclass
class Labels:
    """The labelled outputs of one block call, or of the file: `@name` sees these and no others."""

    outputs: dict[str, Output] = field(default_factory=dict)
    _by_end: dict[str, dict[str, Output]] = field(default_factory=dict)  # `b.c` and `c` for the label `a.b.c`

    def add(self, output: Output) -> None:
        self.outputs[output.path] = output
        end = output.path
        while end:
            self._by_end.setdefault(end, {})[output.path] = output
            end = end.partition(".")[2]

    def find(self, path: str, scope: OpenScope) -> list[Output]:
        """The output that `@path` means, looked for from the innermost scope outwards, then in other groups if there
        is one of that name only; several if it is not clear which one."""
        around: OpenScope | None = scope
        while around is not None:
            output = self.outputs.get(around.full(path))
            if output is not None:
                return [output]
            around = around.outer
        return list(self._by_end.get(path, {}).values())
