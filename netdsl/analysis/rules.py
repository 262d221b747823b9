"""A graph is what its layers' rules make of it: asserted after lowering and wherever a graph is changed.

What breaks it is a mistake of netdsl, never of a spec. Of plans, plan.verify_plan asserts as much after every pass.
"""

from __future__ import annotations

from netdsl.graph.ir import Graph, Node, ParamSpec, verify_graph
from netdsl.graph.types import Tensor
from netdsl.layers import layer_of

Made = tuple[Tensor, tuple[ParamSpec, ...], tuple[ParamSpec, ...], int]
"""A node's type, params, buffers and MACs."""


def verify_rules(graph: Graph) -> Graph:
    """Assert that the graph is whole (graph.ir) and that every node is what the rules of its layer make of its attrs
    and of the types of its inputs; returns the graph. Layers that are alike are worked out once."""
    verify_graph(graph)
    known: dict[object, Made] = {}
    for node in graph.nodes:
        inputs = graph.input_types(node)
        key = (node.op, tuple(node.attrs.items()), inputs)
        if key not in known:
            known[key] = _made(node, inputs)
        own = (node.type, node.params, node.buffers, node.macs)
        assert own == known[key], f"{node.name} is {own}, but the rules of {node.op} make {known[key]}"
    return graph


def _made(node: Node, inputs: tuple[Tensor, ...]) -> Made:
    layer = layer_of(node.op)
    assert layer.num_inputs in (None, len(inputs)), f"{node.name} reads {len(inputs)} values"
    made = layer.params(node.attrs, *inputs), layer.buffers(node.attrs, *inputs), layer.macs(node.attrs, *inputs)
    return (layer.shape(node.attrs, *inputs), *made)
