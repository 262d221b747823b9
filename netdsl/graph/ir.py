"""The meaning of a spec: a flat, checked `Graph` of `Node`s. Frozen; passes make new graphs.

Values are numbered: 0 is the network's input, node i (from 0) makes value i + 1. Nodes stand in an order in which
every value is made before it is read, so nothing here or below recurses over layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

from netdsl.ground.source import Span

Shape = tuple[int, ...]
"""Sizes without the batch axis: (C, H, W) for a map, (T, D) for tokens, (D,) for a vector."""


def show_shape(shape: Shape) -> str:
    """`1x28x28`, as the language writes it."""
    return "x".join(str(size) for size in shape)


def channels_of(shape: Shape) -> int:
    """The channels of a map, or the features of a token or a vector."""
    return shape[1 if len(shape) == 2 else 0]


@dataclass(frozen=True)
class ParamSpec:
    """A tensor of a layer: PyTorch's name and shape, and how it starts.

    init: `weight` and `bias` follow the spec's scheme (he, xavier, torch) with the fans given; `zeros`, `ones` and a
    number are what they say; `normal` is the normal distribution with the standard deviation 0.02.
    name: may hold a dot (`out_proj.weight`); "" is a tensor that has the layer's own name, a bare nn.Parameter.
    """

    name: str
    shape: Shape
    init: str | float
    fan_in: int = 1
    fan_out: int = 1

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def argument(self) -> str:
        """What the layer's forward kernel calls it."""
        return self.name.replace(".", "_") or "weight"

    def full_name(self, layer: str) -> str:
        """`conv1.weight`, for the layer of that full name."""
        return f"{layer}.{self.name}" if self.name else layer


@dataclass(frozen=True)
class Node:
    """One layer at its place. `name` is the full dotted path; `attrs` are complete and resolved.

    written: attrs, input shapes and shape once more, with the expressions of the block around it (ground.symbols), for
    emitters that write a block as a class; the same numbers.
    """

    name: str
    op: str
    attrs: Mapping[str, object]
    inputs: tuple[int, ...]
    shape: Shape
    params: tuple[ParamSpec, ...] = ()
    buffers: tuple[ParamSpec, ...] = ()
    macs: int = 0
    span: Span | None = field(default=None, compare=False, repr=False)
    written: tuple[Mapping[str, object], tuple[Shape, ...], Shape] | None = field(
        default=None, compare=False, repr=False
    )


@dataclass(frozen=True)
class Argument:
    """What a block's parameter got in a call, in the caller's own terms (ground.symbols).

    default: what it is without an argument (None: it has no default, or one that depends on the other arguments).
    """

    name: str
    value: object
    default: object = None


@dataclass(frozen=True)
class Call:
    """A block call. shape: what arrives, in the caller's terms; channels: what the block's own terms call its channels
    (of a map) or features; decisions: for each of its `if`s what holds, and what does not."""

    block: str
    arguments: tuple[Argument, ...]
    shape: Shape
    channels: str
    decisions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Scope:
    """A labelled group or a block call: its full name and, in order, child scopes and nodes (by index).

    source and result: the value that flows in and the one that flows out. call: None for a group and for the root.
    """

    name: str
    children: tuple[Scope | int, ...]
    source: int = 0
    result: int = 0
    call: Call | None = None

    @property
    def last_name(self) -> str:
        return self.name.rpartition(".")[2]


@dataclass(frozen=True)
class Graph:
    """A whole network. `output` is the value the network returns; `root` holds the scopes and nodes in order.

    mean, std: the first layers see (x - mean) / std. Each is one number, or one for each channel (feature); empty where
    the network takes x as it is. What the numbers are is what float32 makes of them, in every dtype.
    """

    name: str
    input_shape: Shape
    nodes: tuple[Node, ...]
    output: int
    root: Scope
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    @property
    def channels(self) -> int:
        """The channels of a map that arrives, or the features of a token or a vector."""
        return channels_of(self.input_shape)

    def shape_of(self, value: int) -> Shape:
        return self.input_shape if value == 0 else self.nodes[value - 1].shape

    def input_shapes(self, node: Node) -> tuple[Shape, ...]:
        return tuple(self.shape_of(value) for value in node.inputs)

    @property
    def output_shape(self) -> Shape:
        return self.shape_of(self.output)

    @property
    def num_params(self) -> int:
        return sum(p.size for node in self.nodes for p in node.params)

    @property
    def num_macs(self) -> int:
        return sum(node.macs for node in self.nodes)

    def param_specs(self) -> list[tuple[str, ParamSpec]]:
        """Full name and spec of every param, in the order of the spec and of PyTorch's state_dict."""
        return [(p.full_name(node.name), p) for node in self._in_state_order() for p in node.params]

    def buffer_specs(self) -> list[tuple[str, ParamSpec]]:
        """Full name and spec of every buffer, in the order of the spec and of PyTorch's state_dict."""
        return [(b.full_name(node.name), b) for node in self._in_state_order() for b in node.buffers]

    def _in_state_order(self) -> list[Node]:
        """As PyTorch lists them: in each scope, tensors of the module itself come before those of its children."""

        def bare(child: Scope | int) -> bool:
            return not isinstance(child, Scope) and any(p.name == "" for p in self.nodes[child].params)

        found: list[Node] = []
        pending: list[Scope | int] = [self.root]
        while pending:
            item = pending.pop()
            if isinstance(item, Scope):
                children = item.children[::-1]
                pending += [c for c in children if not bare(c)] + [c for c in children if bare(c)]
            else:
                found.append(self.nodes[item])
        return found


def verify_graph(graph: Graph) -> Graph:
    """Assert what every later stage relies on; returns the graph."""
    names = [node.name for node in graph.nodes]
    assert len(set(names)) == len(names), f"two nodes share a name: {sorted(names)}"
    for index, node in enumerate(graph.nodes):
        assert all(0 <= value <= index for value in node.inputs), f"{node.name} reads a value that is made later"
        assert all(size >= 1 for size in node.shape), f"{node.name} has the shape {node.shape}"
    assert 0 <= graph.output <= len(graph.nodes), f"output {graph.output} of {len(graph.nodes)} nodes"
    assert bool(graph.mean) == bool(graph.std), (graph.mean, graph.std)
    assert all(len(numbers) in (0, 1, graph.channels) for numbers in (graph.mean, graph.std)), (graph.mean, graph.std)
    in_scopes: list[int] = []
    pending: list[Scope | int] = [graph.root]
    while pending:
        item = pending.pop()
        if isinstance(item, Scope):
            pending.extend(reversed(item.children))
        else:
            in_scopes.append(item)
    assert in_scopes == list(range(len(graph.nodes))), f"the scopes hold the nodes {in_scopes}"
    return graph
