"""`add`: the sum of its branches, element by element."""

from __future__ import annotations

from netdsl.graph.types import Tensor
from netdsl.kernels.arrays import Array, Grads, Saved
from netdsl.layers.contract import Attrs, LayerDef, StageCall, equal_shapes
from netdsl.layers.rules.places import same_place


def add_shape(attrs: Attrs, *inputs: Tensor) -> Tensor:
    """The one type of all inputs."""
    return equal_shapes("add", inputs)


def add_forward(*inputs: Array) -> tuple[Array, Saved]:
    """y = x1 + x2 + ..., all of one shape."""
    y = inputs[0]
    for x in inputs[1:]:
        y = y + x
    return y, len(inputs)


def add_backward(dy: Array, saved: Saved) -> tuple[tuple[Array, ...], Grads]:
    """dx = dy for every input."""
    return (dy,) * saved, {}


def add_stages(attrs: Attrs, *inputs: Tensor) -> tuple[StageCall, ...]:
    from netdsl.stages.add import Add

    return (StageCall(Add, (inputs[0].sizes,)),)


LAYER = LayerDef(
    name="add",
    summary="the sum of its branches",
    num_inputs=None,
    shape=add_shape,
    forward=add_forward,
    backward=add_backward,
    reads=same_place,
    torch=None,
    torch_call=lambda attrs, *inputs: " + ".join(f"{{{i}}}" for i in range(len(inputs))),
    known_as=("sum",),
    stages=add_stages,
    by_token=True,
)
