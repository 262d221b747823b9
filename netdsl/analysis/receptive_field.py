"""Receptive fields: which rows and columns of the input map a unit of a layer can depend on.

Worked out backwards, from the unit to the input, layer by layer, so branches and maps that grow need no special case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from netdsl.ir import Graph, Node, Shape

Interval = tuple[int, int]
"""The first and the last index of those along one axis."""
Region = tuple[Interval, ...]
"""Rows and columns of a map; () is all of a value that is no map."""

POINTWISE = frozenset(
    ("add", "bn", "cat", "dropout", "dropout2d", "droppath", "elu", "gelu", "hardsigmoid", "hardswish", "identity",
     "leaky", "ln", "logsoftmax", "lrn", "mish", "mul", "prelu", "relu", "relu6", "rms", "scale", "selu", "shuffle",
     "sigmoid", "silu", "slice", "softmax", "softplus", "tanh")
)  # fmt: skip
"""Ops that make each place of a map from the same place of their inputs (batch norm: out of training)."""


@dataclass(frozen=True)
class ReceptiveField:
    """What the unit (i, j) of a layer sees. rows and columns: of the input map, both ends among them.

    size: height and width in pixels as if the input had no edge, the usual theoretical receptive field (Araujo et al.
    2019, section 2); that of a layer which sees everything is the size of the input.
    """

    name: str
    op: str
    unit: tuple[int, int]
    rows: Interval
    columns: Interval
    size: tuple[int, int]


def windowed_layers(graph: Graph) -> tuple[int, ...]:
    """The indices of the nodes that look through a window, convolutions and poolings, and give a map."""
    return tuple(i for i, n in enumerate(graph.nodes) if "kernel_size" in n.attrs and len(n.shape) == 3)


def receptive_field(graph: Graph, index: int, unit: tuple[int, int] | None = None) -> ReceptiveField | None:
    """That of a unit (by default the one at the centre) of node `index`; None if it reads nothing but padding.

    The network's input and the node's output are maps.
    """
    node = graph.nodes[index]
    assert len(graph.input_shape) == len(node.shape) == 3, f"{node.name}: {graph.input_shape} -> {node.shape}"
    unit = unit or (node.shape[1] // 2, node.shape[2] // 2)
    seen = _input_region(graph, index, unit, has_edges=True)
    if seen is None:
        return None
    size = tuple(last - first + 1 for first, last in _input_region(graph, index, unit, has_edges=False))
    return ReceptiveField(node.name, node.op, unit, *seen, size)


def _input_region(graph: Graph, index: int, unit: tuple[int, int], has_edges: bool) -> Region | None:
    """has_edges: leave out what is padding, at every layer."""
    regions: dict[int, Region] = {index + 1: tuple((place, place) for place in unit)}
    for i in range(index, -1, -1):
        region = regions.pop(i + 1, None)
        for value in graph.nodes[i].inputs if region is not None else ():
            shape = graph.shape_of(value)
            read = _region_read(graph.nodes[i], region, shape)
            read = _inside(read, shape) if has_edges else read
            if all(first <= last for first, last in read):
                regions[value] = _hull(regions[value], read) if value in regions else read
    return regions.get(0)


def _region_read(node: Node, region: Region, shape: Shape) -> Region:
    """Which part of an input of that shape the node reads to make `region` of its output."""
    if len(shape) != 3:
        return ()
    is_map = len(region) == 2
    if is_map and node.op in RULES:
        sizes = zip(region, shape[1:], node.shape[1:], (0, 1), strict=True)
        return tuple(RULES[node.op](node.attrs, *ends, axis, size, out) for ends, size, out, axis in sizes)
    if is_map and node.op in POINTWISE and shape[1:] == node.shape[1:]:
        return region
    return tuple((0, size - 1) for size in shape[1:])


def _inside(region: Region, shape: Shape) -> Region:
    return tuple((max(first, 0), min(last, size - 1)) for (first, last), size in zip(region, shape[1:], strict=False))


def _hull(a: Region, b: Region) -> Region:
    return tuple((min(first, f), max(last, k)) for (first, last), (f, k) in zip(a, b, strict=True))


# Each rule: attrs, the first and last place of the output along an axis (0: H, 1: W), the axis, sizes of input and
# output along it -> the first and last place of the input that those places read.


def _window(attrs: Mapping, first: int, last: int, axis: int, size: int, out: int) -> Interval:
    """Place i reads i * stride - padding + u * dilation, 0 <= u < kernel_size."""
    stride, before = attrs["stride"][axis], attrs["padding"][axis][0]
    reach = attrs.get("dilation", (1, 1))[axis] * (attrs["kernel_size"][axis] - 1)
    return first * stride - before, last * stride - before + reach


def _transposed(attrs: Mapping, first: int, last: int, axis: int, size: int, out: int) -> Interval:
    """Place i reads j wherever i = j * stride - padding + u * dilation, 0 <= u < kernel_size."""
    stride, padding = attrs["stride"][axis], attrs["padding"][axis]
    reach = attrs["dilation"][axis] * (attrs["kernel_size"][axis] - 1)
    return -(-(first + padding - reach) // stride), (last + padding) // stride


def _upsample(attrs: Mapping, first: int, last: int, axis: int, size: int, out: int) -> Interval:
    """Place i reads i // factor, or with `bilinear` the two places nearest to (i + 1/2) / factor - 1/2."""
    factor = attrs["factor"][axis]
    if not attrs["bilinear"]:
        return first // factor, last // factor
    return (2 * first + 1 - factor) // (2 * factor), -(-(2 * last + 1 - factor) // (2 * factor))


def _pixelshuffle(attrs: Mapping, first: int, last: int, axis: int, size: int, out: int) -> Interval:
    return first // attrs["factor"], last // attrs["factor"]


def _pad(attrs: Mapping, first: int, last: int, axis: int, size: int, out: int) -> Interval:
    return first - attrs["padding"][axis], last - attrs["padding"][axis]


def _adaptive(attrs: Mapping, first: int, last: int, axis: int, size: int, out: int) -> Interval:
    """Place i averages floor(i * size / out) to ceil((i + 1) * size / out) - 1."""
    return first * size // out, -(-(last + 1) * size // out) - 1


RULES: Mapping[str, Callable[..., Interval]] = {
    "conv": _window,
    "pool": _window,
    "avgpool": _window,
    "convt": _transposed,
    "up": _transposed,
    "upsample": _upsample,
    "pixelshuffle": _pixelshuffle,
    "pad": _pad,
    "adaptive": _adaptive,
}
"""Ops that read a part of the map; every op that is neither here nor in POINTWISE sees all of it."""
