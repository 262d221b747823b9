"""`transpose`: the positions and the features of tokens change places, so that `linear` mixes positions."""

from __future__ import annotations

from netdsl.graph.types import Tensor, tokens
from netdsl.kernels.arrays import Array, Grads, Saved, Tokens
from netdsl.layers.contract import Attrs, LayerDef, StageCall, require_tokens
from netdsl.layers.rules.places import everywhere


def transpose_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(T, D) -> (D, T)."""
    require_tokens(x, "`transpose`")
    return tokens(x.channels, x.length)


def transpose_forward(x: Array) -> tuple[Array, Saved]:
    """x (N, T, D) -> y (N, D, T), as between the two halves of an MLP-Mixer's block (Tolstikhin et al. 2021)."""
    return x.transpose(0, 2, 1), None


def transpose_backward(dy: Tokens, saved: Saved) -> tuple[Tokens, Grads]:
    """dy (N, D, T) -> dx (N, T, D)."""
    return dy.transpose(0, 2, 1), {}


def transpose_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.moved import Moved

    return (StageCall(Moved, (x.sizes, x.sizes[::-1], ("n", *x.sizes), (0, 2, 1))),)


LAYER = LayerDef(
    name="transpose",
    summary="positions and features of tokens change places",
    shape=transpose_shape,
    forward=transpose_forward,
    backward=transpose_backward,
    reads=everywhere,
    torch=None,
    torch_call=lambda attrs, x: "{x}.transpose(1, 2)",
    known_as=("permute", "rearrange", "swapaxes", "swapdims"),
    stages=transpose_stages,
)
