"""`pos`: a learned vector for each position, added to the tokens."""

from __future__ import annotations

from netdsl.graph.ir import ParamSpec
from netdsl.graph.types import Tensor
from netdsl.ground.symbols import value_text
from netdsl.kernels.arrays import Array, Grads, Saved, Tokens
from netdsl.layers.contract import Attrs, LayerDef, StageCall, require_tokens
from netdsl.layers.rules.places import everywhere


def pos_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """The type of x, tokens."""
    require_tokens(x, "`pos`")
    return x


def pos_forward(x: Array, weight: Array) -> tuple[Array, Saved]:
    """y = x + weight, x (N, T, D), weight (1, T, D) (Dosovitskiy et al. 2021)."""
    return x + weight, None


def pos_backward(dy: Tokens, saved: Saved) -> tuple[Tokens, Grads]:
    """dx = dy; dweight sums dy over the batch."""
    return dy, {"": dy.sum(axis=0, keepdims=True)}


def pos_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.tokens import Positions

    return (StageCall(Positions, (x.sizes,)),)


LAYER = LayerDef(
    name="pos",
    summary="a learned vector for each position, added",
    shape=pos_shape,
    params=lambda attrs, x: (ParamSpec("", (1, *x.sizes), "normal"),),
    forward=pos_forward,
    backward=pos_backward,
    reads=everywhere,
    torch=lambda attrs, x: f"nn.Parameter(0.02 * torch.randn(1, {value_text(x.length)}, {value_text(x.channels)}))",
    torch_call=lambda attrs, x: "{x} + {self}",
    stages=pos_stages,
)
