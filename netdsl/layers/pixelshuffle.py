"""`pixelshuffle`: channels become places, for super-resolution."""

from __future__ import annotations

from math import prod

from netdsl.graph.types import Tensor, map_of
from netdsl.ground.diagnostics import SpecProblem
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, call_text, for_axes, require_map


def pixelshuffle_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(C, H, W) -> (C / factor^2, H * factor, W * factor); of a signal C / factor, of a volume C / factor^3."""
    require_map(x, "`pixelshuffle`")
    r, c = attrs["factor"], x.channels
    shared = prod((r,) * x.axes)
    if c % shared:
        message = f"the factor {r} needs a multiple of {shared} channels, but {c} arrive"
        more = c + -c % shared
        raise SpecProblem("N203", message, "factor", "the factor", help=(f"give the layer before it {more} filters",))
    return map_of(c // shared, *(size * r for size in x.space))


def pixelshuffle_forward(x: Array, factor: int) -> tuple[Array, Saved]:
    """x (N, C*r*r, H, W) -> y (N, C, H*r, W*r), r = factor (Shi et al. 2016); signals and volumes alike.

    y[n, c, i*r + u, j*r + v] = x[n, c*r*r + u*r + v, i, j].
    """
    n, _, *space = x.shape
    axes = len(space)
    parts = x.reshape(n, -1, *[factor] * axes, *space)  # (N, C, r, r, H, W)
    pairs = [axis for i in range(axes) for axis in (2 + axes + i, 2 + i)]  # H before its r, W before its r
    return parts.transpose(0, 1, *pairs).reshape(n, -1, *(size * factor for size in space)), (x.shape, factor)


def pixelshuffle_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, C, H*r, W*r) -> dx (N, C*r*r, H, W): each place back to its channel."""
    (n, _, *space), r = saved
    pairs = dy.reshape(n, -1, *(number for size in space for number in (size, r)))  # (N, C, H, r, W, r)
    return pairs.transpose(0, 1, *range(3, pairs.ndim, 2), *range(2, pairs.ndim, 2)).reshape(saved[0]), {}


PIXEL_SHUFFLE_1D = '''class PixelShuffle1d(nn.Module):
    """(N, C * r, L) -> (N, C, L * r), r = factor (Shi et al. 2016)."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x.unflatten(1, (-1, self.factor)).transpose(2, 3).flatten(2)'''
PIXEL_SHUFFLE_3D = '''class PixelShuffle3d(nn.Module):
    """(N, C * r^3, D, H, W) -> (N, C, D * r, H * r, W * r), r = factor (Shi et al. 2016)."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        r = self.factor
        parts = x.unflatten(1, (-1, r, r, r)).permute(0, 1, 5, 2, 6, 3, 7, 4)  # (N, C, D, r, H, r, W, r)
        return parts.flatten(6, 7).flatten(4, 5).flatten(2, 3)'''


def pixelshuffle_torch(attrs: Attrs, x: Tensor) -> str:
    """PyTorch has a module for images alone."""
    return call_text("nn.PixelShuffle" if x.is_image else for_axes("PixelShuffle2d", x), attrs["factor"])


def pixelshuffle_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.moved import Moved

    r, axes, made = attrs["factor"], range(x.axes), pixelshuffle_shape(attrs, x)
    split = (*x.space, "n", made.channels, *(r for _ in axes))
    order = (*(place for axis in axes for place in (axis, x.axes + 2 + axis)), x.axes, x.axes + 1)
    return (StageCall(Moved, (x.sizes, made.sizes, split, order)),)


def pixelshuffle_reads(attrs: Attrs, places: Array, axis: int, size: int, out: int) -> Array:
    """Place i reads i // factor."""
    return places // attrs["factor"]


LAYER = LayerDef(
    name="pixelshuffle",
    summary="channels become maps R times as large, R*R of an image",
    attrs=(Attr("factor", "int", REQUIRED, positional=True, minimum=1, label="the factor"),),
    shape=pixelshuffle_shape,
    forward=pixelshuffle_forward,
    backward=pixelshuffle_backward,
    reads=pixelshuffle_reads,
    torch=pixelshuffle_torch,
    torch_helpers=(PIXEL_SHUFFLE_1D, PIXEL_SHUFFLE_3D),
    stages=pixelshuffle_stages,
)
