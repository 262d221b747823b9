"""What emitters share: the template environment, the table of layers, and the gate every emitted text passes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from netdsl.graph.ir import Graph, Scope, Shape, show_shape
from netdsl.ground.symbols import plain_value, value_text
from netdsl.targets.dialect import Dialect
from netdsl.targets.text.gate import gate

MAX_ROWS = 60  # of a table of layers


@dataclass(frozen=True)
class Method:
    """A method of the emitted class: its head without `def`, what comes out of it, and the lines of its body."""

    head: str
    doc: str
    lines: tuple[str, ...]


@cache
def _environment(package: str) -> Environment:
    return Environment(
        loader=PackageLoader(package, ""),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def emit(dialect: Dialect, **values: object) -> str:
    """The template of a target laid out with `values`, checked by `gate`."""
    text = _environment(dialect.package).get_template(dialect.template).render(**values)
    return gate("\n".join(line.rstrip() for line in text.split("\n")), dialect)


def batch_shape(shape: Shape) -> str:
    """`(N, 32, 28, 28)`."""
    return f"(N, {', '.join(map(str, shape))})"


def constants_text(numbers: tuple[float, ...]) -> str:
    """`0.1307`, or `(0.49, 0.48, 0.45)`."""
    return value_text(numbers[0] if len(numbers) == 1 else numbers)


def raw_doc(graph: Graph) -> str:
    """What the docstring of `forward` says of x where the network normalises it."""
    raw = [given.name or "x" for given in graph.inputs if given.mean]
    if not raw:
        return ""
    are, they = ("is", "it is") if len(raw) == 1 else ("are", "they are")
    return f" {' and '.join(raw)} {are} raw: {they} normalized here, and bytes (uint8) become 0..1 before."


def title(graph: Graph, name: object, framework: str, options: str) -> str:
    shapes = f"{graph.show_inputs()} -> {graph.show_outputs()}"
    return f"{name} in {framework}, {shapes}, {graph.num_params:,} parameters. Written by `netdsl compile{options}`"


def layer_table(graph: Graph) -> list[str]:
    """Layer, output and parameters, in two columns when the network is long; of a very long one, its groups."""
    rows = [("layer", "output", "parameters")]
    listed = _table_rows(graph)
    for name, shape, count in listed if len(listed) <= 2 * MAX_ROWS else listed[: 2 * MAX_ROWS - 1]:
        rows.append((name, show_shape(shape), f"{count:,}" if count else ""))
    if len(listed) > 2 * MAX_ROWS:
        rows.append((f"({len(listed) - 2 * MAX_ROWS + 1:,} more)", "", ""))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [f"{name:<{widths[0]}}  {shape:<{widths[1]}}  {count:>{widths[2]}}" for name, shape, count in rows]
    if len(lines) > 8 and 2 * len(lines[0]) + 10 <= 110:
        half = len(lines) // 2 + 1
        right = [lines[0], *lines[half:]]
        right += [""] * (half - len(right))
        lines = [f"{a}      {b}" for a, b in zip(lines[:half], right, strict=True)]
    return [f"    {line}".rstrip() for line in lines]


def _table_rows(graph: Graph) -> list[tuple[str, Shape, int]]:
    """Name, shape and parameters of every layer; of as much of their paths as makes at most MAX_ROWS rows."""
    depth = max((node.name.count(".") + 1 for node in graph.nodes), default=1)
    while True:
        rows: list[tuple[str, Shape, int]] = []
        for node in graph.nodes:
            name = ".".join(node.name.split(".")[:depth])
            count = node.num_params
            if rows and rows[-1][0] == name:
                count += rows.pop()[2]
            rows.append((name, node.shape, count))
        if len(rows) <= MAX_ROWS or depth == 1:
            return rows
        depth -= 1


# -------------------------------------------------------------------------------------------- sections


NO_SECTION = "the network itself"
"""The title of what stands in no block call and in no labelled group."""


def _sections(graph: Graph) -> list[Scope | None]:
    """For each node, the innermost block call around it, else the outermost labelled group; None if there is none."""
    sections: list[Scope | None] = [None] * len(graph.nodes)
    pending: list[tuple[Scope | int, Scope | None]] = [(graph.root, None)]
    while pending:
        item, section = pending.pop()
        if not isinstance(item, Scope):
            sections[item] = section
            continue
        if item is not graph.root and (item.call is not None or section is None):
            section = item
        pending += [(child, section) for child in item.children]
    return sections


def section_titles(graph: Graph) -> dict[int, str]:
    """Where a section begins: the number of its first node -> `layer1.0: neck(64, s=2)`."""
    titles = titles_of_nodes(graph)
    return {i: title for i, title in enumerate(titles) if title != (titles[i - 1] if i else NO_SECTION)}


def titles_of_nodes(graph: Graph) -> list[str]:
    """For each node the title of the section that it is in."""
    return [_section_title(section) for section in _sections(graph)]


def section_ends(graph: Graph) -> dict[int, str]:
    """Where a section ends: the number of its last node -> its name."""
    sections = _sections(graph)
    return {
        i: _section_title(section).partition(":")[0]
        for i, section in enumerate(sections)
        if section is not (sections[i + 1] if i + 1 < len(sections) else None)
    }


def _section_title(section: Scope | None) -> str:
    if section is None:
        return NO_SECTION
    if section.call is None:
        return section.name
    given = [a for a in section.call.arguments if a.default is None or a.value != a.default]
    return f"{section.name}: {section.call.block}({', '.join(f'{a.name}={plain_value(a.value)}' for a in given)})"
