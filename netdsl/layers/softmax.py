"""`softmax`: probabilities over the channels."""

from __future__ import annotations

from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.kernels.stable import softmax
from netdsl.layers.contract import Attrs, LayerDef
from netdsl.layers.rules.places import same_place


def softmax_resolve(attrs: Attrs, x: Tensor) -> Attrs:
    """Channels are the second axis of maps and vectors, the last of tokens."""
    return {**attrs, "axis": -1 if x.is_tokens else x.channel_axis}


def softmax_forward(x: Array, axis: int = 1) -> tuple[Array, Saved]:
    """y = exp(x) / sum of exp(x) over the channels."""
    y = softmax(x, axis)
    return y, (y, axis)


def softmax_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dx = y * (dy - sum over the channels of dy * y)."""
    y, axis = saved
    return y * (dy - (dy * y).sum(axis=axis, keepdims=True)), {}


LAYER = LayerDef(
    name="softmax",
    summary="probabilities over the channels",
    resolve=softmax_resolve,
    forward=softmax_forward,
    backward=softmax_backward,
    reads=same_place,
    torch=lambda attrs, x: f"nn.Softmax(dim={attrs['axis']})",
    torch_call=lambda attrs, x: f"torch.softmax({{x}}, dim={attrs['axis']})",
)
