"""`inorm`: instance normalisation, each channel of each map by itself."""

from __future__ import annotations

from netdsl.graph.ir import ParamSpec
from netdsl.graph.types import Tensor
from netdsl.ground.diagnostics import SpecProblem
from netdsl.kernels.arrays import Array, Grads, Param, Saved
from netdsl.kernels.group_norms import groups_backward, groups_forward
from netdsl.layers.contract import Attr, Attrs, LayerDef, StageCall, call_text, for_axes, require_map
from netdsl.layers.rules.places import everywhere
from netdsl.layers.rules.straight import straight


def inorm_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """The type of x, a map of more than one position."""
    require_map(x, "`inorm`")
    if max(x.space) == 1:
        message = f"`inorm` needs more than one position, but {x.show()} arrives"
        raise SpecProblem("N202", message, help=("one number has no variance: use `ln`",))
    return x


def inorm_params(attrs: Attrs, x: Tensor) -> tuple[ParamSpec, ...]:
    size = (x.channels,)
    return (ParamSpec("weight", size, "ones"), ParamSpec("bias", size, "zeros")) if attrs["affine"] else ()


def inorm_forward(x: Array, weight: Param, bias: Param, eps: float = 1e-5) -> tuple[Array, Saved]:
    """x (N, C, *space), each channel of each sample to mean 0 and variance 1 (Ulyanov et al. 2016)."""
    return groups_forward(x, x.shape[1], weight, bias, eps)


def inorm_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, C, *space) -> dx of that shape, {weight, bias}; see groups_backward."""
    return groups_backward(dy, saved)


def inorm_torch(attrs: Attrs, x: Tensor) -> str:
    options = {} if attrs["eps"] == 1e-5 else {"eps": attrs["eps"]}
    return call_text(
        for_axes("nn.InstanceNorm2d", x), x.channels, **options, **({"affine": True} if attrs["affine"] else {})
    )


def inorm_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.group_norm import GroupNorm

    return (StageCall(GroupNorm, (x.sizes, x.channels, attrs["eps"])),)


LAYER = LayerDef(
    name="inorm",
    summary="instance normalisation",
    attrs=(Attr("eps", "float", 1e-5, above=0), Attr("affine", "word")),
    shape=inorm_shape,
    params=inorm_params,
    forward=inorm_forward,
    backward=inorm_backward,
    reads=everywhere,
    torch=inorm_torch,
    torch_straight=straight("InstanceNorm2d"),
    cancels_bias=True,
    known_as=("instancenorm", "instance_norm"),
    stages=inorm_stages,
)
