"""Which module of a PyTorch network stands for which layers and scopes; one is called again where params are shared.

A scope whose params are all those of another one, and which does the same with them, is that other one, called again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from netdsl.graph.ir import Graph, Node, Scope
from netdsl.targets.torch.rules import torch_rule


@dataclass(frozen=True)
class Sharing:
    """again: the name of a scope -> that of the one whose module it calls. alike: the name of such a scope, or of one
    inside -> its counterpart in that module."""

    again: dict[str, str]
    alike: dict[str, str]


def sharing(graph: Graph) -> Sharing:
    """What is called again in a graph."""
    search = _Search(graph)
    if graph.has_shares:
        search.look_through(graph.root)
    return Sharing(search.again, search.alike)


def module_path(graph: Graph, node: Node, shared: Sharing) -> str:
    """The path of the module that a PyTorch network calls for a node."""
    if node.shares is not None:
        return node.shares
    scope = node.name
    while scope:
        scope = scope.rpartition(".")[0]
        if scope in shared.again:
            return shared.again[scope] + node.name[len(scope) :]
    return node.name


def spans_of(scope: Scope) -> dict[str, range]:
    """Of this scope and every one inside the indices of its nodes, which stand in a row."""
    spans: dict[str, range] = {}
    pending: list[tuple[Scope, bool]] = [(scope, False)]
    while pending:
        one, is_known = pending.pop()
        inner = [child for child in one.children if isinstance(child, Scope)]
        if not is_known:
            pending += [(one, True), *((child, False) for child in inner)]
            continue
        ranges = [spans[c.name] if isinstance(c, Scope) else range(c, c + 1) for c in one.children]
        inside = [r for r in ranges if r]
        spans[one.name] = range(inside[0].start, inside[-1].stop) if inside else range(0)
    return spans


def inner_scopes(scope: Scope) -> Iterator[Scope]:
    """This scope and every one inside, in order."""
    pending = [scope]
    while pending:
        one = pending.pop()
        yield one
        pending += [child for child in reversed(one.children) if isinstance(child, Scope)]


class _Search:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.again: dict[str, str] = {}
        self.alike: dict[str, str] = {}
        self.spans = spans_of(graph.root)
        self.index_of = {node.name: index for index, node in enumerate(graph.nodes)}
        self.at: dict[tuple[int, int], list[Scope]] = {}
        for scope in inner_scopes(graph.root):
            span = self.spans[scope.name]
            self.at.setdefault((span.start, span.stop), []).append(scope)

    def look_through(self, root: Scope) -> None:
        """Finds what is called again, the outermost scopes first."""
        pending = [child for child in root.children if isinstance(child, Scope)]
        while pending:
            scope = pending.pop()
            first = self.first_of(scope)
            if first is None:
                pending += [child for child in scope.children if isinstance(child, Scope)]
                continue
            self.again[scope.name] = first.name
            for one in inner_scopes(scope):
                self.alike[one.name] = first.name + one.name[len(scope.name) :]

    def first_of(self, scope: Scope) -> Scope | None:
        """The scope that this one does again."""
        span = self.spans[scope.name]
        shared = [index for index in span if self.graph.nodes[index].shares is not None]
        starts = dict.fromkeys(self.index_of[self.graph.nodes[i].owner] - (i - span.start) for i in shared)
        others = [other for start in starts for other in self.at.get((start, start + len(span)), [])]
        return next((other for other in others if self.are_alike(scope, other)), None)

    def are_alike(self, scope: Scope, other: Scope) -> bool:
        """Whether one module does for both, in order: (again, first)."""
        if self.shape_of(scope) != self.shape_of(other):
            return False
        outside, others = self.reads(scope), self.reads(other)
        if self.place(scope.result, scope, outside) != self.place(other.result, other, others):
            return False
        for index, first in zip(self.spans[scope.name], self.spans[other.name], strict=True):
            node, before = self.graph.nodes[index], self.graph.nodes[first]
            if node.owner != before.owner if node.params or node.buffers else before.params or before.buffers:
                return False
            if self.work(node) != self.work(before):
                return False
            if [self.place(v, scope, outside) for v in node.inputs] != [
                self.place(v, other, others) for v in before.inputs
            ]:
                return False
        return True

    def shape_of(self, scope: Scope) -> list[tuple[str, int, int]]:
        """The names and places of everything inside, from its own beginning."""
        start, cut = self.spans[scope.name].start, len(scope.name)
        scopes = [(s.name[cut:], self.spans[s.name]) for s in inner_scopes(scope)]
        scopes_inside = [(name, span.start - start, len(span)) for name, span in scopes if span or name]
        return [*scopes_inside, *((self.graph.nodes[i].name[cut:], i - start, 0) for i in self.spans[scope.name])]

    def reads(self, scope: Scope) -> list[int]:
        """The values from outside that it reads; the one that flows in comes first."""
        span = self.spans[scope.name]
        outside = [v for i in span for v in self.graph.nodes[i].inputs if self.graph.maker(v) not in span]
        return sorted(dict.fromkeys(outside), key=lambda value: value != scope.source)

    def place(self, value: int, scope: Scope, outside: list[int]) -> tuple[str, int]:
        """Where a value is made, counted from the beginning of the scope, or which of those from outside it is."""
        index, span = self.graph.maker(value), self.spans[scope.name]
        if index is not None and index in span:
            return "inside", index - span.start
        return "outside", outside.index(value) if value in outside else -1

    def work(self, node: Node) -> tuple[object, ...]:
        """What a node does, as PyTorch writes it."""
        rule, given = torch_rule(node.op), self.graph.input_types(node)
        made = rule.constructor(node.attrs, *given) if rule.constructor is not None else None
        called = rule.call(node.attrs, *given) if rule.call is not None else None
        return node.op, dict(node.attrs), made, called
