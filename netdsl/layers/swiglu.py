"""`swiglu`: a hidden layer with a gate, as in Llama's feed-forward part."""

from __future__ import annotations

import numpy as np

from netdsl.graph.ir import ParamSpec
from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.kernels.stable import sigmoid
from netdsl.layers.contract import REQUIRED, Attr, Attrs, LayerDef, StageCall, call_text, refuse_map
from netdsl.layers.rules.places import everywhere


def swiglu_shape(attrs: Attrs, x: Tensor) -> Tensor:
    """(D,) -> (F,), (T, D) -> (T, F)."""
    refuse_map(x, "`swiglu`", "put `flatten` or `gap` before it")
    return x.with_channels(attrs["features"])


def swiglu_params(attrs: Attrs, x: Tensor) -> tuple[ParamSpec, ...]:
    """Two matrices, without biases, as in Llama."""
    shape, fans = (attrs["features"], x.channels), {"fan_in": x.channels, "fan_out": attrs["features"]}
    return tuple(ParamSpec(name, shape, "weight", **fans) for name in ("gate.weight", "up.weight"))


def swiglu_macs(attrs: Attrs, x: Tensor) -> int:
    """2 * D * F for each vector or token."""
    return 2 * x.size * int(attrs["features"])


def swiglu_forward(x: Array, gate_weight: Array, up_weight: Array) -> tuple[Array, Saved]:
    """x (N, ..., D), weights (F, D) -> y (N, ..., F) = silu(x gate^T) * (x up^T), silu(g) = g * sigmoid(g) (Shazeer
    2020, eq. 6, before its last matrix)."""
    gate, up = np.matmul(x, gate_weight.T), np.matmul(x, up_weight.T)
    s = sigmoid(gate)
    return gate * s * up, (x, gate, up, s, gate_weight, up_weight)


def swiglu_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, ..., F) -> dx (N, ..., D), by dup = dy * silu(g), dgate = dy * up * s * (1 + g * (1 - s)), s =
    sigmoid(g)."""
    x, gate, up, s, gate_weight, up_weight = saved
    dup, dgate = dy * (gate * s), dy * up * s * (1 + gate * (1 - s))
    rows, dup_rows, dgate_rows = (array.reshape(-1, array.shape[-1]) for array in (x, dup, dgate))
    grads = {"gate.weight": np.matmul(dgate_rows.T, rows), "up.weight": np.matmul(dup_rows.T, rows)}
    return np.matmul(dgate, gate_weight) + np.matmul(dup, up_weight), grads


SWIGLU = '''class SwiGLU(nn.Module):
    """silu(gate(x)) * up(x), the hidden layer of Llama's feed-forward part (Shazeer 2020)."""

    def __init__(self, features, hidden):
        super().__init__()
        self.gate = nn.Linear(features, hidden, bias=False)
        self.up = nn.Linear(features, hidden, bias=False)

    def forward(self, x):
        return F.silu(self.gate(x)) * self.up(x)'''


def swiglu_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.swiglu import SwiGLU

    return (StageCall(SwiGLU, (x.sizes, attrs["features"])),)


LAYER = LayerDef(
    name="swiglu",
    summary="a hidden layer of F features with a gate",
    attrs=(Attr("features", "int", REQUIRED, positional=True, minimum=1, label="the features"),),
    shape=swiglu_shape,
    params=swiglu_params,
    macs=swiglu_macs,
    forward=swiglu_forward,
    backward=swiglu_backward,
    reads=everywhere,
    torch=lambda attrs, x: call_text("SwiGLU", x.channels, attrs["features"]),
    torch_helpers=(SWIGLU,),
    known_as=("llamamlp", "gatedmlp", "gated_silu"),
    stages=swiglu_stages,
    by_token=True,
)
