"""Random graphs of one to three inputs and outputs, in which layers and groups share params: pieces of random specs."""

from graphs import GraphBuilder
from hypothesis import strategies as st
from random_nets import ELEMENTS, labelled, whole

from netdsl.pipeline import check_text

SHAPES = ["3x8x8", "4x4x4", "2x5x7", "7", "12", "5x8", "2x9 map", "4x6 map", "2x3x5x4", "3x4x4x4"]
KEEPING = [
    "linear in.c",
    "conv in.c k3 p1 -> relu",
    "bn",
    "conv in.c k3 p1 nobias -> bn -> relu",
    "linear in.c -> tanh",
]
KEEPING += ["mha 1 causal dropout=0.3", "swiglu in.c", "conv in.c k1 -> bn -> tanh"]
KEEPING += ["prelu", "scale 0.5", "gn 1", "ln", "pos", "dropout 0.4", "res { conv in.c k1 -> bn -> dropout2d 0.3 }"]
MOST_LAYERS, MOST_NUMBERS = 60, 20_000


def fits(text, given, params=6_000):
    """Whether the piece makes something of an input of this type, and not too much."""
    net, _ = check_text(whole(f"input {given.show_type()}\n", f"{text}\n"))
    if net is None or not net.graph.nodes or net.graph.num_params > params or net.graph.num_macs > 500_000:
        return False
    return len(net.graph.nodes) <= 20 and sum(node.type.size for node in net.graph.nodes) < MOST_NUMBERS


class Drawn:
    """A graph while it is drawn; `text` says how it was made."""

    def __init__(self, draw):
        self.draw, self.b, self.lines = draw, GraphBuilder("drawn", compose=whole), []

    def piece(self, value, shares=None, text=None):
        """One more piece behind a value, if one that is drawn fits there."""
        number = len(self.lines)
        text = labelled(self.draw(st.one_of(ELEMENTS, st.sampled_from(KEEPING))), number) if text is None else text
        if len(self.b.nodes) > MOST_LAYERS or not fits(text, self.b.type(value)):
            return value
        made = self.b.put(text, value, shares)
        self.lines.append(f"{made}: {value} -> {text}{f' with the params of {shares}' if shares else ''}")
        return made

    def chain(self, value, most=3):
        for _ in range(self.draw(st.integers(1, most))):
            value = self.piece(value)
        return value

    def used_again(self, value):
        """A group, and behind it or beside it the same once more or twice with the same params."""
        layers = self.draw(st.lists(st.sampled_from(KEEPING), min_size=1, max_size=3))
        text = f"body{len(self.lines)}: {{ {' -> '.join(layers)} }}"
        first = self.piece(value, text=text)
        if first == value:
            return value
        label, made = text.partition(":")[0], [first]
        for _ in range(self.draw(st.integers(1, 2))):
            made.append(self.piece(self.draw(st.sampled_from([value, made[-1]])), shares=label, text=text))
        return self.together(made)

    def together(self, values):
        """One value of several, by add, mul or cat where they fit, else by way of vectors."""
        values = list(dict.fromkeys(values))
        if len(values) == 1:
            return values[0]
        if len({self.b.type(value) for value in values}) > 1:
            vectors = []
            for value in values:
                to = "linear 4" if self.b.type(value).is_vector else "flatten -> linear 4"
                vectors.append(self.piece(value, text=to))
            if len({self.b.type(value) for value in vectors}) > 1:  # a piece was left out: the graph is large enough
                return vectors[-1]
            values = list(dict.fromkeys(vectors))
        op = self.draw(st.sampled_from(["add", "mul", "cat"]))
        made = self.b.merge(op, *values)
        self.lines.append(f"{made}: {op} of {values}")
        return made

    def share_layers(self):
        """Some layers use the params of others that are just like them."""
        for _ in range(self.draw(st.integers(0, 3))):
            pairs = list(self.b.alike())
            if pairs:
                name, owner = self.draw(st.sampled_from(pairs))
                self.b.share(name, owner)
                self.lines.append(f"{name} with the params of {owner}")


@st.composite
def drawn_graphs(draw):
    """-> a net, and how it was made."""
    d = Drawn(draw)
    count = draw(st.integers(1, 3))
    names = ["left", "right", "more"][:count] if count > 1 or draw(st.booleans()) else [""]
    twin = draw(st.sampled_from(SHAPES))
    shapes = [twin if draw(st.booleans()) else draw(st.sampled_from(SHAPES)) for _ in names]
    inputs = []
    for name, shape in zip(names, shapes, strict=True):
        constants = ((0.5,), (2.0,)) if draw(st.integers(0, 3)) == 0 else ((), ())
        inputs.append(d.b.input(name, shape, *constants))
        d.lines.append(f"{inputs[-1]}: input {name} {shape} {constants}")
    made = [d.used_again(value) if draw(st.booleans()) else d.chain(value) for value in inputs]
    trunk = d.used_again(d.together(made))
    if not d.b.nodes:
        trunk = d.b.put("relu", trunk)
    heads = ["a", "b", "c"][: draw(st.integers(1, 3))]
    heads = ["_"] if len(heads) == 1 and draw(st.booleans()) else heads
    outputs = {name: d.chain(draw(st.sampled_from([trunk, *made])), 2) for name in heads}
    d.share_layers()
    judged = draw(st.sampled_from(["", *heads])) if heads != ["_"] else ""
    said = "\n".join([*d.lines, f"outputs {outputs}, the loss reads {judged or 'the first'}"])
    return d.b.net(judged, **outputs), said
