"""`tokens`: a map as a sequence of its positions."""

from __future__ import annotations

from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Maps, Saved, Tokens
from netdsl.layers.contract import Attrs, LayerDef, StageCall, require_map
from netdsl.layers.rules.places import everywhere


def tokens_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(C, *space) -> (T, C), a token for each of the T places."""
    require_map(x, "`tokens`", f"`reshape 1x{x.show()}` makes one token of a vector", "leave it out: these are tokens")
    return x.tokens_of_map()


def tokens_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.moved import Moved

    order = (x.axes, *range(x.axes), x.axes + 1)
    return (StageCall(Moved, (x.sizes, tokens_shape(attrs, x).sizes, (*x.space, "n", x.channels), order)),)


def tokens_forward(x: Array) -> tuple[Array, Saved]:
    """x (N, C, H, W), or any other axes of space -> y (N, H*W, C), row by row (Dosovitskiy et al. 2021)."""
    return x.reshape(*x.shape[:2], -1).transpose(0, 2, 1), x.shape


def tokens_backward(dy: Tokens, saved: Saved) -> tuple[Maps, Grads]:
    """The tokens back at their positions."""
    return dy.transpose(0, 2, 1).reshape(saved), {}


LAYER = LayerDef(
    name="tokens",
    summary="a map as a sequence of its positions",
    shape=tokens_shape,
    forward=tokens_forward,
    backward=tokens_backward,
    reads=everywhere,
    torch=None,
    torch_call=lambda attrs, x: "{x}.flatten(2).transpose(1, 2)",
    torch_transposes=True,
    stages=tokens_stages,
)
