"""Graphs of several inputs and outputs, and of layers that share params: pieces of specs, put together."""

from dataclasses import replace
from functools import cache

from netdsl.analysis.rules import verify_rules
from netdsl.graph.ir import Graph, Input, Node, Output, Scope
from netdsl.graph.recipe import Recipe
from netdsl.graph.types import from_sizes, map_of
from netdsl.ground.source import Source
from netdsl.layers import layer_of
from netdsl.pipeline import Net, compile_text

OF_GRAPHS = Source("graph.net", "")


class GraphBuilder:
    """A graph while pieces are put to it. Values are the graph's numbers: inputs come first."""

    def __init__(self, name="graph", blocks="", compose=None):
        self.name, self.compose = name, compose or (lambda head, body: f"{blocks}{head}{body}train {{ loss mse }}\n")
        self.inputs, self.nodes, self.children = [], [], []
        self.pieces = {}  # label -> the text it was made of, and its nodes

    def input(self, name, sizes, mean=(), std=()):
        """`3x8x8` or `2x9 map` -> the value of a new input."""
        assert not self.nodes, "inputs come first"
        plain, _, word = sizes.partition(" ")
        shape = tuple(int(size) for size in plain.split("x"))
        self.inputs.append(Input(name, map_of(*shape) if word else from_sizes(shape), mean, std))
        return len(self.inputs) - 1

    def type(self, value):
        first = len(self.inputs)
        return self.inputs[value].type if value < first else self.nodes[value - first].type

    def put(self, text, value, shares=None):
        """The layers of a piece of spec behind a value -> what they make. shares: the label, or name of a layer, that
        this piece uses the params of; it is the same text."""
        piece = _piece(self.compose(f"input {self.type(value).show_type()}\n", f"{text}\n"))
        names = self._free_names(piece)
        first = len(self.inputs) + len(self.nodes)

        def moved(number):
            return value if number == 0 else first + number - 1

        owners = {}
        if shares is not None:
            older = [node for node in self.nodes if f"{node.name}.".startswith(f"{shares}.")]
            assert len(older) == len(piece.nodes), (shares, text)
            owners = {
                new.name: old.owner for new, old in zip(piece.nodes, older, strict=True) if old.params or old.buffers
            }
        for node in piece.nodes:
            inputs = tuple(moved(number) for number in node.inputs)
            self.nodes.append(
                replace(node, name=_renamed(node.name, names), inputs=inputs, shares=owners.get(node.name))
            )
        self.children += [_moved(child, first - len(self.inputs), moved, names) for child in piece.root.children]
        return moved(piece.output)

    def merge(self, op, *values):
        """add, mul or cat of values -> what it makes."""
        layer, given = layer_of(op), [self.type(value) for value in values]
        attrs = dict(layer.resolve({}, *given) if layer.resolve else {})
        name = self._free(f"{op}1")
        made = layer.shape(attrs, *given)
        self.children.append(len(self.nodes))
        self.nodes.append(Node(name, op, attrs, values, made, written=(attrs, tuple(given), made)))
        return len(self.inputs) + len(self.nodes) - 1

    def share(self, name, owner):
        """The node of that full name uses the params of another."""
        index = next(i for i, node in enumerate(self.nodes) if node.name == name)
        self.nodes[index] = replace(self.nodes[index], shares=owner)

    def alike(self):
        """(name, owner) of layers that could share params with an earlier one, and do not yet: not of an image and a
        signal, for which PyTorch has modules of their own."""
        shared = {node.shares for node in self.nodes}
        for index, node in enumerate(self.nodes):
            if node.shares is None and node.params and node.name not in shared:
                for other in self.nodes[:index]:
                    kinds = [
                        (n.op, n.attrs, n.params, [(b.name, b.shape) for b in n.buffers], n.type.layout, n.type.axes)
                        for n in (node, other)
                    ]
                    if other.shares is None and kinds[0] == kinds[1]:
                        yield node.name, other.name

    def graph(self, judged="", **outputs):
        """The graph with these outputs, name=value; `_=value` is one without a name."""
        made = tuple(Output("" if name == "_" else name, value) for name, value in outputs.items())
        root = Scope("", tuple(self.children), 0, made[0].value)
        return verify_rules(Graph(self.name, tuple(self.inputs), tuple(self.nodes), made, root, judged))

    def net(self, judged="", recipe=None, **outputs):
        return net_of(self.graph(judged, **outputs), recipe)

    def _free(self, name):
        taken = {node.name.partition(".")[0] for node in self.nodes}
        stem = name.rstrip("0123456789") if name[-1].isdigit() else f"{name}_"
        number = 1
        while name in taken:
            number += 1
            name = f"{stem}{number}"
        return name

    def _free_names(self, piece):
        """First part of a path -> the same, or another where it is taken."""
        names, taken = {}, {node.name.partition(".")[0] for node in self.nodes}
        for child in piece.root.children:
            first = child.name if isinstance(child, Scope) else piece.nodes[child].name
            name, number = first, 1
            stem = first.rstrip("0123456789") if first[-1].isdigit() else f"{first}_"
            while name in taken or name in names.values():
                number += 1
                name = f"{stem}{number}"
            names[first] = name
        return names


@cache
def _piece(text):
    return compile_text(text).graph


def _renamed(path, names):
    first, dot, rest = path.partition(".")
    return names[first] + dot + rest


def _moved(child, shift, moved, names):
    """A scope of a piece, where the piece stands in the graph."""
    if not isinstance(child, Scope):
        return child + shift
    children = tuple(_moved(inner, shift, moved, names) for inner in child.children)
    return replace(
        child,
        name=_renamed(child.name, names),
        children=children,
        source=moved(child.source),
        result=moved(child.result),
    )


def net_of(graph, recipe=None):
    """A net of a graph that no text describes."""
    return Net(OF_GRAPHS, graph, recipe or Recipe(loss="mse"))


def siamese(judged="", recipe=None):
    """Two images through one body, with a batch norm in it, and the difference of what it makes of them."""
    b = GraphBuilder("siamese")
    left, right = b.input("left", "2x6x6"), b.input("right", "2x6x6")
    text = "body: { conv 4 k3 p1 nobias -> bn -> relu -> pool 2 -> flatten -> linear 5 }"
    first = b.put(text, left)
    second = b.put(text, right, shares="body")
    return b.net(judged, recipe, _=b.merge("mul", first, b.put("scale 0.5 -> linear 5", second)))


def two_inputs(op="cat"):
    """A raw image and a vector, brought together."""
    b = GraphBuilder(f"two_inputs_{op}")
    image, table = b.input("image", "3x6x6", (0.5, 0.1, -1.0), (2.0, 1.0, 0.5)), b.input("table", "5")
    first = b.put("conv 4 k3 -> bn -> relu -> flatten -> linear 6", image)
    return b.net(_=b.put("relu -> linear 3", b.merge(op, first, b.put("linear 6 -> tanh", table))))


def two_heads(judged="", recipe=None, ends="softmax"):
    """A class and a box of an image; the class may end in a softmax."""
    b = GraphBuilder("two_heads")
    trunk = b.put("conv 4 k3 -> bn -> relu -> pool 2", b.input("", "2x8x8"))
    digit = b.put(f"digit: {{ flatten -> linear 5 -> {ends} }}", trunk)
    return b.net(judged, recipe, digit=digit, box=b.put("conv 4 k1 -> bn -> gap", trunk))


def three_times():
    """A layer used three times, in nested groups and in two calls of a block, and a block used twice as a whole."""
    blocks = "block twice(c) { conv c k3 p1 -> relu -> conv c k3 p1 -> add { id | conv c k3 p1 -> bn } }\n"
    b = GraphBuilder("three_times", blocks)
    left, right = b.input("left", "4x5x5"), b.input("right", "4x7x5")
    first = b.put("outer: { conv 4 k1 -> inner: { relu -> conv 4 k3 p1 -> tanh } }", left)
    second = b.put("twice(4) -> twice(4)", first)
    third = b.put("twice(4)", right, shares="twice2")
    for name in ("twice1.conv1", "twice1.conv2", "twice2.conv1"):
        b.share(name, "outer.inner.1")
    b.share("twice3.conv1", "outer.inner.1")
    return b.net(_=b.merge("add", b.put("gap -> linear 3", second), b.put("gap -> linear 3", third)))


def unread(judged="seen"):
    """An input that nothing reads, a head that the loss does not see, and params that only such a head shares."""
    b = GraphBuilder("unread")
    x = b.input("x", "4")
    b.input("y", "2x3x3")
    body = b.put("body: { linear 4 -> tanh }", x)
    seen = b.put("body: { linear 4 -> tanh }", body, shares="body")
    aside = b.put("linear 4", x)
    return b.net(judged, seen=b.put("linear 4", seen), aside=aside, again=b.put("linear 4", body, shares="linear1"))


def read_the_other_way_round():
    """A norm and a dropout used twice, whose second outputs are read first: on one line they would change places."""
    b = GraphBuilder("other_way")
    left, right = b.input("left", "4"), b.input("right", "4")
    norms = b.merge("mul", *reversed([b.put("bn", left), b.put("bn", right, shares="bn1")]))
    first = b.put("body: { linear 4 -> dropout 0.5 }", norms)
    return b.net(_=b.merge("mul", b.put("body: { linear 4 -> dropout 0.5 }", norms, shares="body"), first))


def softmax_used_again():
    """The softmax that the loss contains stands in a group that is used again."""
    b = GraphBuilder("softmax_again")
    left, right = b.input("left", "4"), b.input("right", "4")
    text = "body: { linear 4 -> tanh -> linear 4 -> softmax }"
    both = b.merge("add", b.put(text, left), right)
    return b.net(recipe=Recipe(loss="ce"), _=b.put(text, both, shares="body"))


def softmax_in_groups():
    """The softmax that the loss contains stands in groups that are handed a param, which is a bare one, too."""
    b = GraphBuilder("softmax_in_groups")
    left, right = b.input("left", "4"), b.input("right", "4")
    first = b.put("one: { linear 4 -> scale 0.5 -> tanh }", left)
    both = b.merge("add", first, right)
    made = b.put("two: { three: { linear 4 -> relu -> scale 0.5 -> linear 4 -> softmax } }", both)
    b.share("two.three.0", "one.0")
    b.share("two.three.2", "one.1")
    return b.net(recipe=Recipe(loss="ce"), _=made)


def in_recursion():
    """A block that calls itself, used again as a whole; another call of it uses the params of a layer outside."""
    blocks = "block deep(c, n) { conv c k1 -> relu -> if n > 0 { res { deep(c, n-1) } } }\n"
    b = GraphBuilder("in_recursion", blocks)
    first = b.put("deep(4, 2)", b.put("conv 4 k1", b.input("", "4x5x5")))
    last = b.put("deep(4, 1)", b.put("deep(4, 2)", first, shares="deep1"))
    b.share("deep3.conv1", "conv1")
    b.share("deep3.deep1.conv1", "conv1")
    return b.net(_=last)


def three_steps_of_one_body():
    """One input, one output, a group used three times behind itself; gradients are clipped."""
    b = GraphBuilder("three_steps")
    x = b.put("conv 4 k3 p1 nobias -> bn -> relu", b.input("", "2x6x6"))
    for shares in (None, "body", "body"):
        x = b.put("body: { conv 4 k3 p1 nobias -> bn -> dropout 0.2 -> relu }", x, shares)
    recipe = Recipe(loss="ce", clip=0.05, optimizer="sgd", options={"lr": 0.1, "momentum": 0.9})
    return b.net(recipe=recipe, _=b.put("gap -> linear 3", x))


GRAPHS = {
    "siamese": siamese,
    "two inputs added": lambda: two_inputs("add"),
    "two inputs joined": two_inputs,
    "two heads": two_heads,
    "two heads, the loss reads the other": lambda: two_heads("box"),
    "two heads, one with the softmax of the loss": lambda: two_heads("digit", Recipe(loss="ce")),
    "shared three times": three_times,
    "read the other way round": read_the_other_way_round,
    "the softmax of the loss in a group used again": softmax_used_again,
    "the softmax of the loss in groups that are handed params": softmax_in_groups,
    "in recursion": in_recursion,
    "three steps of one body": three_steps_of_one_body,
    "unread": unread,
    "the loss sees a layer only where it is used again": lambda: unread("again"),
}
