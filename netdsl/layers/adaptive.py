"""`adaptive`: average pooling to a given size."""

from __future__ import annotations

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.ground.symbols import spatial_text
from netdsl.kernels.arrays import Array, Grads, Maps, Saved, Spatial
from netdsl.kernels.resample import averaging_matrix, resample, resample_adjoint
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, call_text, for_axes, require_map


def adaptive_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(C, *space) -> (C, *output_size), of an image (C, Ho, Wo)."""
    require_map(x, "`adaptive`", "leave it out: a vector has no axes of space")
    return x.with_space(attrs["output_size"])


def adaptive_forward(x: Array, output_size: Spatial) -> tuple[Array, Saved]:
    """x (N, C, *space) -> y (N, C, *output_size): along H, place i averages floor(i*H/Ho) to ceil((i+1)*H/Ho) of x."""
    matrices = [averaging_matrix(size, out, x.dtype) for size, out in zip(x.shape[2:], output_size, strict=True)]
    return resample(x, matrices), matrices


def adaptive_backward(dy: Maps, saved: Saved) -> tuple[Maps, Grads]:
    """Each element of a window gets its share of dy."""
    return resample_adjoint(dy, saved), {}


def adaptive_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.resample import Resample

    wanted = tuple(zip(x.space, attrs["output_size"], strict=True))
    return (StageCall(Resample, (x.sizes, attrs["output_size"], averaging_matrix, wanted)),)


def adaptive_reads(attrs: Attrs, places: Array, axis: int, size: int, out: int) -> Array:
    """Place i averages floor(i * size / out) to ceil((i + 1) * size / out) - 1."""
    return np.concatenate([np.arange(i * size // out, -(-(i + 1) * size // out)) for i in places])


LAYER = LayerDef(
    name="adaptive",
    summary="average pooling to a size, HxW",
    attrs=(Attr("output_size", "spatial", REQUIRED, positional=True, minimum=1, label="the size", takes_label=True),),
    shape=adaptive_shape,
    forward=adaptive_forward,
    backward=adaptive_backward,
    reads=adaptive_reads,
    torch=lambda attrs, x: call_text(for_axes("nn.AdaptiveAvgPool2d", x), spatial_text(attrs["output_size"])),
    known_as=("adaptiveavgpool", "adaptive_avg_pool"),
    stages=adaptive_stages,
)
