"""What is said where something is done with networks of one input and one output alone."""

from __future__ import annotations

from netdsl.graph.ir import Graph
from netdsl.ground.diagnostics import UserError


def require_plain(graph: Graph, what: str) -> None:
    """Raises UserError unless the network takes one array and gives one, neither of which has a name."""
    if not graph.is_plain:
        text = f"{what} takes networks of one input and one output, but `{graph.name}` takes {graph.show_inputs()} and"
        help = "its models can be trained and asked from Python: `model.fit(x, y)`, `model.outputs(...)`"
        raise UserError(f"{text} gives {graph.show_outputs()}", help)
