"""Whether a network can go on with a text, number by number, and what it keeps of what it has seen."""

from __future__ import annotations

from netdsl.analysis.loss import judges_tokens
from netdsl.graph.ir import Graph, Node
from netdsl.layers import layer_at
from netdsl.layers.rules.places import same_place


def can_write(graph: Graph, loss: str) -> bool:
    """Whether it says of each number of a text which one follows, and knows of no later one while it does."""
    return why_not(graph, loss) == ""


def why_not(graph: Graph, loss: str) -> str:
    """Why a network cannot go on with a text, in words; "" where it can."""
    if not graph.is_plain or not graph.input_type.is_ids:
        return "it takes no numbers of a vocabulary, as `input 64 of 65` does"
    if not judges_tokens(graph, loss):
        return "its loss asks for no label of each token"
    if graph.type_of(graph.judged_value).length != graph.input_type.length:
        return "it does not give as many tokens as it takes"
    if graph.type_of(graph.judged_value).channels > graph.input_type.limit:
        return "it gives more classes than the numbers that it takes"
    blind = next((node for node in graph.nodes if not _looks_back(node)), None)
    if blind is None:
        return ""
    return f"a token of `{blind.name}` ({blind.op}) may depend on those behind it"


def goes_on(node: Node) -> bool:
    """Whether a layer keeps what it has seen."""
    layer = layer_at(node)
    return layer.go_on is not None and layer.goes_on(node.attrs)


def window_of(graph: Graph) -> int:
    """How many numbers a network sees at a time; 0: all, since it keeps a state of one size for them."""
    is_endless = all(layer_at(node).by_step for node in graph.nodes if goes_on(node))
    return 0 if is_endless and any(goes_on(node) for node in graph.nodes) else graph.input_type.length


def _looks_back(node: Node) -> bool:
    """Whether a token of what a layer gives is made of that token and of earlier ones."""
    layer = layer_at(node)
    by_itself = layer.takes_ids or layer.by_token or layer.reads is same_place
    return node.type.is_tokens and (by_itself or goes_on(node))
