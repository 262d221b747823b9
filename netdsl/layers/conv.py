"""`conv`: convolution along every axis of space (cross-correlation, as in every framework)."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from netdsl.graph.ir import ParamSpec
from netdsl.graph.types import Tensor, map_of, show_sized
from netdsl.ground.diagnostics import SpecProblem
from netdsl.ground.symbols import is_all, plain_value, spatial_text
from netdsl.kernels.arrays import Array, Grads, OneOrSides, OneOrSpatial, Saved
from netdsl.kernels.windows import windows, windows_adjoint
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, call_text, for_axes, require_map
from netdsl.layers.rules.convolution_costs import (
    bilinear_cost,
    fourier_points,
    line_cost,
    patch_cost,
    point_cost,
    rows_cost,
)
from netdsl.layers.rules.places import under_the_window
from netdsl.layers.rules.windows import are_even, given_sides, helpers_for_axes, sides_text, torch_sides

if TYPE_CHECKING:
    from netdsl.stages.convolution import ConvGeometry


def conv_resolve(attrs: Attrs, x: Tensor) -> Attrs:
    """`same`: ceil(H / stride) outputs; where its padding is odd, the extra row and column go last, as in PyTorch."""
    require_map(x, "`conv`", "a vector goes through `linear`")
    return {**attrs, "padding": given_sides(attrs, x)}


def conv_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(C, H, W) -> (F, Ho, Wo), Ho = floor((H + top + bottom - dilation * (Kh - 1) - 1) / stride) + 1."""
    c, f, groups = x.channels, attrs["filters"], attrs["groups"]
    if c % groups or f % groups:
        name, number = ("input channels", c) if c % groups else ("filters", f)
        raise SpecProblem(
            "N203",
            f"{groups} groups do not divide {number} {name}",
            attr="groups",
            label="the groups",
            help=(f"use a divisor of {number}",),
        )
    sizes = []
    for axis, size in enumerate(x.space):
        reach = attrs["dilation"][axis] * (attrs["kernel_size"][axis] - 1) + 1
        room = size + sum(attrs["padding"][axis])
        if reach > room:
            raise _does_not_fit(attrs, x, axis)
        sizes.append((room - reach) // attrs["stride"][axis] + 1)
    return map_of(f, *sizes)


def _does_not_fit(attrs: Attrs, x: Tensor, axis: int) -> SpecProblem:
    k, d, sides = attrs["kernel_size"], attrs["dilation"], attrs["padding"]
    size, (before, after) = x.space[axis], sides[axis]
    largest = (size + before + after - 1) // d[axis] + 1
    dilated = f" with dilation {d[axis]}" if d[axis] > 1 else ""
    padded = f" with padding {before if before == after else sides_text(sides)}" if before or after else ""
    enough = before - (-(d[axis] * (k[axis] - 1) + 1 - size - before - after) // 2)
    help_text = f"use k{largest} or less, or p{enough}" if before == after else f"use k{largest} or less"
    return SpecProblem(
        "N201",
        f"{show_sized('kernel', k)}{dilated} does not fit {show_sized('input', x.space)}{padded}",
        attr="kernel_size",
        label="the kernel",
        help=(help_text,),
    )


def conv_params(attrs: Attrs, x: Tensor) -> tuple[ParamSpec, ...]:
    """weight (F, C/groups, Kh, Kw) and bias (F,)."""
    f, c, window = attrs["filters"], x.channels // attrs["groups"], prod(attrs["kernel_size"])
    fans = {"fan_in": c * window, "fan_out": f // attrs["groups"] * window}
    weight = ParamSpec("weight", (f, c, *attrs["kernel_size"]), "weight", **fans)
    return (weight,) if attrs["nobias"] else (weight, ParamSpec("bias", (f,), "bias", **fans))


def conv_macs(attrs: Attrs, x: Tensor) -> int:
    """F * Ho * Wo * C / groups * Kh * Kw."""
    return int(conv_shape(attrs, x).size * (x.channels // attrs["groups"]) * prod(attrs["kernel_size"]))


def conv_forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: OneOrSpatial = 1,
    padding: OneOrSides = 0,
    dilation: OneOrSpatial = 1,
    groups: int = 1,
) -> tuple[Array, Saved]:
    """x (N, C, H, W), weight (F, C/groups, Kh, Kw), bias (F,) or None -> y (N, F, Ho, Wo); other axes of space alike.

    y[n, f, i, j] = bias[f] + sum over c, u, v of weight[f, c, u, v] * x[n, c, i*s + u*d - p, j*s + v*d - p],
    as one matrix product: a row of weights for each filter, a column for each window (im2col). With groups, filters of
    one group see the channels of that group only: one matrix product each.
    """
    rows = weight.reshape(groups, len(weight) // groups, -1)  # (G, F/G, C/G*Kh*Kw)
    cols = windows(x, weight.shape[2:], stride, padding, dilation)  # (C, Kh*Kw, N, Ho, Wo)
    _, _, n, *out = cols.shape
    cols = cols.reshape(groups, rows.shape[2], -1)  # (G, C/G*Kh*Kw, N*Ho*Wo)
    y = np.matmul(rows, cols).reshape(len(weight), -1)
    if bias is not None:
        y += bias[:, None]
    y = y.reshape(-1, n, *out).swapaxes(0, 1)
    return y, (x.shape, cols, weight, bias is not None, stride, padding, dilation)


def conv_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, F, Ho, Wo) -> dx (N, C, H, W), {weight, bias}.

    dweight multiplies dy with the windows of x; dx sends each dy[n, f, i, j] * weight[f] back to its window.
    """
    x_shape, cols, weight, has_bias, stride, padding, dilation = saved
    (n, f, *out), groups = dy.shape, len(cols)
    dy_rows = dy.swapaxes(0, 1).reshape(groups, f // groups, -1)  # (G, F/G, N*Ho*Wo)
    grads = {"weight": np.matmul(dy_rows, cols.swapaxes(1, 2)).reshape(weight.shape)}
    if has_bias:
        grads["bias"] = dy.sum(axis=(0, *range(2, dy.ndim)))
    rows = weight.reshape(groups, f // groups, -1)
    dcols = np.matmul(rows.swapaxes(1, 2), dy_rows).reshape(x_shape[1], -1, n, *out)
    return windows_adjoint(dcols, x_shape, weight.shape[2:], stride, padding, dilation), grads


PADDED_CONV = '''class PaddedConv2d(nn.Conv2d):
    """A convolution of x with zeros around it: (left, right, top, bottom)."""

    def __init__(self, *args, sides, **kwargs):
        super().__init__(*args, **kwargs)
        self.sides = sides

    def forward(self, x):
        return super().forward(F.pad(x, self.sides))'''


def conv_torch(attrs: Attrs, x: Tensor) -> str:
    options: dict[str, object] = {}
    sides = attrs["padding"]
    if not is_all(attrs["stride"], 1):
        options["stride"] = spatial_text(attrs["stride"])
    pads_itself = not are_even(sides) and not (attrs["same"] and is_all(plain_value(attrs["stride"]), 1))
    if pads_itself:
        options["sides"] = torch_sides(sides)
    elif not are_even(sides):
        options["padding"] = "same"
    elif not is_all(sides, 0):
        options["padding"] = spatial_text(tuple(before for before, _ in sides))
    if not is_all(attrs["dilation"], 1):
        options["dilation"] = spatial_text(attrs["dilation"])
    if attrs["groups"] != 1:
        options["groups"] = attrs["groups"]
    if attrs["nobias"]:
        options["bias"] = False
    module = "PaddedConv2d" if pads_itself else "nn.Conv2d"
    return call_text(for_axes(module, x), x.channels, attrs["filters"], spatial_text(attrs["kernel_size"]), **options)


def conv_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    """1x1: one product. Stride 1 with a window: constant matrices. Else patches. Groups have stages of their own."""
    from netdsl.stages.convolution import ConvGeometry
    from netdsl.stages.depth_conv import DepthConv
    from netdsl.stages.grouped_conv import GroupedConv
    from netdsl.stages.patch_conv import PatchConv
    from netdsl.stages.point_conv import PointConv
    from netdsl.stages.row_conv import RowConv

    names = ("filters", "kernel_size", "stride", "padding", "dilation", "groups")
    g = ConvGeometry(x.sizes, *(attrs[name] for name in names))
    if not x.is_image:
        return _volume_stages(g)
    if g.groups == x.channels > 1:
        return (StageCall(DepthConv, (g,)),)
    if g.groups > 1:
        return (StageCall(GroupedConv, (g,)),)
    patches = StageCall(PatchConv, (g,), cost=partial(patch_cost, g))
    if g.kernel_size == (1, 1):
        return (StageCall(PointConv, (g,), cost=partial(point_cost, g)), patches)
    if x.channels <= 4 and g.dilation == (1, 1):
        return (StageCall(RowConv, (g,), cost=partial(line_cost, g)), patches)
    if x.space[1] == g.out_size[1] == 1:
        return (*_signal_stages(g), patches)
    if g.dilation != (1, 1) or x.channels < 8:
        return (patches,)
    if g.stride != (1, 1):
        return (*_winograd_rows(g), patches)
    return (*_bilinear_stages(g), *_winograd_rows(g), patches)


def _volume_stages(g: ConvGeometry) -> tuple[StageCall, ...]:
    """A 1x1x1 convolution of a volume is one of an image, whose rows are those of all its slices. Stride 1: by rows.
    Else patches."""
    from netdsl.stages.convolution import ConvGeometry
    from netdsl.stages.patch_conv import PatchConv
    from netdsl.stages.point_conv import PointConv
    from netdsl.stages.volume_conv import VolumeConv

    if g.groups > 1:
        return ()
    if is_all(g.kernel_size, 1) and is_all(g.stride, 1) and is_all(g.padding, 0):
        channels, *slices, width = g.shape
        return (StageCall(PointConv, (ConvGeometry((channels, prod(slices), width), g.filters, (1, 1)),)),)
    fits = all(max(sides) < k for k, sides in zip(g.kernel_size, g.padding, strict=True))  # then dy has zeros around it
    if fits and is_all(g.stride, 1) and is_all(g.dilation, 1):
        return (StageCall(VolumeConv, (g,)),)
    return (StageCall(PatchConv, (g,)),)


def _signal_stages(g: ConvGeometry) -> list[StageCall]:
    """Winograd's algorithm along a signal, an image one number wide, whose windows are as wide. Tiles need 6 or 10
    points at most: more lose digits."""
    from netdsl.stages.signal_conv import SignalConv

    (taps, width), step, apart = g.kernel_size, g.stride[0], g.dilation[0]
    if width > 1 or taps == 1 or min(step, apart) > 1:
        return []
    rows = -(-g.out_size[0] // apart)  # with a dilation d those of each of d signals
    tallest = [most + 1 - -(-taps // step) for most in (6, 10)]
    calls = []
    for tiles in sorted({-(-rows // most) for most in tallest if most > 1}):
        tile = -(-rows // tiles)
        points = tile * min(step, taps) + taps - min(step, taps)
        cost = partial(rows_cost, g.shape, g.filters, 1, 1, tiles * apart, points)
        calls.append(StageCall(SignalConv, (g, tile), cost=cost))
    return calls


def _bilinear_stages(g: ConvGeometry) -> list[StageCall]:
    """Winograd's tiles for a 3x3 kernel; the Fourier transform of the whole plane, or of tiles, which must not be
    smaller than what neighbours share. Large tiles need fewer products, and more numbers for each weight (36 of 9 for
    4x4): with many weights and few samples small ones are faster, half the time of 512 channels of 14x14."""
    from netdsl.stages.bilinear import fourier_tiles, winograd
    from netdsl.stages.bilinear_conv import BilinearConv
    from netdsl.stages.fourier_conv import FourierConv

    axes = zip(g.shape[1:], g.padding, g.out_size, g.kernel_size, strict=True)
    whole = tuple(max(n + before, o + k - 1 - before) for n, (before, _), o, k in axes)
    ways = [(winograd, tile) for tile in (2, 3, 4)] if g.kernel_size == (3, 3) else []
    ways += [(fourier_tiles, tile) for tile in (7, 14) if tile >= max(g.kernel_size) - 1 and tile < max(g.out_size)]
    calls = []
    if max(whole) <= 36:
        cost = partial(bilinear_cost, g.shape, g.filters, 1, fourier_points(whole), False)
        calls.append(StageCall(FourierConv, (g,), cost=cost))
    for algorithm, tile in ways:
        tiles = -(-g.out_size[0] // tile) * -(-g.out_size[1] // tile)
        lengths = tuple(tile + k - 1 for k in g.kernel_size)
        points = lengths[0] * lengths[1] if algorithm is winograd else fourier_points(lengths)
        cost = partial(bilinear_cost, g.shape, g.filters, tiles, points, algorithm is winograd)
        calls.append(StageCall(BilinearConv, (g, algorithm, tile), cost=cost))
    return calls


def _winograd_rows(g: ConvGeometry) -> list[StageCall]:
    """Winograd's algorithm along H alone, in tiles of one height that need 6 or 10 points at most: more lose digits."""
    from netdsl.stages.winograd_rows import WinogradRows

    taps, step, (height, width) = g.kernel_size[0], g.stride[0], g.out_size
    tallest = [most + 1 - -(-taps // step) for most in (6, 10)]  # a stride is a sum over every step-th tap
    counts = {-(-height // most) for most in tallest if most > 1 and taps > 1}
    calls = []
    for tiles in sorted(counts):
        tile = -(-height // tiles)
        points = tile * min(step, taps) + taps - min(step, taps)
        cost = partial(rows_cost, g.shape, g.filters, g.kernel_size[1], width, tiles, points)
        calls.append(StageCall(WinogradRows, (g, tile), cost=cost))
    return calls


LAYER = LayerDef(
    name="conv",
    summary="convolution with C filters",
    attrs=(
        Attr("filters", "int", REQUIRED, positional=True, minimum=1, label="the filters"),
        Attr("kernel_size", "spatial", 1, flag="k", spellings=("kernel",), minimum=1, label="the kernel"),
        Attr("stride", "spatial", 1, flag="s", minimum=1, label="the stride"),
        Attr("padding", "sides", 0, flag="p", minimum=0, label="the padding", set_by=("same",)),
        Attr("dilation", "spatial", 1, flag="d", minimum=1, label="the dilation"),
        Attr("groups", "int", 1, flag="g", minimum=1, label="the groups"),
        Attr("same", "word"),
        Attr("nobias", "word"),
    ),
    resolve=conv_resolve,
    shape=conv_shape,
    params=conv_params,
    macs=conv_macs,
    forward=conv_forward,
    backward=conv_backward,
    reads=under_the_window,
    torch=conv_torch,
    torch_helpers=helpers_for_axes(PADDED_CONV),
    stages=conv_stages,
)
