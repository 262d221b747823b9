"""`pool`: maximum pooling."""

from __future__ import annotations

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.ground.symbols import is_all
from netdsl.kernels.arrays import Array, Grads, OneOrSides, OneOrSpatial, Saved, Spatial
from netdsl.kernels.windows import sides_of, window_count, window_counts, window_slices, within
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, for_axes, require_map
from netdsl.layers.rules.places import under_the_window
from netdsl.layers.rules.windows import pooling_sides, pooling_text


def pool_resolve(attrs: Attrs, x: Tensor) -> Attrs:
    """Padding for each side, which `ceil` and `same` may make uneven."""
    require_map(x, "`pool`", "leave it out: a vector has no axes of space")
    return {**attrs, "padding": pooling_sides(attrs, x)}


def pool_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(C, H, W) -> (C, Ho, Wo), Ho = floor((H + top + bottom - dilation * (Kh - 1) - 1) / stride) + 1, or ceil."""
    room = [size + sum(sides) for size, sides in zip(x.space, attrs["padding"], strict=True)]
    axes = zip(room, *(attrs[name] for name in ("kernel_size", "stride", "dilation")), strict=True)
    return x.with_space(tuple(window_count(*axis) for axis in axes))


def pool_forward(
    x: Array, kernel_size: Spatial, stride: OneOrSpatial, padding: OneOrSides = 0, dilation: OneOrSpatial = 1
) -> tuple[Array, Saved]:
    """x (N, C, H, W) -> y (N, C, Ho, Wo), the maximum of every window; the first one wins a tie, NaN wins over all.

    padding ((top, bottom), (left, right)) is never the maximum. winner holds the place in the window, counted by rows.
    Other axes of space alike.
    """
    sides = sides_of(padding, x.ndim - 2)
    padded = np.pad(x, ((0, 0), (0, 0), *sides), constant_values=-np.inf)
    counts = window_counts(padded.shape[2:], kernel_size, stride, dilation)
    places = window_slices(kernel_size, stride, dilation, counts)
    y = padded[places[0]].copy()
    winner = np.zeros(y.shape, np.int32)
    for k, place in enumerate(places[1:], 1):
        candidate = padded[place]
        better = (candidate > y) | (candidate != candidate)
        np.copyto(y, candidate, where=better)
        np.copyto(winner, k, where=better)
    return y, (x.shape, winner, sides, places)


def pool_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, C, Ho, Wo) -> dx (N, C, H, W): each dy goes to the element that won its window."""
    (n, c, *space), winner, sides, places = saved
    padded = np.zeros((n, c, *(space + sides.sum(axis=1))), dy.dtype)
    for k, place in enumerate(places):
        padded[place] += dy * (winner == k)
    return within(padded, sides, space), {}


def pool_torch(attrs: Attrs, x: Tensor) -> str:
    return pooling_text(for_axes("nn.MaxPool2d", x), attrs, for_axes("nn.ConstantPad2d", x) + "({}, -torch.inf)")


def pool_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.max_pool import MaxPool
    from netdsl.stages.pair_pool import PairPool

    k, s, p, d = (attrs[name] for name in ("kernel_size", "stride", "padding", "dilation"))
    if k == s and set(k) in ({2}, {1, 2}) and is_all(d, 1) and is_all(p, 0):
        return (StageCall(PairPool, (x.sizes, k)),)
    return (StageCall(MaxPool, (x.sizes, k, s, p, d)),)


LAYER = LayerDef(
    name="pool",
    summary="maximum pooling",
    attrs=(
        Attr(
            "kernel_size",
            "spatial",
            REQUIRED,
            flag="k",
            spellings=("kernel",),
            positional=True,
            minimum=1,
            label="the window",
        ),
        Attr("stride", "spatial", "kernel_size", flag="s", minimum=1, label="the stride"),
        Attr(
            "padding",
            "sides",
            0,
            flag="p",
            minimum=0,
            label="the padding",
            set_by=("same",),
            grown_by=("ceil",),
        ),
        Attr("dilation", "spatial", 1, flag="d", minimum=1, label="the dilation"),
        Attr("ceil", "word"),
        Attr("same", "word"),
    ),
    resolve=pool_resolve,
    shape=pool_shape,
    forward=pool_forward,
    backward=pool_backward,
    reads=under_the_window,
    torch=pool_torch,
    known_as=("maxpool", "max_pool", "maxpooling"),
    stages=pool_stages,
)
