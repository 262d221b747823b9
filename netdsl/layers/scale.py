"""`scale`: a learned factor for each channel or feature (LayerScale)."""

from __future__ import annotations

from netdsl.graph.ir import ParamSpec
from netdsl.graph.types import Sizes, Tensor
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import Attr, Attrs, LayerDef, StageCall, call_text
from netdsl.layers.rules.places import same_place


def factor_shape(x: Tensor) -> Sizes:
    """(C, 1, 1) for an image, (D,) for tokens and vectors: what PyTorch would repeat over the rest."""
    return (x.channels, *(1 for _ in x.space))


def scale_forward(x: Array, weight: Array) -> tuple[Array, Saved]:
    """y = weight * x, weight (C, 1, ...) for maps or (D,) (Touvron et al. 2021)."""
    return weight * x, (x, weight)


def scale_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, ...) -> dx = weight * dy; dweight sums dy * x over everything but the channels or features."""
    x, weight = saved
    axes = (0, *range(2, dy.ndim)) if weight.ndim > 1 else tuple(range(dy.ndim - 1))
    return weight * dy, {"": (dy * x).sum(axis=axes).reshape(weight.shape)}


def scale_torch(attrs: Attrs, x: Tensor) -> str:
    shape, value = factor_shape(x), attrs["value"]
    made = call_text("torch.ones", shape) if value == 1 else call_text("torch.full", shape, value)
    return f"nn.Parameter({made})"


def scale_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.scale import Scale

    return (StageCall(Scale, (x.sizes,)),)


LAYER = LayerDef(
    name="scale",
    summary="a learned factor for each channel or feature, V at first",
    attrs=(Attr("value", "float", 1.0, positional=True, label="the first value"),),
    params=lambda attrs, x: (ParamSpec("", factor_shape(x), attrs["value"]),),
    forward=scale_forward,
    backward=scale_backward,
    reads=same_place,
    torch=scale_torch,
    torch_call=lambda attrs, x: "{self} * {x}",
    stages=scale_stages,
)
