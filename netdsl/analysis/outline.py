"""What a picture of a network shows: its layers in boxes, its scopes in frames.

Neighbours that belong together share a box: a convolution, its norm, its activation. netdsl.analysis.folding makes
less of it where it is too much.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from netdsl.graph.ir import Graph, Scope
from netdsl.ground.symbols import plain_value


@dataclass(frozen=True)
class Box:
    """The layers start <= index < stop, a line each; folded, where it has a `detail`: names and what they stand for.

    names: one scope or layer, or the first and the last of several; count: how many of them it stands for."""

    start: int
    stop: int
    names: tuple[str, ...] = ()
    detail: str = ""
    count: int = 1


@dataclass(frozen=True)
class Frame:
    """A scope; or `count` equal ones in a row, of which the first is drawn.

    same: a value of the first, and the value of the last that it stands for."""

    start: int
    stop: int
    names: tuple[str, ...]
    detail: str
    items: tuple[Item, ...]
    block: str = ""
    count: int = 1
    same: tuple[int, int] | None = None


Item = Box | Frame


def full_outline(graph: Graph) -> Frame:
    """Everything that the graph holds."""
    uses = [0] * graph.num_values
    for node in graph.nodes:
        for value in node.inputs:
            uses[value] += 1
    for value in graph.results:
        uses[value] += 1
    return Frame(0, len(graph.nodes), ("",), "", _items(graph, graph.root, uses))


def _items(graph: Graph, scope: Scope, uses: list[int]) -> tuple[Item, ...]:
    """The scope's children: layers in boxes, scopes in frames; a scope of one box is that box."""
    items: list[Item] = []
    can_join = False
    for child in scope.children:
        if isinstance(child, Scope):
            inner = _items(graph, child, uses)
            if len(inner) == 1 and isinstance(inner[0], Box):
                items.append(inner[0])
            elif inner:
                block = child.call.block if child.call else ""
                items.append(Frame(inner[0].start, inner[-1].stop, (child.name,), _call_text(child), inner, block))
        elif can_join and _joins(graph, child, uses):
            items[-1] = replace(items[-1], stop=child + 1)
        else:
            items.append(Box(child, child + 1))
        can_join = not isinstance(child, Scope)
    return tuple(items)


def _joins(graph: Graph, index: int, uses: list[int]) -> bool:
    """True if the layer only reworks what the one before gives, and nothing else reads that: norm, activation."""
    node, before = graph.nodes[index], graph.nodes[index - 1]
    is_chain = node.inputs == (graph.value(index - 1),) and uses[graph.value(index - 1)] == 1
    return is_chain and node.macs == 0 and node.type == before.type


def _call_text(scope: Scope) -> str:
    """`neck(64, s=2)`; nothing for a group."""
    if scope.call is None:
        return ""
    given = [a for a in scope.call.arguments if a.default is None or a.value != a.default]
    words = [f"{a.name}={plain_value(a.value)}" if a.default is not None else str(plain_value(a.value)) for a in given]
    return f"{scope.call.block}({', '.join(words)})"


def boxes(item: Item) -> Iterator[Box]:
    """Every box, in order."""
    if isinstance(item, Box):
        yield item
        return
    for inner in item.items:
        yield from boxes(inner)


def links(graph: Graph, root: Frame) -> list[tuple[int, int]]:
    """Which box reads which, as numbers of `boxes`, in the order of reading; -1, -2, ... are the inputs."""
    owner = _owners(graph, root)
    reads = [
        (owner[value], number)
        for number, box in enumerate(boxes(root))
        for node in graph.nodes[box.start : box.stop]
        for value in node.inputs
        if value < graph.value(box.start)
    ]
    return list(dict.fromkeys(reads))


def output_boxes(graph: Graph, root: Frame) -> list[int]:
    """The numbers of the boxes that make the network's outputs; -1 where that is the input."""
    owner = _owners(graph, root)
    return [owner[output.value] for output in graph.outputs]


def _owners(graph: Graph, root: Frame) -> dict[int, int]:
    """Value -> the number of the box that makes it; inputs count down from -1."""
    owner = {value: -1 - value for value in range(len(graph.inputs))}
    for number, box in enumerate(boxes(root)):
        owner.update(dict.fromkeys(map(graph.value, range(box.start, box.stop)), number))
    for first, last in _same(root):
        owner[last] = owner[first]
    return owner


def _same(item: Item) -> list[tuple[int, int]]:
    """The pairs `same` of all frames, inner ones first."""
    if isinstance(item, Box):
        return []
    inner = [pair for child in item.items for pair in _same(child)]
    return [*inner, item.same] if item.same else inner
