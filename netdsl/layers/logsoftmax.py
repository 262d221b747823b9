"""`logsoftmax`: logarithms of probabilities over the channels, what the loss `nll` reads."""

from __future__ import annotations

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import Attrs, LayerDef
from netdsl.layers.rules.places import same_place


def logsoftmax_resolve(attrs: Attrs, x: Tensor) -> Attrs:
    """Channels are the second axis of maps and vectors, the last of tokens."""
    return {**attrs, "axis": -1 if x.is_tokens else x.channel_axis}


def logsoftmax_forward(x: Array, axis: int = 1) -> tuple[Array, Saved]:
    """x (N, K, ...) or (N, T, K) -> y = x - log(sum of exp(x) over the channels), in its shape.

    The maximum is taken out first, so that nothing overflows.
    """
    shifted = x - x.max(axis=axis, keepdims=True)
    y = shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    return y, (y, axis)


def logsoftmax_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, K, ...) or (N, T, K) -> dx = dy - exp(y) * sum over the channels of dy."""
    y, axis = saved
    return dy - np.exp(y) * dy.sum(axis=axis, keepdims=True), {}


LAYER = LayerDef(
    name="logsoftmax",
    summary="logarithms of probabilities over the channels",
    resolve=logsoftmax_resolve,
    forward=logsoftmax_forward,
    backward=logsoftmax_backward,
    reads=same_place,
    torch=lambda attrs, x: f"nn.LogSoftmax(dim={attrs['axis']})",
    torch_call=lambda attrs, x: f"torch.log_softmax({{x}}, dim={attrs['axis']})",
)
