"""`mul`: the product of its branches, element by element; one may be a factor for each channel, or each position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from netdsl.graph.types import Tensor, map_of
from netdsl.ground.diagnostics import SpecProblem
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import Attrs, LayerDef, StageCall
from netdsl.layers.rules.places import same_place


def _beside(x: Tensor, others: Sequence[Tensor]) -> Tensor:
    """A vector (C,) beside maps counts as one of size 1 along each axis of space, Cx1x1; anything else as itself."""
    beside = next((other for other in others if other.is_map), None) if x.is_vector else None
    return x if beside is None else map_of(x.channels, *(1 for _ in beside.space))


def mul_shape(attrs: Attrs, *inputs: Tensor) -> Tensor:
    """CxHxW beside Cx1x1, 1xHxW, (C,) (squeeze and excitation) or CxHxW -> CxHxW; other axes of space alike."""
    factors = [_beside(x, inputs) for x in inputs]
    first = factors[0]
    if all(x.layout == first.layout and x.axes == first.axes for x in factors):
        largest = tuple(map(max, *(x.sizes for x in factors)))
        if all(size in (1, most) for x in factors for size, most in zip(x.sizes, largest, strict=True)):
            return replace(first, sizes=largest)
    listed = " and ".join(dict.fromkeys(x.show() for x in inputs))
    c, *space = list(next((x for x in inputs if x.is_map), map_of(1, 1, 1)).letters.upper())
    channels, places = ("x".join(sizes) for sizes in ((c, *"1" * len(space)), ("1", *space)))
    whole = "x".join([c, *space])
    help = (f"equal shapes fit, and for a map {whole} also {channels}, {places} and a vector C",)
    raise SpecProblem("N204", f"`mul` cannot multiply {listed}", help=help)


def mul_forward(*inputs: Array) -> tuple[Array, Saved]:
    """y = x1 * x2 * ..., axes of size 1 repeated; a vector (N, C) beside maps counts as (N, C, 1, ...)."""
    rank = max(x.ndim for x in inputs)
    factors = [x.reshape(*x.shape, *[1] * (rank - x.ndim)) for x in inputs]
    y = factors[0]
    for x in factors[1:]:
        y = y * x
    return y, (factors, [x.shape for x in inputs])


def mul_backward(dy: Array, saved: Saved) -> tuple[tuple[Array, ...], Grads]:
    """dy (N, ...) -> dx for each input, in its shape.

    dx = dy * (the product of the others), summed over the axes along which x was repeated.
    """
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


def mul_torch(attrs: Attrs, *inputs: Tensor) -> str:
    repeated = ["".join(", None" for _ in _beside(x, inputs).space) if x.is_vector else "" for x in inputs]
    return " * ".join(f"{{{i}}}[:, :{more}]" if more else f"{{{i}}}" for i, more in enumerate(repeated))


def mul_stages(attrs: Attrs, *inputs: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.mul import Mul

    whole = mul_shape(attrs, *inputs)
    others = [x.space for x in inputs if x.is_map and x.space != whole.space]
    if others and not whole.is_image and any(prod(space) > 1 for space in others):
        return ()  # of a volume a stage sees rows of slices, which cannot be repeated for each slice alone
    return (StageCall(Mul, tuple(x.sizes for x in inputs)),)


LAYER = LayerDef(
    name="mul",
    summary="the product of its branches",
    num_inputs=None,
    shape=mul_shape,
    forward=mul_forward,
    backward=mul_backward,
    reads=same_place,
    torch=None,
    torch_call=mul_torch,
    known_as=("multiply",),
    stages=mul_stages,
)
