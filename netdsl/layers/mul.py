"""`mul`: the product of its branches, element by element; one may be a factor for each channel, or each position."""

import numpy as np

from netdsl.graph.ir import show_shape
from netdsl.ground.diagnostics import SpecProblem
from netdsl.layers.contract import LayerDef, StageCall
from netdsl.stages.mul import Mul


def _as_rank(x, rank):
    """A vector (C,) beside maps counts as Cx1x1."""
    return (*x, 1, 1) if len(x) == 1 and rank == 3 else x


def mul_shape(attrs, *inputs):
    """CxHxW beside Cx1x1, 1xHxW, (C,) (squeeze and excitation) or CxHxW -> CxHxW."""
    rank = max(len(x) for x in inputs)
    shapes = [_as_rank(x, rank) for x in inputs]
    for sizes in zip(*shapes, strict=False):
        if any(size not in (1, max(sizes)) for size in sizes):
            break
    else:
        if all(len(x) == rank for x in shapes):
            return tuple(max(sizes) for sizes in zip(*shapes, strict=True))
    listed = " and ".join(dict.fromkeys(show_shape(x) for x in inputs))
    help = ("equal shapes fit, and for a map CxHxW also Cx1x1, 1xHxW and a vector C",)
    raise SpecProblem("N204", f"`mul` cannot multiply {listed}", help=help)


def mul_forward(*inputs):
    """y = x1 * x2 * ..., axes of size 1 repeated; a vector (N, C) beside maps counts as (N, C, 1, 1)."""
    rank = max(x.ndim for x in inputs)
    factors = [x[:, :, None, None] if x.ndim == 2 and rank == 4 else x for x in inputs]
    y = factors[0]
    for x in factors[1:]:
        y = y * x
    return y, (factors, [x.shape for x in inputs])


def mul_backward(dy, saved):
    """dx = dy * (the product of the others), summed over the axes along which x was repeated."""
    factors, shapes = saved
    dxs = []
    for i, (factor, shape) in enumerate(zip(factors, shapes, strict=True)):
        dx = dy
        for j, other in enumerate(factors):
            if j != i:
                dx = dx * other
        repeated = tuple(a for a in range(dx.ndim) if factor.shape[a] == 1 and dx.shape[a] != 1)
        dxs.append(np.sum(dx, axis=repeated, keepdims=True).reshape(shape) if repeated else dx.reshape(shape))
    return tuple(dxs), {}


def mul_torch(attrs, *inputs):
    rank = max(len(x) for x in inputs)
    texts = [f"{{{i}}}[:, :, None, None]" if len(x) == 1 and rank == 3 else f"{{{i}}}" for i, x in enumerate(inputs)]
    return " * ".join(texts)


LAYER = LayerDef(
    name="mul",
    summary="the product of its branches",
    num_inputs=None,
    shape=mul_shape,
    forward=mul_forward,
    backward=mul_backward,
    torch=None,
    torch_call=mul_torch,
    known_as=("multiply",),
    stages=lambda attrs, *xs: (StageCall(Mul, xs),),
)
