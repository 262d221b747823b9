"""`droppath`: leaves whole samples out of a branch at random in training (stochastic depth)."""

from __future__ import annotations

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import Attr, Attrs, LayerDef, StageCall, call_text
from netdsl.layers.rules.places import same_place


def droppath_forward(x: Array, p: float, training: bool, rng: np.random.Generator) -> tuple[Array, Saved]:
    """In training y = x * factor, factor (N, 1, ...) = 0 with probability p, else 1 / (1 - p) (Huang et al. 2016)."""
    if not training:
        return x, None
    factor = ((rng.random((len(x), *[1] * (x.ndim - 1)), np.float32) >= p) / (1 - p)).astype(x.dtype)
    return x * factor, factor


def droppath_backward(dy: Array, saved: Saved) -> tuple[Array, Grads]:
    """dy (N, ...) -> dx = dy * factor, factor (N, 1, ...)."""
    return dy if saved is None else dy * saved, {}


DROP_PATH = '''class DropPath(nn.Module):
    """Leaves whole samples out at random in training (stochastic depth, Huang et al. 2016)."""

    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training:
            return x
        kept = torch.rand(len(x), *[1] * (x.dim() - 1), device=x.device) >= self.p
        return x * kept.to(x.dtype) / (1 - self.p)'''


def droppath_stages(attrs: Attrs, x: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.dropout import Factor

    return (StageCall(Factor),)


LAYER = LayerDef(
    name="droppath",
    summary="leaves whole samples out of a branch at random in training",
    attrs=(Attr("p", "float", 0.5, positional=True, minimum=0, below=1, label="the probability"),),
    forward=droppath_forward,
    backward=droppath_backward,
    reads=same_place,
    torch=lambda attrs, x: call_text("DropPath", attrs["p"]),
    torch_helpers=(DROP_PATH,),
    known_as=("stochastic_depth",),
    idle={"p": 0},
    stages=droppath_stages,
)
