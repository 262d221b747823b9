"""`pool`: maximum pooling."""

from __future__ import annotations

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Saved, Sides, Spatial
from netdsl.kernels.pooling import window_count, window_slices
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, require_image
from netdsl.layers.rules.places import under_the_window
from netdsl.layers.rules.windows import pooling_sides, pooling_text


def pool_resolve(attrs: Attrs, x: Tensor) -> Attrs:
    """Padding for each side, which `ceil` and `same` may make uneven."""
    require_image(x, "`pool`", "leave it out: a vector has no height and width")
    return {**attrs, "padding": pooling_sides(attrs, x)}


def pool_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(C, H, W) -> (C, Ho, Wo), Ho = floor((H + top + bottom - dilation * (Kh - 1) - 1) / stride) + 1, or ceil."""
    axes = zip(x.space, *(attrs[name] for name in ("kernel_size", "stride", "padding", "dilation")), strict=True)
    return x.with_space(tuple(window_count(*axis) for axis in axes))


def pool_forward(
    x: Array, kernel_size: Spatial, stride: Spatial, padding: Sides = ((0, 0), (0, 0)), dilation: Spatial = (1, 1)
) -> tuple[Array, Saved]:
    """x (N, C, H, W) -> y (N, C, Ho, Wo), the maximum of every window; the first one wins a tie, NaN wins over all.

    padding ((top, bottom), (left, right)) is never the maximum. winner holds the place in the window, counted by rows.
    """
    n, c, h, w = x.shape
    ho, wo = (window_count(*axis) for axis in zip((h, w), kernel_size, stride, padding, dilation, strict=True))
    padded = np.pad(x, ((0, 0), (0, 0), *padding), constant_values=-np.inf)
    places = window_slices(kernel_size, stride, dilation, ho, wo)
    y = padded[:, :, places[0][0], places[0][1]].copy()
    winner = np.zeros(y.shape, np.int32)
    for place, (rows, cols) in enumerate(places[1:], 1):
        candidate = padded[:, :, rows, cols]
        better = (candidate > y) | (candidate != candidate)
        np.copyto(y, candidate, where=better)
        np.copyto(winner, place, where=better)
    return y, (x.shape, winner, kernel_size, stride, padding, dilation)


def pool_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, C, Ho, Wo) -> dx (N, C, H, W): each dy goes to the element that won its window."""
    (n, c, h, w), winner, kernel_size, stride, padding, dilation = saved
    (top, bottom), (left, right) = padding
    dx = np.zeros((n, c, h + top + bottom, w + left + right), dy.dtype)
    for place, (rows, cols) in enumerate(window_slices(kernel_size, stride, dilation, *dy.shape[2:])):
        dx[:, :, rows, cols] += dy * (winner == place)
    return dx[:, :, top : top + h, left : left + w], {}


def pool_torch(attrs: Attrs, x: Tensor) -> str:
    return pooling_text("nn.MaxPool2d", attrs, "nn.ConstantPad2d({}, -torch.inf)")


def pool_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.max_pool import MaxPool

    return (StageCall(MaxPool, (x.sizes, *(attrs[name] for name in ("kernel_size", "stride", "padding", "dilation")))),)


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
