"""The meaning of a spec: a flat, checked `Graph` of `Node`s. Frozen; passes make new graphs.

Values are numbered: the network's inputs come first, then what the nodes make, one value each. `Graph.value` and
`Graph.maker` go from a node to its value and back. Nodes stand in an order in which every value is made before it is
read, so nothing here or below recurses over layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod

from netdsl.graph.types import Sizes, Tensor, show_sizes
from netdsl.ground.source import Span

Shape = Sizes
"""Plain sizes: of a param, of an array without its batch axis, of a window. What a value's sizes mean says its type."""


def show_shape(shape: Shape) -> str:
    """`1x28x28`, as the language writes it."""
    return show_sizes(shape)


@dataclass(frozen=True)
class ParamSpec:
    """A tensor of a layer: PyTorch's name and shape, and how it starts.

    init: `weight` and `bias` follow the spec's scheme (he, xavier, torch, gpt) with the fans given; `uniform` is
    PyTorch's own start, uniform within 1 / sqrt(fan_in), whatever the scheme; `zeros`, `ones` and a number are what
    they say; `normal` is the normal distribution with the standard deviation 0.02, `embedding` that with 1, or what the
    scheme says.
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

    type: what it gives. written: attrs, types of the inputs and own type once more, with the expressions of the block
    around it (ground.symbols), for emitters that write a block as a class; the same numbers.
    shares: the full name of an earlier node whose params and buffers it uses, as a layer of the same op does or one
    that is tied to that op; `params` and `buffers` say which.
    """

    name: str
    op: str
    attrs: Mapping[str, object]
    inputs: tuple[int, ...]
    type: Tensor
    params: tuple[ParamSpec, ...] = ()
    buffers: tuple[ParamSpec, ...] = ()
    macs: int = 0
    span: Span | None = field(default=None, compare=False, repr=False)
    written: tuple[Mapping[str, object], tuple[Tensor, ...], Tensor] | None = field(
        default=None, compare=False, repr=False
    )
    shares: str | None = None

    @property
    def owner(self) -> str:
        """The full name of the node that has the params and buffers: its own, or that of the one it shares with."""
        return self.name if self.shares is None else self.shares

    @property
    def num_params(self) -> int:
        """How many numbers its own params hold; those that it shares count where they are."""
        return 0 if self.shares is not None else sum(p.size for p in self.params)

    @property
    def shape(self) -> Shape:
        """The plain sizes of what it gives."""
        return self.type.sizes


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
    """A block call. type: what arrives, in the caller's terms; channels: what the block's own terms call its channels
    (of a map) or features, "" of ids, which have none; decisions: for each of its `if`s what holds, and what not."""

    block: str
    arguments: tuple[Argument, ...]
    type: Tensor
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
class Input:
    """What a network is given. name: "" of the only input, where it has none.

    mean, std: the first layers see (x - mean) / std. Each is one number, or one for each channel (feature); empty where
    the network takes x as it is. What the numbers are is what float32 makes of them, in every dtype.
    """

    name: str
    type: Tensor
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@dataclass(frozen=True)
class Output:
    """What a network gives: a value, under a name. name: "" of the only output, where it has none."""

    name: str
    value: int


@dataclass(frozen=True)
class Graph:
    """A whole network. `root` holds the scopes and nodes in order; `judged` is the name of the output that the loss
    reads, the first one for "".

    A network whose only input has no name takes x; one whose only output has none gives an array. All others take their
    inputs in this order, and give a dict of their outputs.
    """

    name: str
    inputs: tuple[Input, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Output, ...]
    root: Scope
    judged: str = ""

    # ---------------------------------------------------------------- values

    def value(self, index: int) -> int:
        """The value that node `index` makes."""
        return len(self.inputs) + index

    def maker(self, value: int) -> int | None:
        """The index of the node that makes a value; None for an input."""
        return value - len(self.inputs) if value >= len(self.inputs) else None

    def maker_of(self, value: int) -> Node | None:
        """The node that makes a value; None for an input."""
        index = self.maker(value)
        return None if index is None else self.nodes[index]

    @property
    def num_values(self) -> int:
        return len(self.inputs) + len(self.nodes)

    @property
    def results(self) -> tuple[int, ...]:
        """The values of the outputs, each once."""
        return tuple(dict.fromkeys(output.value for output in self.outputs))

    def type_of(self, value: int) -> Tensor:
        index = self.maker(value)
        return self.inputs[value].type if index is None else self.nodes[index].type

    def input_types(self, node: Node) -> tuple[Tensor, ...]:
        return tuple(self.type_of(value) for value in node.inputs)

    def shape_of(self, value: int) -> Shape:
        """The plain sizes of a value."""
        return self.type_of(value).sizes

    def input_shapes(self, node: Node) -> tuple[Shape, ...]:
        return tuple(self.shape_of(value) for value in node.inputs)

    # ---------------------------------------------------------------- inputs and outputs

    @property
    def takes_names(self) -> bool:
        """Whether its inputs have names."""
        return bool(self.inputs[0].name)

    @property
    def gives_names(self) -> bool:
        """Whether its outputs have names, under which it gives them in a dict."""
        return bool(self.outputs[0].name)

    @property
    def is_plain(self) -> bool:
        """Whether it takes one array and gives one, neither of which has a name."""
        return not self.takes_names and not self.gives_names

    @property
    def normalizes(self) -> bool:
        """Whether it takes some input raw."""
        return any(given.mean for given in self.inputs)

    @property
    def judged_value(self) -> int:
        """The value of the output that the loss reads."""
        return next(output.value for output in self.outputs if self.judged in (output.name, ""))

    def show_inputs(self) -> str:
        """`1x28x28`, `9x128 map`, or `left 2x6x6, right 2x6x6`."""
        return ", ".join(f"{given.name} {given.type.show_type()}".lstrip() for given in self.inputs)

    def show_outputs(self) -> str:
        """`10`, or `digit 10, box 4`."""
        return ", ".join(f"{o.name} {show_shape(self.shape_of(o.value))}".lstrip() for o in self.outputs)

    @property
    def input(self) -> Input:
        """The input of a network that has one."""
        assert len(self.inputs) == 1, f"{self.name} has {len(self.inputs)} inputs"
        return self.inputs[0]

    @property
    def output(self) -> int:
        """The value that a network of one output gives."""
        assert len(self.outputs) == 1, f"{self.name} has {len(self.outputs)} outputs"
        return self.outputs[0].value

    @property
    def input_type(self) -> Tensor:
        return self.input.type

    @property
    def output_type(self) -> Tensor:
        return self.type_of(self.output)

    @property
    def input_shape(self) -> Shape:
        return self.input_type.sizes

    @property
    def output_shape(self) -> Shape:
        return self.output_type.sizes

    @property
    def mean(self) -> tuple[float, ...]:
        return self.input.mean

    @property
    def std(self) -> tuple[float, ...]:
        return self.input.std

    def with_constants(self, mean: tuple[float, ...], std: tuple[float, ...]) -> Graph:
        """The graph of one input, normalised by these."""
        return verify_graph(replace(self, inputs=(replace(self.input, mean=mean, std=std),)))

    # ---------------------------------------------------------------- params

    @cached_property
    def node_named(self) -> Mapping[str, Node]:
        """Full name -> node."""
        return {node.name: node for node in self.nodes}

    @property
    def has_shares(self) -> bool:
        return any(node.shares is not None for node in self.nodes)

    @property
    def num_params(self) -> int:
        return sum(node.num_params for node in self.nodes)

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
        """The nodes that share with no other, as PyTorch lists them: in each scope, tensors of the module itself come
        before those of its children."""

        def bare(child: Scope | int) -> bool:
            return not isinstance(child, Scope) and any(p.name == "" for p in self.nodes[child].params)

        ordered: list[Node] = []
        pending: list[Scope | int] = [self.root]
        while pending:
            item = pending.pop()
            if isinstance(item, Scope):
                children = item.children[::-1]
                pending += [c for c in children if not bare(c)] + [c for c in children if bare(c)]
            elif self.nodes[item].shares is None:
                ordered.append(self.nodes[item])
        return ordered


def verify_graph(graph: Graph) -> Graph:
    """Assert what every later stage relies on; returns the graph. That each node is what its layer's rules make of its
    inputs says analysis.rules."""
    _verify_ends(graph)
    seen: dict[str, Node] = {}
    for index, node in enumerate(graph.nodes):
        assert node.name not in seen, f"two nodes share the name {node.name}"
        assert all(0 <= value < graph.value(index) for value in node.inputs), f"{node.name} reads what is made later"
        assert all(size >= 1 for size in node.shape), f"{node.name} has the shape {node.shape}"
        if node.shares is not None:
            _verify_shared(node, seen.get(node.shares))
        seen[node.name] = node
    _verify_scopes(graph)
    return graph


def _verify_ends(graph: Graph) -> None:
    """The inputs and the outputs."""
    for kind, names in (("inputs", [i.name for i in graph.inputs]), ("outputs", [o.name for o in graph.outputs])):
        assert names and len(set(names)) == len(names), f"the {kind} are called {names}"
        assert names == [""] or all(name.isidentifier() for name in names), f"the {kind} are called {names}"
    for given in graph.inputs:
        assert bool(given.mean) == bool(given.std), given
        lengths = {len(numbers) for numbers in (given.mean, given.std) if numbers}
        assert not lengths or lengths <= {1, given.type.channels}, given
    assert graph.judged in ("", *(output.name for output in graph.outputs)), f"no output is called {graph.judged}"
    for output in graph.outputs:
        assert 0 <= output.value < graph.num_values, f"output {output.value} of {graph.num_values} values"


def _verify_shared(node: Node, owner: Node | None) -> None:
    """A node uses the params of an earlier one, which are its own there, and just such ones as it would have."""
    assert owner is not None and owner.shares is None, f"{node.name} shares with {node.shares}, which owns nothing yet"
    assert node.op != owner.op or dict(node.attrs) == dict(owner.attrs), f"{node.name} is not as {owner.name}"
    for own, others in ((node.params, owner.params), (node.buffers, owner.buffers)):
        assert [(s.name, s.shape) for s in own] == [(s.name, s.shape) for s in others], f"{node.name}, {owner.name}"


def _verify_scopes(graph: Graph) -> None:
    """The scopes hold every node once, in order."""
    in_scopes: list[int] = []
    pending: list[Scope | int] = [graph.root]
    while pending:
        item = pending.pop()
        if isinstance(item, Scope):
            pending.extend(reversed(item.children))
        else:
            in_scopes.append(item)
    assert in_scopes == list(range(len(graph.nodes))), f"the scopes hold the nodes {in_scopes}"
