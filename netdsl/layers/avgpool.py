"""`avgpool`: average pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Saved, Sides, Spatial
from netdsl.kernels.pooling import window_count, window_slices
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, require_image
from netdsl.layers.rules.places import under_the_window
from netdsl.layers.rules.windows import needs_own_padding, pooling_sides, pooling_text, torch_sides


def avgpool_resolve(attrs: Attrs, x: Tensor) -> Attrs:
    """Padding for each side, which `ceil` and `same` may make uneven."""
    require_image(x, "`avgpool`", "leave it out: a vector has no height and width")
    return {**attrs, "padding": pooling_sides(attrs, x)}


def avgpool_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(C, H, W) -> (C, Ho, Wo), Ho = floor((H + top + bottom - Kh) / stride) + 1, or ceil."""
    axes = zip(x.space, *(attrs[name] for name in ("kernel_size", "stride", "padding")), strict=True)
    return x.with_space(tuple(window_count(*axis) for axis in axes))


def divisors(size: int, kernel_size: int, stride: int, padding: tuple[int, int], nopad: bool, ceil: bool) -> Array:
    """How many elements each window along one axis averages: those of the padded input, or without the padding.

    What `ceil` adds behind (padding after minus padding before) never counts.
    """
    before, after = padding
    starts = stride * np.arange(window_count(size, kernel_size, stride, padding)) - before
    first, last = (0, size) if nopad else (-before, size + (before if ceil else after))
    return np.minimum(starts + kernel_size, last) - np.maximum(starts, first)


def avgpool_forward(
    x: Array,
    kernel_size: Spatial,
    stride: Spatial,
    padding: Sides = ((0, 0), (0, 0)),
    nopad: bool = False,
    ceil: bool = False,
) -> tuple[Array, Saved]:
    """x (N, C, H, W) -> y (N, C, Ho, Wo), the mean of every window; padding ((top, bottom), (left, right)) is zero."""
    rows: Any
    cols: Any
    axes = zip(x.shape[2:], kernel_size, stride, padding, strict=True)
    rows, cols = (divisors(*axis, nopad, ceil) for axis in axes)
    divisor = (rows[:, None] * cols).astype(x.dtype)  # (Ho, Wo)
    padded = np.pad(x, ((0, 0), (0, 0), *padding))
    total: Any = 0
    for rows, cols in window_slices(kernel_size, stride, (1, 1), *divisor.shape):
        total = total + padded[:, :, rows, cols]
    return total / divisor, (x.shape, divisor, kernel_size, stride, padding)


def avgpool_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, C, Ho, Wo) -> dx (N, C, H, W): each element of a window gets its share of dy."""
    (n, c, h, w), divisor, kernel_size, stride, padding = saved
    (top, bottom), (left, right) = padding
    dx = np.zeros((n, c, h + top + bottom, w + left + right), dy.dtype)
    share = dy / divisor
    for rows, cols in window_slices(kernel_size, stride, (1, 1), *divisor.shape):
        dx[:, :, rows, cols] += share
    return dx[:, :, top : top + h, left : left + w], {}


UNCOUNTED = '''class UncountedAvgPool2d(nn.AvgPool2d):
    """Average pooling with padding (left, right, top, bottom), which is not counted."""

    def __init__(self, *args, sides, **kwargs):
        super().__init__(*args, **kwargs)
        self.sides = sides

    def forward(self, x):
        counted = F.pad(torch.ones_like(x[:1, :1]), self.sides)
        return super().forward(F.pad(x, self.sides)) / super().forward(counted)'''


def avgpool_torch(attrs: Attrs, x: Tensor) -> str:
    if not attrs["nopad"]:
        return pooling_text("nn.AvgPool2d", attrs, "nn.ZeroPad2d({})")
    if not needs_own_padding(attrs):
        return pooling_text("nn.AvgPool2d", attrs, "", count_include_pad=False)
    sides, without = torch_sides(attrs["padding"]), {**attrs, "padding": ((0, 0),) * x.axes}
    return pooling_text("UncountedAvgPool2d", without, "", sides=sides)


def avgpool_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.average_pool import AveragePool

    given = (attrs[name] for name in ("kernel_size", "stride", "padding", "nopad", "ceil"))
    return (StageCall(AveragePool, (x.sizes, *given, divisors)),)


LAYER = LayerDef(
    name="avgpool",
    summary="average pooling",
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
        Attr("ceil", "word"),
        Attr("same", "word"),
        Attr("nopad", "word"),
    ),
    resolve=avgpool_resolve,
    shape=avgpool_shape,
    forward=avgpool_forward,
    backward=avgpool_backward,
    reads=under_the_window,
    torch=avgpool_torch,
    torch_helpers=(UNCOUNTED,),
    known_as=("averagepool", "averagepooling", "avg_pool"),
    stages=avgpool_stages,
)
