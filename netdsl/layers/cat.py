"""`cat`: its branches behind each other: the channels of maps, the features of tokens and vectors."""

import numpy as np

from netdsl.graph.ir import show_shape
from netdsl.ground.diagnostics import SpecProblem
from netdsl.layers.contract import LayerDef, StageCall
from netdsl.stages.cat import Cat


def cat_shape(attrs, *inputs):
    """(C1, H, W), (C2, H, W), ... -> (C1 + C2 + ..., H, W); for tokens and vectors the features D are added up."""
    axis = 1 if len(inputs[0]) == 2 else 0
    rest = [(len(x), *(size for i, size in enumerate(x) if i != axis)) for x in inputs]
    if any(sizes != rest[0] for sizes in rest):
        shapes = " and ".join(dict.fromkeys(show_shape(x) for x in inputs))
        equal = "heights and widths" if len(inputs[0]) == 3 else "numbers of axes and of tokens"
        raise SpecProblem("N204", f"`cat` needs equal {equal}, but its branches give {shapes}", help=_help(inputs))
    total = sum(x[axis] for x in inputs)
    return tuple(total if i == axis else size for i, size in enumerate(inputs[0]))


def _help(inputs):
    if any(len(x) != len(inputs[0]) for x in inputs):
        return ("give every branch a map, tokens or a vector; `flatten` makes a vector of each",)
    if any(len(x) != 3 for x in inputs):
        return ()
    return ("give every branch the same strides, and padding that keeps the size: `p1` for a 3x3 kernel",)


def cat_forward(*inputs):
    """y has the channels (axis 1) of all inputs; of tokens (N, T, D), the features (axis 2)."""
    axis = 2 if inputs[0].ndim == 3 else 1
    return np.concatenate(inputs, axis), (axis, [x.shape[axis] for x in inputs])


def cat_backward(dy, saved):
    """Each input's dx is its own part of dy."""
    axis, sizes = saved
    return tuple(np.split(dy, np.cumsum(sizes[:-1]), axis)), {}


def cat_torch(attrs, *inputs):
    names = ", ".join(f"{{{i}}}" for i in range(len(inputs)))
    return f"torch.cat([{names}], dim={2 if len(inputs[0]) == 2 else 1})"


LAYER = LayerDef(
    name="cat",
    summary="its branches' channels behind each other",
    num_inputs=None,
    shape=cat_shape,
    forward=cat_forward,
    backward=cat_backward,
    torch=None,
    torch_call=cat_torch,
    known_as=("concat", "concatenate"),
    stages=lambda attrs, *xs: (StageCall(Cat, xs),),
)
