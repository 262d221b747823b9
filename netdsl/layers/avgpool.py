"""`avgpool`: average pooling."""

from __future__ import annotations

import math

import numpy as np

from netdsl.graph.types import MOST_AXES, Tensor
from netdsl.kernels.arrays import Array, Counts, Grads, OneOrSides, Saved, Spatial
from netdsl.kernels.windows import sides_of, window_count, window_slices, within
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, for_axes, require_map
from netdsl.layers.rules.places import under_the_window
from netdsl.layers.rules.windows import helpers_for_axes, needs_own_padding, pooling_sides, pooling_text, torch_sides


def avgpool_resolve(attrs: Attrs, x: Tensor) -> Attrs:
    """Padding for each side, which `ceil` and `same` may make uneven."""
    require_map(x, "`avgpool`", "leave it out: a vector has no axes of space")
    return {**attrs, "padding": pooling_sides(attrs, x)}


def avgpool_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(C, H, W) -> (C, Ho, Wo), Ho = floor((H + top + bottom - Kh) / stride) + 1, or ceil."""
    room = [size + sum(sides) for size, sides in zip(x.space, attrs["padding"], strict=True)]
    axes = zip(room, attrs["kernel_size"], attrs["stride"], strict=True)
    return x.with_space(tuple(window_count(*axis) for axis in axes))


def divisors(size: int, kernel_size: int, stride: int, padding: tuple[int, int], nopad: bool, ceil: bool) -> Counts:
    """How many elements each window along one axis averages: those of the padded input, or without the padding.

    What `ceil` adds behind (padding after minus padding before) never counts.
    """
    before, after = padding
    starts = stride * np.arange(window_count(before + size + after, kernel_size, stride)) - before
    first, last = (0, size) if nopad else (-before, size + (before if ceil else after))
    return np.minimum(starts + kernel_size, last) - np.maximum(starts, first)


def avgpool_forward(
    x: Array,
    kernel_size: Spatial,
    stride: Spatial,
    padding: OneOrSides = 0,
    nopad: bool = False,
    ceil: bool = False,
) -> tuple[Array, Saved]:
    """x (N, C, H, W) -> y (N, C, Ho, Wo), the mean of every window; padding ((top, bottom), (left, right)) is zero.

    Other axes of space alike.
    """
    sides = sides_of(padding, x.ndim - 2)
    axes = zip(x.shape[2:], kernel_size, stride, sides, strict=True)
    counted = np.ix_(*(divisors(*axis, nopad, ceil) for axis in axes))
    divisor = np.array(math.prod(counted), x.dtype)  # (Ho, Wo)
    places = window_slices(kernel_size, stride, 1, divisor.shape)
    padded = np.pad(x, ((0, 0), (0, 0), *sides))
    total = np.zeros((), x.dtype)
    for place in places:
        total = total + padded[place]
    return total / divisor, (x.shape, divisor, sides, places)


def avgpool_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, C, Ho, Wo) -> dx (N, C, H, W): each element of a window gets its share of dy."""
    (n, c, *space), divisor, sides, places = saved
    padded = np.zeros((n, c, *(space + sides.sum(axis=1))), dy.dtype)
    share = dy / divisor
    for place in places:
        padded[place] += share
    return within(padded, sides, space), {}


UNCOUNTED = '''class UncountedAvgPool2d(nn.AvgPool2d):
    """Average pooling with padding (left, right, top, bottom), which is not counted."""

    def __init__(self, *args, sides, **kwargs):
        super().__init__(*args, **kwargs)
        self.sides = sides

    def forward(self, x):
        counted = F.pad(torch.ones_like(x[:1, :1]), self.sides)
        return super().forward(F.pad(x, self.sides)) / super().forward(counted)'''


def avgpool_torch(attrs: Attrs, x: Tensor) -> str:
    module = for_axes("nn.AvgPool2d", x)
    if x.axes == MOST_AXES and any(size < k for size, k in zip(x.space, attrs["kernel_size"], strict=True)):
        return _torch_of_small_volumes(attrs)
    if not attrs["nopad"]:
        return pooling_text(module, attrs, for_axes("nn.ZeroPad2d", x) + "({})")
    if not needs_own_padding(attrs):
        return pooling_text(module, attrs, "", count_include_pad=False)
    sides, without = torch_sides(attrs["padding"]), {**attrs, "padding": ((0, 0),) * x.axes}
    return pooling_text(for_axes("UncountedAvgPool2d", x), without, "", sides=sides)


def _torch_of_small_volumes(attrs: Attrs) -> str:
    """nn.AvgPool3d takes no volume that its windows reach beyond, whatever its padding: what pads stands before it, and
    what is not counted in the class that counts."""
    sides = attrs["padding"]
    zeros = ((0, 0),) * len(sides)
    counted = zeros if attrs["nopad"] else tuple((before, before) for before, _ in sides) if attrs["ceil"] else sides
    rest = tuple((b - of_b, a - of_a) for (b, a), (of_b, of_a) in zip(sides, counted, strict=True))
    options = {} if rest == zeros else {"sides": torch_sides(rest)}
    name = "UncountedAvgPool3d" if options else "nn.AvgPool3d"
    pool = pooling_text(name, {**attrs, "padding": zeros, "ceil": False}, "", **options)
    return pool if counted == zeros else f"nn.Sequential(nn.ZeroPad3d({torch_sides(counted)}), {pool})"


def avgpool_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.average_pool import AveragePool
    from netdsl.stages.resample import Resample, averages

    along = [attrs[name] for name in ("kernel_size", "stride", "padding")]
    if x.is_image:
        return (StageCall(AveragePool, (x.sizes, *along, attrs["nopad"], attrs["ceil"], divisors)),)
    wanted = tuple((divisors, *axis, attrs["nopad"], attrs["ceil"]) for axis in zip(x.space, *along, strict=True))
    return (StageCall(Resample, (x.sizes, avgpool_shape(attrs, x).space, averages, wanted)),)


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
    torch_helpers=helpers_for_axes(UNCOUNTED),
    known_as=("averagepool", "averagepooling", "avg_pool"),
    stages=avgpool_stages,
)
