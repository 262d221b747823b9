"""Receptive fields: which part of the input map a unit of a layer can depend on, along each of its axes of space.

Worked out backwards, from the unit to the input, layer by layer, so branches and maps that grow need no special case.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netdsl.graph.ir import Graph, Node
from netdsl.graph.types import Sizes, Tensor
from netdsl.layers import layer_of

Places = np.ndarray
"""Sorted indices along one axis; those below 0 and from its size on lie in padding."""
Region = tuple[Places, ...]
"""Places along each axis of a map, rows and columns of an image; () is all of a value that is no map."""
TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class ReceptiveField:
    """What the unit of a layer sees, each along the axes of space. spans: the first and the last place of the input.

    size: how many places, as if the input had no edge, the usual theoretical receptive field (Araujo et al. 2019,
    section 2); that of a layer which sees everything is the size of the input. of: the size of the input.
    """

    name: str
    op: str
    unit: Sizes
    spans: tuple[tuple[int, int], ...]
    size: Sizes
    of: Sizes

    def show(self) -> str:
        """`31 of 128 steps` of a signal; of an image or a volume its size along each axis."""
        if len(self.of) == 1:
            return f"{self.size[0]:,} of {self.of[0]:,} steps"
        return TIMES.join(map(str, self.size))


def windowed_layers(graph: Graph) -> tuple[int, ...]:
    """The indices of the nodes that look through a window, convolutions and poolings, and give a map."""
    return tuple(i for i, n in enumerate(graph.nodes) if "kernel_size" in n.attrs and n.type.is_map)


def receptive_field(graph: Graph, index: int, unit: Sizes | None = None, given: int = 0) -> ReceptiveField | None:
    """The field of a unit (by default the one at the centre) of node `index`; None if it reads nothing but padding.

    given: which of the network's inputs is looked at. It is a map, as is the node's output.
    """
    node, takes = graph.nodes[index], graph.inputs[given].type
    assert takes.is_map and node.type.is_map, f"{node.name}: {takes} -> {node.type}"
    unit = unit or tuple(size // 2 for size in node.type.space)
    seen = _input_region(graph, index, unit, given, has_edges=True)
    if seen is None:
        return None
    endless = _input_region(graph, index, unit, given, has_edges=False)
    assert endless is not None, node.name
    spans = tuple((int(places[0]), int(places[-1])) for places in seen)
    size = tuple(int(places[-1] - places[0]) + 1 for places in endless)
    return ReceptiveField(node.name, node.op, unit, spans, size, takes.space)


def _input_region(graph: Graph, index: int, unit: Sizes, number: int, has_edges: bool) -> Region | None:
    """What the unit reads of input `number`, None if nothing; has_edges: leave out what is padding, at every layer."""
    regions: dict[int, Region] = {graph.value(index): tuple(np.array([place]) for place in unit)}
    for i in range(index, -1, -1):
        region = regions.pop(graph.value(i), None)
        if region is None:
            continue
        for value in graph.nodes[i].inputs:
            given = graph.type_of(value)
            read = _region_read(graph.nodes[i], region, given)
            if has_edges:
                read = tuple(p[(p >= 0) & (p < size)] for p, size in zip(read, given.space, strict=False))
            if all(len(places) for places in read):
                regions[value] = _union(regions[value], read) if value in regions else read
    return regions.get(number)


def _union(a: Region, b: Region) -> Region:
    return tuple(np.union1d(*places) for places in zip(a, b, strict=True))


def _region_read(node: Node, region: Region, given: Tensor) -> Region:
    """Which part of an input of that type the node reads to make `region` of its output."""
    if not given.is_map:
        return ()
    if node.type.axes != given.axes:  # what moves numbers from one kind of map to another reads all of them
        return tuple(np.arange(size) for size in given.space)
    sizes = zip(region, range(given.axes), given.space, node.type.space, strict=True)
    return tuple(np.unique(layer_of(node.op).reads(node.attrs, *along)) for along in sizes)
