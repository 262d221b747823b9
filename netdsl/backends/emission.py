"""What both emitters share: the template environment, the table of layers, and the gate every emitted text passes."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from netdsl.ir import Graph, Shape, show_shape

_ALLOWED_IMPORTS = {"numpy", "torch", "json", "math", "collections"}
_FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile",
    "open",
    "__import__",
    "getattr",
    "setattr",
    "globals",
    "vars",
    "breakpoint",
    "input",
}
_ALLOWED_DUNDERS = {"__init__", "__name__"}


@dataclass(frozen=True)
class Method:
    """A method of the emitted class: its head without `def`, what comes out of it, and the lines of its body."""

    head: str
    doc: str
    lines: tuple[str, ...]


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("netdsl.backends"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def emit(template: str, **values: object) -> str:
    """The template laid out with `values`, checked by `gate`."""
    return gate(_environment().get_template(template).render(**values))


def gate(text: str) -> str:
    """`text` unless it is more than an emitted module may be; every emission passes here, not only those in tests.

    Nothing a spec holds can become code: names are checked by the grammar, and this is the second lock.
    """
    assert text.isascii(), "emitted text must be ASCII"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert all(name.split(".")[0] in _ALLOWED_IMPORTS for name in names), f"emitted import of {names}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in _FORBIDDEN_CALLS, f"emitted call of {node.func.id}"
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        assert not name.startswith("__") or name in _ALLOWED_DUNDERS, f"emitted name {name}"
    return text


def batch_shape(shape: Shape) -> str:
    """`(N, 32, 28, 28)`."""
    return f"(N, {', '.join(map(str, shape))})"


def title(graph: Graph, name: str, framework: str, options: str) -> str:
    shapes = f"{show_shape(graph.input_shape)} -> {show_shape(graph.output_shape)}"
    return f"{name} in {framework}, {shapes}, {graph.num_params:,} parameters. Written by `netdsl compile{options}`"


def layer_table(graph: Graph) -> list[str]:
    """Layer, output and parameters, in two columns when the network is long."""
    rows = [("layer", "output", "parameters")]
    for node in graph.nodes:
        count = sum(p.size for p in node.params)
        rows.append((node.name, show_shape(node.shape), f"{count:,}" if count else ""))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [f"{name:<{widths[0]}}  {shape:<{widths[1]}}  {count:>{widths[2]}}" for name, shape, count in rows]
    if len(lines) > 8 and 2 * len(lines[0]) + 10 <= 110:
        half = len(lines) // 2 + 1
        right = [lines[0], *lines[half:]]
        right += [""] * (half - len(right))
        lines = [f"{a}      {b}" for a, b in zip(lines[:half], right, strict=True)]
    return [f"    {line}".rstrip() for line in lines]
