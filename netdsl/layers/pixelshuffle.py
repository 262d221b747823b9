"""`pixelshuffle`: channels become places, for super-resolution."""

from __future__ import annotations

from netdsl.graph.types import Tensor, map_of
from netdsl.ground.diagnostics import SpecProblem
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, call_text, require_image


def pixelshuffle_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(C, H, W) -> (C / factor^2, H * factor, W * factor)."""
    require_image(x, "`pixelshuffle`")
    r, c = attrs["factor"], x.channels
    if c % (r * r):
        message = f"the factor {r} needs a multiple of {r * r} channels, but {c} arrive"
        more = c + -c % (r * r)
        raise SpecProblem("N203", message, "factor", "the factor", help=(f"give the layer before it {more} filters",))
    return map_of(c // (r * r), *(size * r for size in x.space))


def pixelshuffle_forward(x: Array, factor: int) -> tuple[Array, Saved]:
    """x (N, C*r*r, H, W) -> y (N, C, H*r, W*r), r = factor (Shi et al. 2016).

    y[n, c, i*r + u, j*r + v] = x[n, c*r*r + u*r + v, i, j].
    """
    n, c, h, w = x.shape
    y = x.reshape(n, -1, factor, factor, h, w).transpose(0, 1, 4, 2, 5, 3)
    return y.reshape(n, -1, h * factor, w * factor), (x.shape, factor)


def pixelshuffle_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, C, H*r, W*r) -> dx (N, C*r*r, H, W): each place back to its channel."""
    (n, _, h, w), r = saved
    return dy.reshape(n, -1, h, r, w, r).transpose(0, 1, 3, 5, 2, 4).reshape(saved[0]), {}


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
    summary="R*R channels become maps R times as high and wide",
    attrs=(Attr("factor", "int", REQUIRED, positional=True, minimum=1, label="the factor"),),
    shape=pixelshuffle_shape,
    forward=pixelshuffle_forward,
    backward=pixelshuffle_backward,
    reads=pixelshuffle_reads,
    torch=lambda attrs, x: call_text("nn.PixelShuffle", attrs["factor"]),
    stages=pixelshuffle_stages,
)
