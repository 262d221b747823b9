"""Layers that use the weights of another layer, which a label names: `unembed @words`."""

from __future__ import annotations

from netdsl.graph.ir import Node
from netdsl.language.lower import labels
from netdsl.language.lower.flow import Place
from netdsl.language.lower.work import Work
from netdsl.language.syntax import ast
from netdsl.layers.contract import LayerDef


def tied(work: Work, syntax: ast.Layer, layer: LayerDef, here: Place) -> Node | None:
    """The node whose weights the layer uses; None after a complaint."""
    example = f"label it, as in `words: {layer.ties} 64`, and write `{layer.name} @words`"
    first, *more = syntax.args or (None,)
    if first is None:
        message = f"`{layer.name}` needs the label of the `{layer.ties}` whose weights it uses"
        work.reports.error("N305", message, syntax.name_span, example)
        return None
    if not isinstance(first.value, ast.Ref) or more:
        wrong = more[0] if isinstance(first.value, ast.Ref) else first
        message = f"`{layer.name}` takes one label and nothing else"
        work.reports.error("N306", message, wrong.span, example)
        return None
    return _node_of(work, first.value, layer, here, example)


def _node_of(work: Work, ref: ast.Ref, layer: LayerDef, here: Place, example: str) -> Node | None:
    """The one node of the right op that the label stands for."""
    output = labels.labelled(work, ref, here)
    if output is None or output.type is None:
        return None
    nodes = [node for node in work.nodes[output.nodes.start : output.nodes.stop] if node.op == layer.ties]
    if len(nodes) == 1:
        return nodes[0]
    what = f"{len(nodes)} of them" if nodes else "something else"
    message = f"`{layer.name}` uses the weights of one `{layer.ties}`, but `@{ref.path}` is {what}"
    work.reports.error("N303", message, ref.span, example)
    return None
