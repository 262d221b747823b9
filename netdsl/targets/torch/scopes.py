"""What flows in and out of the scopes of a graph, and which of them one module of PyTorch stands for."""

from __future__ import annotations

from netdsl.graph.ir import Graph, Scope
from netdsl.targets.torch.sharing import inner_scopes, sharing, spans_of
from netdsl.targets.torch.texts import attribute


class Scopes:
    """What is known of every scope by its name. results: the values that the network gives, and what the loss reads.

    spans: the indices of its nodes; heights: how many groups stand in each other; shared: the nodes whose params others
    use; groups: the scopes that one module stands for.
    """

    def __init__(self, graph: Graph, results: tuple[int, ...]) -> None:
        self.graph, self.results = graph, results
        self.sharing, self.spans = sharing(graph), spans_of(graph.root)
        self.shared = {node.shares for node in graph.nodes} - {None}
        self.groups: dict[str, list[Scope]] = {}
        self.heights: dict[str, int] = {}
        self.readers: dict[int, int] = {}  # value -> the last node that reads it
        for index, node in enumerate(graph.nodes):
            self.readers.update(dict.fromkeys(node.inputs, index))
        for scope in inner_scopes(graph.root):
            self.groups.setdefault(self.sharing.alike.get(scope.name, scope.name), []).append(scope)
        for scope in reversed(list(inner_scopes(graph.root))):  # what stands inside comes first
            inner = [self.heights[c.name] for c in scope.children if isinstance(c, Scope) and c.call is None]
            self.heights[scope.name] = 1 + max(inner, default=0)

    def labels(self, scope: Scope) -> set[str]:
        """The last names of all its children."""
        paths = [c.name if isinstance(c, Scope) else self.graph.nodes[c].name for c in scope.children]
        return {path.rpartition(".")[2] for path in paths}

    def reads(self, scope: Scope) -> list[int]:
        """The values from outside that the nodes of a scope read; the one that flows in comes first."""
        inside = self.spans[scope.name]
        outside = [v for i in inside for v in self.graph.nodes[i].inputs if self.graph.maker(v) not in inside]
        return sorted(dict.fromkeys(outside), key=lambda value: value != scope.source)

    def makes(self, scope: Scope) -> list[int]:
        """The values of a scope that are read outside; the one that flows out comes first. A module that stands for
        several scopes gives what is read of any of them."""
        start = self.spans[scope.name].start
        alike = self.groups[self.sharing.alike.get(scope.name, scope.name)]
        places = sorted({place for one in alike for place in self.places_read(one)})
        values = [self.graph.value(start + place) for place in places]
        return sorted(values, key=lambda value: value != scope.result) or [
            self.graph.value(self.spans[scope.name].stop - 1)
        ]

    def places_read(self, scope: Scope) -> list[int]:
        """Which of its nodes make what is read outside of it."""
        inside = self.spans[scope.name]
        values = [(place, self.graph.value(index)) for place, index in enumerate(inside)]
        return [place for place, v in values if v in self.results or self.readers.get(v, 0) >= inside.stop]

    def called_again(self, scope: Scope) -> list[str]:
        """The paths of the modules outside of a scope that its forward is handed, since others have their params."""
        paths: dict[str, None] = {}
        pending: list[Scope | int] = [scope] if self.shared else []
        while pending:
            item = pending.pop()
            if not isinstance(item, Scope):
                shares = self.graph.nodes[item].shares
                paths.update(dict.fromkeys([shares] if shares is not None else []))
            elif item.name in self.sharing.again and item is not scope:
                first = self.sharing.again[item.name]
                paths.update(dict.fromkeys([first, *self.called_again(self.groups[first][0])]))
            else:
                pending += reversed(item.children)
        return [path for path in paths if scope.name and not path.startswith(f"{scope.name}.")]

    def handed_names(self, scope: Scope) -> dict[str, str]:
        """Path -> what forward of the scope's class calls the module that it is handed."""
        taken: dict[str, str] = {}
        for path in self.called_again(scope):
            name = f"shared_{path.rpartition('.')[2]}"
            while name in taken.values():
                name += "_"
            taken[path] = name
        return taken

    def reference(self, scope: Scope, path: str) -> str:
        """How forward of a scope's class writes the module or param of that path, inside of it or handed to it."""
        if scope.name and not path.startswith(f"{scope.name}."):
            return self.handed_names(scope)[path]
        node = self.graph.node_named.get(path)
        is_bare = node is not None and any(spec.name == "" for spec in node.params)
        return attribute(path[len(scope.name) :].lstrip("."), "nn.Parameter(" if is_bare else "")
