"""`upsample`: larger maps without weights."""

from __future__ import annotations

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.ground.diagnostics import SpecProblem
from netdsl.ground.symbols import spatial_text
from netdsl.kernels.arrays import Array, Grads, Saved, Spatial
from netdsl.kernels.resample import bilinear_matrix, corner_matrix, resample, resample_adjoint
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, call_text, require_image


def upsample_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(C, H, W) -> (C, factor * H, factor * W)."""
    require_image(x, "`upsample`", "leave it out: a vector has no height and width")
    if attrs["nearest"] and attrs["bilinear"]:
        raise SpecProblem("N313", "`nearest` and `bilinear` exclude each other", "nearest", help=("leave out one",))
    if attrs["align_corners"] and not attrs["bilinear"]:
        message = "`align_corners` says how `bilinear` mixes, which is not written"
        raise SpecProblem("N313", message, "align_corners", help=("write `bilinear align_corners`",))
    return x.with_space(tuple(size * factor for size, factor in zip(x.space, attrs["factor"], strict=True)))


def upsample_forward(
    x: Array, factor: Spatial, bilinear: bool = False, align_corners: bool = False
) -> tuple[Array, Saved]:
    """x (N, C, H, W) -> y (N, C, fh*H, fw*W): each element repeated, or mixed of the nearest two along each axis.

    align_corners: the corners of y are those of x; else the edges of their pixels are, as in PyTorch's default.
    """
    if not bilinear:
        return x.repeat(factor[0], axis=2).repeat(factor[1], axis=3), (x.shape, None)
    make = corner_matrix if align_corners else bilinear_matrix
    rows, cols = (make(size, f, x.dtype) for size, f in zip(x.shape[2:], factor, strict=True))
    return resample(x, rows, cols), (x.shape, (rows, cols))


def upsample_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, C, H*fh, W*fw) -> dx (N, C, H, W), the sum of what became of each element."""
    (n, c, h, w), matrices = saved
    if matrices is not None:
        return resample_adjoint(dy, *matrices), {}
    return dy.reshape(n, c, h, dy.shape[2] // h, w, dy.shape[3] // w).sum(axis=(3, 5)), {}


def upsample_torch(attrs: Attrs, x: Tensor) -> str:
    options: dict[str, object] = {"scale_factor": spatial_text(attrs["factor"])}
    if attrs["bilinear"]:
        options["mode"] = "bilinear"
    if attrs["align_corners"]:
        options["align_corners"] = True
    return call_text("nn.Upsample", **options)


def upsample_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.resample import Repeat, Resample

    if not attrs["bilinear"]:
        return (StageCall(Repeat, (x.sizes, attrs["factor"])),)
    wanted = tuple(zip(x.space, attrs["factor"], strict=True))
    make = corner_matrix if attrs["align_corners"] else bilinear_matrix
    return (StageCall(Resample, (x.sizes, upsample_shape(attrs, x).space, make, wanted)),)


def upsample_reads(attrs: Attrs, places: Array, axis: int, size: int, out: int) -> Array:
    """Place i reads i // factor, or with `bilinear` the two places nearest to (i + 1/2) / factor - 1/2, with
    `align_corners` to i * (size - 1) / (out - 1)."""
    factor = attrs["factor"][axis]
    if not attrs["bilinear"]:
        return places // factor
    above, below = 2 * places + 1 - factor, 2 * factor
    if attrs["align_corners"]:
        above, below = places * (size - 1), max(out - 1, 1)
    return np.concatenate([above // below, -(-above // below)])


LAYER = LayerDef(
    name="upsample",
    summary="maps F times as high and wide",
    attrs=(
        Attr("factor", "spatial", REQUIRED, positional=True, minimum=1, label="the factor"),
        Attr("nearest", "word"),
        Attr("bilinear", "word"),
        Attr("align_corners", "word"),
    ),
    shape=upsample_shape,
    forward=upsample_forward,
    backward=upsample_backward,
    reads=upsample_reads,
    torch=upsample_torch,
    idle={"factor": 1},
    known_as=("upsampling",),
    stages=upsample_stages,
)
