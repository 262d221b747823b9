"""`avgpool`: average pooling."""

import numpy as np

from netdsl.kernels.depthwise import AveragePool
from netdsl.kernels.pooling import window_count, window_slices
from netdsl.layers.contract import REQUIRED, Attr, LayerDef, StageCall, call_text, require_rank
from netdsl.symbols import pair_text
from netdsl.window_rules import pooling_options, pooling_sides


def avgpool_resolve(attrs, x):
    """Padding for each side, which `ceil` makes uneven."""
    require_rank(x, 3, "`avgpool`")
    return {**attrs, "padding": pooling_sides(attrs, x)}


def avgpool_shape(attrs, x):
    """(C, H, W) -> (C, Ho, Wo), Ho = floor((H + 2*padding - Kh) / stride) + 1, or ceil."""
    axes = zip(x[1:], *(attrs[name] for name in ("kernel_size", "stride", "padding")), strict=True)
    return (x[0], *(window_count(*axis) for axis in axes))


def divisors(size, kernel_size, stride, padding, nopad):
    """How many elements each window along one axis averages: those of the padded input, or without the padding.

    What `ceil` adds behind (padding after minus padding before) never counts.
    """
    before, after = padding
    starts = stride * np.arange(window_count(size, kernel_size, stride, padding)) - before
    first, last = (0, size) if nopad else (-before, size + before)
    return np.minimum(starts + kernel_size, last) - np.maximum(starts, first)


def avgpool_forward(x, kernel_size, stride, padding=((0, 0), (0, 0)), nopad=False):
    """x (N, C, H, W) -> y (N, C, Ho, Wo), the mean of every window; padding ((top, bottom), (left, right)) is zero."""
    rows, cols = (divisors(*axis, nopad) for axis in zip(x.shape[2:], kernel_size, stride, padding, strict=True))
    divisor = (rows[:, None] * cols).astype(x.dtype)  # (Ho, Wo)
    padded = np.pad(x, ((0, 0), (0, 0), *padding))
    total = 0
    for rows, cols in window_slices(kernel_size, stride, (1, 1), *divisor.shape):
        total = total + padded[:, :, rows, cols]
    return total / divisor, (x.shape, divisor, kernel_size, stride, padding)


def avgpool_backward(dy, saved):
    """dy (N, C, Ho, Wo) -> dx (N, C, H, W): each element of a window gets its share of dy."""
    (n, c, h, w), divisor, kernel_size, stride, padding = saved
    (top, bottom), (left, right) = padding
    dx = np.zeros((n, c, h + top + bottom, w + left + right), dy.dtype)
    share = dy / divisor
    for rows, cols in window_slices(kernel_size, stride, (1, 1), *divisor.shape):
        dx[:, :, rows, cols] += share
    return dx[:, :, top : top + h, left : left + w], {}


def avgpool_torch(attrs, x):
    options = pooling_options(attrs)
    if attrs["nopad"]:
        options["count_include_pad"] = False
    return call_text("nn.AvgPool2d", pair_text(attrs["kernel_size"]), **options)


def avgpool_stages(attrs, x):
    given = (attrs[name] for name in ("kernel_size", "stride", "padding", "nopad"))
    return (StageCall(AveragePool, (x, *given, divisors)),)


LAYER = LayerDef(
    name="avgpool",
    summary="average pooling",
    attrs=(
        Attr(
            "kernel_size",
            "pair",
            REQUIRED,
            flag="k",
            spellings=("kernel",),
            positional=True,
            minimum=1,
            label="the window",
        ),
        Attr("stride", "pair", "kernel_size", flag="s", minimum=1, label="the stride"),
        Attr("padding", "pair", (0, 0), flag="p", minimum=0, label="the padding"),
        Attr("ceil", "word"),
        Attr("nopad", "word"),
    ),
    resolve=avgpool_resolve,
    shape=avgpool_shape,
    forward=avgpool_forward,
    backward=avgpool_backward,
    torch=avgpool_torch,
    stages=avgpool_stages,
)
