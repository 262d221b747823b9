"""How a node calls its layer's forward kernel: argument names held against what the node has."""

from __future__ import annotations

from typing import Literal

from netdsl.graph.ir import Node
from netdsl.layers import layer_of

Source = Literal["param", "buffer", "absent", "attr", "training", "rng"]


def forward_arguments(node: Node) -> list[tuple[str, Source]]:
    """(name, where its value comes from) for each argument after the inputs; `absent` is passed as None."""
    params, buffers = {p.argument for p in node.params}, {b.argument for b in node.buffers}
    found: list[tuple[str, Source]] = []
    for name in layer_of(node.op).forward_names:
        if name in ("training", "rng"):
            found.append((name, name))  # type: ignore[arg-type]
        elif name in params:
            found.append((name, "param"))
        elif name in buffers:
            found.append((name, "buffer"))
        else:
            found.append((name, "attr" if name in node.attrs else "absent"))
    return found
