"""`upsample`: larger maps without weights."""

from __future__ import annotations

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.ground.diagnostics import SpecProblem
from netdsl.ground.symbols import spatial_text
from netdsl.kernels.arrays import Array, Grads, Saved, Spatial
from netdsl.kernels.resample import bilinear_matrix, corner_matrix, resample, resample_adjoint
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, call_text, require_map

_WORDS = ("linear", "bilinear", "trilinear")  # as PyTorch's modes, along one, two and three axes
_LIKE = dict(zip(_WORDS, ("CxL", "CxHxW", "CxDxHxW"), strict=True))


def upsample_resolve(attrs: Attrs, x: Tensor) -> Attrs:
    """Whether one of the words is written that mix."""
    return {**attrs, "mixes": any(attrs[word] for word in _WORDS)}


def upsample_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(C, *space) -> of an image (C, factor * H, factor * W)."""
    require_map(x, "`upsample`", "leave it out: a vector has no axes of space")
    fits = _WORDS[x.axes - 1]
    other = next((word for word in _WORDS if attrs[word] and word != fits), None)
    if other is not None:
        message = f"`{other}` is for maps like {_LIKE[other]}, but {x.show()} arrives"
        raise SpecProblem("N313", message, other, help=(f"write `{fits}`",))
    if attrs["nearest"] and attrs[fits]:
        raise SpecProblem("N313", f"`nearest` and `{fits}` exclude each other", "nearest", help=("leave out one",))
    if attrs["align_corners"] and not attrs[fits]:
        message = f"`align_corners` says how `{fits}` mixes, which is not written"
        raise SpecProblem("N313", message, "align_corners", help=(f"write `{fits} align_corners`",))
    return x.with_space(tuple(size * factor for size, factor in zip(x.space, attrs["factor"], strict=True)))


def upsample_forward(
    x: Array, factor: Spatial, mixes: bool = False, align_corners: bool = False
) -> tuple[Array, Saved]:
    """x (N, C, H, W) -> y (N, C, fh*H, fw*W): each element repeated, or mixed of the nearest two along each axis;
    signals and volumes alike.

    align_corners: the corners of y are those of x; else the edges of their pixels are, as in PyTorch's default.
    """
    if mixes:
        axes = zip(x.shape[2:], factor, strict=True)
        if align_corners:
            matrices = [corner_matrix(size, f, x.dtype) for size, f in axes]
        else:
            matrices = [bilinear_matrix(size, f, x.dtype) for size, f in axes]
        return resample(x, matrices), (x.shape, factor, matrices)
    y = x
    for axis, f in enumerate(factor, 2):
        y = y.repeat(f, axis)
    return y, (x.shape, factor, None)


def upsample_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, C, H*fh, W*fw) -> dx (N, C, H, W), the sum of what became of each element."""
    (n, c, *space), factor, matrices = saved
    if matrices is not None:
        return resample_adjoint(dy, matrices), {}
    split = [number for axis in zip(space, factor, strict=True) for number in axis]  # H, fh, W, fw
    return dy.reshape(n, c, *split).sum(axis=tuple(range(3, dy.ndim + len(space), 2))), {}


def upsample_torch(attrs: Attrs, x: Tensor) -> str:
    options: dict[str, object] = {"scale_factor": spatial_text(attrs["factor"])}
    if attrs["mixes"]:
        options["mode"] = _WORDS[x.axes - 1]
    if attrs["align_corners"]:
        options["align_corners"] = True
    return call_text("nn.Upsample", **options)


def upsample_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.resample import Repeat, Resample

    if not attrs["mixes"]:
        return (StageCall(Repeat, (x.sizes, attrs["factor"])),)
    wanted = tuple(zip(x.space, attrs["factor"], strict=True))
    make = corner_matrix if attrs["align_corners"] else bilinear_matrix
    return (StageCall(Resample, (x.sizes, upsample_shape(attrs, x).space, make, wanted)),)


def upsample_reads(attrs: Attrs, places: Array, axis: int, size: int, out: int) -> Array:
    """Place i reads i // factor, or where it mixes the two places nearest to (i + 1/2) / factor - 1/2, with
    `align_corners` to i * (size - 1) / (out - 1)."""
    factor = attrs["factor"][axis]
    if not attrs["mixes"]:
        return places // factor
    above, below = 2 * places + 1 - factor, 2 * factor
    if attrs["align_corners"]:
        above, below = places * (size - 1), max(out - 1, 1)
    return np.concatenate([above // below, -(-above // below)])


LAYER = LayerDef(
    name="upsample",
    summary="maps F times as large along each axis of space",
    attrs=(
        Attr("factor", "spatial", REQUIRED, positional=True, minimum=1, label="the factor"),
        Attr("nearest", "word"),
        *(Attr(word, "word") for word in _WORDS),
        Attr("align_corners", "word"),
    ),
    resolve=upsample_resolve,
    shape=upsample_shape,
    forward=upsample_forward,
    backward=upsample_backward,
    reads=upsample_reads,
    torch=upsample_torch,
    idle={"factor": 1},
    known_as=("upsampling",),
    stages=upsample_stages,
)
