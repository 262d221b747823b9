"""How an emitted network goes on with a text: its layers one after the other, with what they keep."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

from netdsl.analysis.loss import logits_layers, logits_value
from netdsl.analysis.writing import can_write, goes_on, window_of
from netdsl.graph.ir import Graph, Node
from netdsl.layers import layer_at
from netdsl.targets.text.arguments import argument_texts, go_on_texts, of_few_texts
from netdsl.targets.text.emission import Method, section_titles
from netdsl.targets.text.variables import variables

WIDTH = 112  # columns of a line in a class


def writing_kernels(graph: Graph, loss: str) -> list[Callable[..., Any]]:
    """The kernels that go on, and those of layers that make each token by itself."""
    if not can_write(graph, loss):
        return []
    nodes = graph.nodes[: logits_layers(graph, loss)]
    layers = [(layer_at(node), goes_on(node)) for node in nodes]
    kernels = [layer.go_on if keeps else layer.of_few or layer.forward for layer, keeps in layers]
    return [kernel for kernel in kernels if kernel is not None]


def writing_methods(graph: Graph, loss: str) -> list[Method]:
    """`next_logits`, where the network can go on with a text."""
    if not can_write(graph, loss):
        return []
    until, nodes = logits_value(graph, loss), graph.nodes[: logits_layers(graph, loss)]
    steps = [(node.inputs, (graph.value(index),)) for index, node in enumerate(nodes)]
    named = variables(steps, range(1), [until])
    lines, titles = [f"x, p = check_ids(x, x.shape[1], {graph.input_type.limit}), self.params"], section_titles(graph)
    for index, node in enumerate(nodes):
        if index in titles:
            lines += ["", f"# {titles[index]}"]
        lines += _lines(node, named[graph.value(index)], [named[value] for value in node.inputs])
    doc = "The next numbers x (N, S) of texts, and what layers kept of those before -> logits of what follows each."
    return [Method("next_logits(self, x, states)", doc, (*lines, f"return {named[until]}"))]


def window_lines(graph: Graph, loss: str) -> list[str]:
    """The line of the class for how much of a text it sees."""
    return [f"window = {window_of(graph)}"] if can_write(graph, loss) else []


def _lines(node: Node, target: str, inputs: list[str]) -> list[str]:
    """`x = linear_forward(x, ...)[0]`, or of what keeps something `x, states["mha1"] = ...`; what is long is broken."""
    layer = layer_at(node)
    words = {"param": "p", "buffer": "self.buffers", "training": "training=False", "rng": "rng=self.rng"}
    if goes_on(node) and layer.go_on is not None:
        arguments = [*inputs, *go_on_texts(node, words), f'state=states.get("{node.name}")']
        head, tail = f'{target}, states["{node.name}"] = {layer.go_on.__name__}(', ")"
    elif layer.of_few is not None:
        arguments = [*inputs, *of_few_texts(node, words)]
        head, tail = f"{target} = {layer.of_few.__name__}(", ")"
    else:
        arguments = [*inputs, *argument_texts(node, words)]
        head, tail = f"{target} = {layer.forward.__name__}(", ")[0]"
    line = f"{head}{', '.join(arguments)}{tail}"
    if len(line) <= WIDTH:
        return [line]
    inner = textwrap.wrap(", ".join(arguments), WIDTH - 4, break_long_words=False, break_on_hyphens=False)
    return [head, *(f"    {part}" for part in inner), tail]
