"""What moves a network, as numbers: receptive fields, and gradients by the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from netdsl.analysis.loss import logits_value
from netdsl.analysis.receptive_field import ReceptiveField, receptive_field, windowed_layers
from netdsl.training.loop.failures import copy_of
from netdsl.training.pictures.inspection import affordable, answers, fixed_samples, forward_to

if TYPE_CHECKING:
    from netdsl.graph.ir import Graph
    from netdsl.targets.live.interpreter import LayerNetwork
    from netdsl.training.runs.views import RunView


def receptive_fields(graph: Graph) -> tuple[tuple[int, ReceptiveField], ...]:
    """The fields of the units at the centre of the convolutions and poolings, with the node's index, in order."""
    fields = [(index, receptive_field(graph, index)) for index in windowed_layers(graph)]
    return tuple((index, field) for index, field in fields if field is not None)


def growing_fields(fields: Sequence[tuple[int, ReceptiveField]]) -> tuple[tuple[int, ReceptiveField], ...]:
    """The fields that are larger than every one before them."""
    growing: list[tuple[int, ReceptiveField]] = []
    for index, field in fields:
        if not growing or np.prod(field.size) > np.prod(growing[-1][1].size):
            growing.append((index, field))
    return tuple(growing)


def covered_steps(graph: Graph, name: str) -> tuple[float, float] | None:
    """Where the map of a layer begins and ends on the time of the signal that the network takes, in steps: each of its
    places stands at the middle of what it sees. None where that cannot be said, since all places see as much."""
    index = next(i for i, node in enumerate(graph.nodes) if node.name == name)
    takes, gives = graph.inputs[0].type, graph.nodes[index].type
    if takes.axes != 1 or gives.axes != 1 or gives.space[0] < 3:
        return None
    at = gives.space[0] // 2
    before, here = (receptive_field(graph, index, (place,)) for place in (at - 1, at))
    if before is None or here is None:
        return None
    (first, last), step = here.spans[0], here.spans[0][0] - before.spans[0][0]
    if step == 0 or any(field.spans[0][1] - field.spans[0][0] + 1 < field.size[0] for field in (before, here)):
        return None
    middle = (first + last + 1) / 2
    start, end = middle - (at + 0.5) * step, middle + (gives.space[0] - at - 0.5) * step
    return max(0.0, start), min(float(takes.space[0]), end)


@dataclass(frozen=True)
class EffectiveField:
    """heat (*space): how much each place of the input moves the unit of `field`: |d unit / d place|, the mean over
    samples and summed over channels, divided by its maximum (Luo et al. 2016). The unit is the sum of the channels at
    that place."""

    field: ReceptiveField
    heat: np.ndarray


def effective_field(network: LayerNetwork, index: int, field: ReceptiveField) -> EffectiveField:
    """The effective field of one unit; `forward_to` has run at least to its node."""
    dy = np.zeros_like(network.layers[index].output)
    at: tuple[slice | int, ...] = (slice(None), slice(None), *field.unit)
    dy[at] = 1
    heat = np.abs(gradient_by_input(network, index, dy)).sum(axis=1).mean(axis=0)
    return EffectiveField(field, heat / (heat.max() or 1))


def gradient_by_input(network: LayerNetwork, index: int, dy: np.ndarray) -> np.ndarray:
    """dy, the gradient by the output of layer `index` -> the one by the input, for the batch that went forward last."""
    dvalues = {network.graph.value(index): dy}
    for i in range(index, -1, -1):
        made, layer = network.graph.value(i), network.layers[i]
        if made in dvalues:
            for value, dx in zip(layer.node.inputs, layer.backward(dvalues.pop(made)), strict=True):
                dvalues[value] = dvalues[value] + dx if value in dvalues else dx
    return dvalues[0]


@dataclass(frozen=True)
class Saliency:
    """heat (C, *space), 0 to 1: how much each number of a sample moves what the network says of it."""

    sample: int
    said: int
    probability: float
    heat: np.ndarray


def saliencies(view: RunView, rows: np.ndarray) -> list[Saliency]:
    """The saliency of the test samples with these indices: |d logit / d x| of the class that the network says, divided
    by its maximum (Simonyan et al. 2014); of one logit for two classes that one."""
    graph, network = view.net.graph, copy_of(view.net, view.model)
    x, given = view.dataset.normalized(view.dataset.x_test[rows]), answers(view, rows)
    value = logits_value(graph, view.net.recipe.loss)
    index = graph.maker(value)
    assert index is not None, f"{view.net.name} gives its input as logits"
    forward_to(network, index, x)
    logits = network.layers[index].output
    assert logits is not None, graph.nodes[index].name
    dy = np.zeros_like(logits)
    np.put_along_axis(dy, np.minimum(given.said, logits.shape[1] - 1)[:, None], 1, axis=1)
    heats = np.abs(gradient_by_input(network, index, dy))
    parts = zip(rows, given.said, given.p.max(axis=1), heats, strict=True)
    return [Saliency(int(row), int(said), float(p), heat / (heat.max() or 1)) for row, said, p, heat in parts]


def effective_fields(
    view: RunView, wanted: Sequence[tuple[int, ReceptiveField]], most: int = 16
) -> list[EffectiveField]:
    """The effective fields of these nodes, over `most` test images or as many as are affordable."""
    data, graph = view.dataset, view.net.graph
    rows = fixed_samples(len(data.x_test), affordable(graph, most), view.net.recipe.seed)
    network = copy_of(view.net, view.model)
    forward_to(network, max(index for index, _ in wanted), data.normalized(data.x_test[rows]))
    return [effective_field(network, index, field) for index, field in wanted]
