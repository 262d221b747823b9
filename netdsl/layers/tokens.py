"""`tokens`: a map as a sequence of its positions."""

from netdsl.graph.ir import show_shape
from netdsl.ground.diagnostics import SpecProblem
from netdsl.layers.contract import LayerDef, StageCall, require_rank
from netdsl.stages.moved import Moved


def tokens_shape(attrs, x):
    """(C, H, W) -> (H * W, C)."""
    if len(x) == 2:
        message = f"`tokens` needs a map (CxHxW), but {show_shape(x)} arrives (tokens)"
        raise SpecProblem("N202", message, help=("leave it out: these are tokens",))
    require_rank(x, 3, "`tokens`", f"`reshape 1x{x[0]}` makes one token of a vector")
    return (x[1] * x[2], x[0])


def tokens_forward(x):
    """x (N, C, H, W) -> y (N, H*W, C), row by row (Dosovitskiy et al. 2021)."""
    return x.reshape(*x.shape[:2], -1).transpose(0, 2, 1), x.shape


def tokens_backward(dy, saved):
    """The tokens back at their positions."""
    return dy.transpose(0, 2, 1).reshape(saved), {}


LAYER = LayerDef(
    name="tokens",
    summary="a map as a sequence of its positions",
    shape=tokens_shape,
    forward=tokens_forward,
    backward=tokens_backward,
    torch=None,
    torch_call=lambda attrs, x: "{x}.flatten(2).transpose(1, 2)",
    torch_transposes=True,
    stages=lambda attrs, x: (StageCall(Moved, (x, tokens_shape(attrs, x), (*x[1:], "n", x[0]), (2, 0, 1, 3))),),
)
