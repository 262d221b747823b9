"""Signals among images: the stages of a layer that a signal goes through are those of an image one number wide.

In a fast network a signal (C, L) lies as the image (C, L, 1), in memory (L, 1, n, C). So what is there for images
serves it: a window of 5 is one of 5x1, and along the width stands what changes nothing. L is the height and not the
width, since stages work along H: passes over a map go by bands of its rows, and Winograd's algorithm and the products
of few channels transform or gather rows. In an image one number high none of them would have anything to do.

A volume is no image: rules for stages see it as it is.
"""

from __future__ import annotations

from netdsl.graph.ir import Node
from netdsl.graph.types import Sizes, Tensor, map_of
from netdsl.ground.diagnostics import SpecProblem
from netdsl.layers import layer_of
from netdsl.layers.contract import Attr, Attrs, LayerDef, StageCall


def stage_calls(node: Node, inputs: tuple[Tensor, ...]) -> tuple[StageCall, ...]:
    """The ways that the layer of a node offers to compute it fast; none is its textbook kernels."""
    layer = layer_of(node.op)
    if layer.stages is None:
        return ()
    if not any(is_signal(x) for x in inputs):
        return layer.stages(node.attrs, *inputs)
    attrs, images = attrs_of_images(layer, node.attrs), tuple(as_image(x) for x in inputs)
    return layer.stages(attrs, *images) if _means_the_same(layer, attrs, images, node.type) else ()


def _means_the_same(layer: LayerDef, attrs: Attrs, images: tuple[Tensor, ...], output: Tensor) -> bool:
    """Whether the layer makes of the image what it makes of the signal. A setting that counts for every axis and is one
    number (`pixelshuffle 2`) says more of an image."""
    try:
        return bool(layer.shape(attrs, *images) == as_image(output))
    except SpecProblem:
        return False


def is_signal(x: Tensor) -> bool:
    """Whether it is a map with one axis of space."""
    return x.axes == 1


def as_image(x: Tensor) -> Tensor:
    """A signal (C, L) -> the image (C, L, 1); anything else as it is."""
    return map_of(*x.sizes, 1) if is_signal(x) else x


def sizes_inside(x: Tensor) -> Sizes:
    """The sizes that stages are told of a value: those of an image of a signal, else its own."""
    return as_image(x).sizes


def attrs_of_images(layer: LayerDef, attrs: Attrs) -> Attrs:
    """The attrs of a layer for signals -> for images one number wide."""
    known = {attr.name: attr for attr in layer.attrs}
    return {name: _wider(known.get(name), value) for name, value in attrs.items()}


def _wider(attr: Attr | None, value: object) -> object:
    """The value of an attr with a number for the width, by which nothing changes: a window, stride, factor or size of
    1, nothing on the sides. What is no attr, but a setting that the layer leaves as it is, is alike for all axes."""
    if not isinstance(value, tuple) or (attr is not None and attr.kind not in ("spatial", "sides")):
        return value
    if attr is None:
        return (*value, value[0])
    return (*value, (0, 0) if attr.kind == "sides" else int(attr.minimum or 0))
