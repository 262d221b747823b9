"""Receptive fields: which rows and columns of the input map a unit of a layer can depend on.

Worked out backwards, from the unit to the input, layer by layer, so branches and maps that grow need no special case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from netdsl.graph.ir import Graph, Node
from netdsl.graph.types import Tensor

Places = np.ndarray
"""Sorted indices along one axis; those below 0 and from its size on lie in padding."""
Region = tuple[Places, ...]
"""Rows and columns of a map; () is all of a value that is no map."""

POINTWISE = frozenset(
    ("add", "bn", "cat", "dropout", "dropout2d", "droppath", "elu", "gelu", "hardsigmoid", "hardswish", "id",
     "leaky", "ln", "logsoftmax", "lrn", "mish", "mul", "prelu", "relu", "relu6", "rms", "scale", "selu", "shuffle",
     "sigmoid", "silu", "slice", "softmax", "softplus", "tanh")
)  # fmt: skip
"""Ops that make each place of a map from the same place of their inputs (batch norm: out of training)."""


@dataclass(frozen=True)
class ReceptiveField:
    """What the unit (i, j) of a layer sees. rows and columns: the first and the last of the input map.

    size: height and width in pixels as if the input had no edge, the usual theoretical receptive field (Araujo et al.
    2019, section 2); that of a layer which sees everything is the size of the input.
    """

    name: str
    op: str
    unit: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]
    size: tuple[int, int]


def windowed_layers(graph: Graph) -> tuple[int, ...]:
    """The indices of the nodes that look through a window, convolutions and poolings, and give a map."""
    return tuple(i for i, n in enumerate(graph.nodes) if "kernel_size" in n.attrs and n.type.is_image)


def receptive_field(graph: Graph, index: int, unit: tuple[int, int] | None = None) -> ReceptiveField | None:
    """That of a unit (by default the one at the centre) of node `index`; None if it reads nothing but padding.

    The network's input and the node's output are maps.
    """
    node = graph.nodes[index]
    assert graph.input_type.is_image and node.type.is_image, f"{node.name}: {graph.input_type} -> {node.type}"
    height, width = node.type.space
    unit = unit or (height // 2, width // 2)
    seen = _input_region(graph, index, unit, has_edges=True)
    if seen is None:
        return None
    endless = _input_region(graph, index, unit, has_edges=False)
    size = tuple(int(places[-1] - places[0]) + 1 for places in endless)
    return ReceptiveField(node.name, node.op, unit, *((int(p[0]), int(p[-1])) for p in seen), size)


def _input_region(graph: Graph, index: int, unit: tuple[int, int], has_edges: bool) -> Region | None:
    """has_edges: leave out what is padding, at every layer."""
    regions: dict[int, Region] = {index + 1: tuple(np.array([place]) for place in unit)}
    for i in range(index, -1, -1):
        region = regions.pop(i + 1, None)
        for value in graph.nodes[i].inputs if region is not None else ():
            given = graph.type_of(value)
            read = _region_read(graph.nodes[i], region, given)
            if has_edges:
                read = tuple(p[(p >= 0) & (p < size)] for p, size in zip(read, given.space, strict=False))
            if all(len(places) for places in read):
                regions[value] = _union(regions[value], read) if value in regions else read
    return regions.get(0)


def _union(a: Region, b: Region) -> Region:
    return tuple(np.union1d(*places) for places in zip(a, b, strict=True))


def _region_read(node: Node, region: Region, given: Tensor) -> Region:
    """Which part of an input of that type the node reads to make `region` of its output."""
    if not given.is_map:
        return ()
    if node.type.is_map and node.op in RULES:
        sizes = zip(region, range(given.axes), given.space, node.type.space, strict=True)
        return tuple(np.unique(RULES[node.op](node.attrs, *axis)) for axis in sizes)
    if node.type.is_map and node.op in POINTWISE and given.space == node.type.space:
        return region
    return tuple(np.arange(size) for size in given.space)


# Each rule: attrs, places of the output along an axis, the axis (0: H, 1: W), sizes of input and output along it
# -> the places of the input that those read, in any order.


def _window(attrs: Mapping, places: Places, axis: int, size: int, out: int) -> Places:
    """Place i reads i * stride - padding + u * dilation, 0 <= u < kernel_size."""
    taps = attrs.get("dilation", (1, 1))[axis] * np.arange(attrs["kernel_size"][axis])
    return places[:, None] * attrs["stride"][axis] - attrs["padding"][axis][0] + taps


def _transposed(attrs: Mapping, places: Places, axis: int, size: int, out: int) -> Places:
    """Place i reads j wherever i = j * stride - padding + u * dilation, 0 <= u < kernel_size."""
    taps = attrs["dilation"][axis] * np.arange(attrs["kernel_size"][axis])
    scaled = places[:, None] + attrs["padding"][axis] - taps
    return scaled[scaled % attrs["stride"][axis] == 0] // attrs["stride"][axis]


def _upsample(attrs: Mapping, places: Places, axis: int, size: int, out: int) -> Places:
    """Place i reads i // factor, or with `bilinear` the two places nearest to (i + 1/2) / factor - 1/2, with
    `align_corners` to i * (size - 1) / (out - 1)."""
    factor = attrs["factor"][axis]
    if not attrs["bilinear"]:
        return places // factor
    above, below = 2 * places + 1 - factor, 2 * factor
    if attrs["align_corners"]:
        above, below = places * (size - 1), max(out - 1, 1)
    return np.concatenate([above // below, -(-above // below)])


def _pixelshuffle(attrs: Mapping, places: Places, axis: int, size: int, out: int) -> Places:
    return places // attrs["factor"]


def _pad(attrs: Mapping, places: Places, axis: int, size: int, out: int) -> Places:
    return places - attrs["padding"][axis][0]


def _crop(attrs: Mapping, places: Places, axis: int, size: int, out: int) -> Places:
    return places + attrs["sides"][axis][0]


def _adaptive(attrs: Mapping, places: Places, axis: int, size: int, out: int) -> Places:
    """Place i averages floor(i * size / out) to ceil((i + 1) * size / out) - 1."""
    return np.concatenate([np.arange(i * size // out, -(-(i + 1) * size // out)) for i in places])


RULES: Mapping[str, Callable[..., Places]] = {
    "conv": _window,
    "pool": _window,
    "avgpool": _window,
    "convt": _transposed,
    "up": _transposed,
    "upsample": _upsample,
    "pixelshuffle": _pixelshuffle,
    "pad": _pad,
    "crop": _crop,
    "adaptive": _adaptive,
}
"""Ops that read a part of the map; every op that is neither here nor in POINTWISE sees all of it."""
