"""`cat`: its branches behind each other: the channels of maps, the features of tokens and vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netdsl.graph.types import Tensor
from netdsl.ground.diagnostics import SpecProblem
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import Attrs, LayerDef, StageCall, features_axis, made_alike, same_sizes
from netdsl.layers.rules.places import same_place

_SIZES = {1: "lengths", 2: "heights and widths", 3: "depths, heights and widths"}


def cat_shape(attrs: Attrs, *inputs: Tensor) -> Tensor:
    """(C1, *space), (C2, *space), ... -> (C1 + C2 + ..., *space); of tokens and vectors the features add up."""
    first = inputs[0]
    if any(x.layout != first.layout or x.with_channels(first.channels) != first for x in inputs):
        shapes = " and ".join(dict.fromkeys(x.show_type() for x in inputs))
        equal = _SIZES[first.axes] if first.is_map else "numbers of axes and of tokens"
        raise SpecProblem("N204", f"`cat` needs equal {equal}, but its branches give {shapes}", help=_help(inputs))
    return first.with_channels(sum(x.channels for x in inputs))


def _help(inputs: Sequence[Tensor]) -> tuple[str, ...]:
    first = inputs[0]
    unlike = next((x for x in inputs if x.layout != first.layout or x.axes != first.axes), None)
    if unlike is not None:
        return (made_alike(first, unlike),)
    return (f"give every branch {same_sizes(first)}",) if first.is_map else ()


def cat_forward(*inputs: Array, axis: int = 1) -> tuple[Array, Saved]:
    """y has the channels (axis 1) of all inputs; of tokens (N, T, D), the features (axis 2)."""
    begins = [sum(x.shape[axis] for x in inputs[:i]) for i in range(1, len(inputs))]  # of each but the first
    return np.concatenate(inputs, axis), (axis, begins)


def cat_backward(dy: Array, saved: Saved) -> tuple[tuple[Array, ...], Grads]:
    """Each input's dx is its own part of dy."""
    axis, begins = saved
    return tuple(np.split(dy, begins, axis)), {}


def cat_torch(attrs: Attrs, *inputs: Tensor) -> str:
    names = ", ".join(f"{{{i}}}" for i in range(len(inputs)))
    return f"torch.cat([{names}], dim={inputs[0].channel_axis})"


def cat_stages(attrs: Attrs, *inputs: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.cat import Cat

    return (StageCall(Cat, tuple(x.sizes for x in inputs)),)


LAYER = LayerDef(
    name="cat",
    summary="its branches' channels behind each other",
    num_inputs=None,
    resolve=features_axis,
    shape=cat_shape,
    forward=cat_forward,
    backward=cat_backward,
    reads=same_place,
    torch=None,
    torch_call=cat_torch,
    known_as=("concat", "concatenate"),
    stages=cat_stages,
)
