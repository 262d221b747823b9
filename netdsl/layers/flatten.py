"""`flatten`: maps to vectors."""

from __future__ import annotations

from netdsl.graph.types import Tensor, vector
from netdsl.kernels.arrays import Array, Grads, Maps, Saved, Vectors
from netdsl.layers.contract import Attrs, LayerDef, StageCall
from netdsl.layers.rules.places import everywhere


def flatten_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(C, *space) -> (C * prod(space),), as any shape."""
    return vector(x.size)


def flatten_forward(x: Array) -> tuple[Array, Saved]:
    """x (N, C, H, W), or of any other shape -> y (N, C*H*W)."""
    return x.reshape(len(x), -1), x.shape


def flatten_backward(dy: Vectors, saved: Saved) -> tuple[Maps, Grads]:
    """The same numbers in the shape of x."""
    return dy.reshape(saved), {}


def flatten_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.flatten import Flatten

    return (StageCall(Flatten, (x.sizes,)),) if x.is_map else ()


LAYER = LayerDef(
    name="flatten",
    summary="maps to vectors",
    shape=flatten_shape,
    forward=flatten_forward,
    backward=flatten_backward,
    reads=everywhere,
    torch=lambda attrs, x: "nn.Flatten()",
    torch_call=lambda attrs, x: "torch.flatten({x}, 1)",
    stages=flatten_stages,
)
