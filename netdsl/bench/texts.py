"""The contestants of `netdsl bench --generate`, which go on with a text, and what their texts are compared by.

A step of inference is a text: a prompt of one number, then so many as the job says, each the one that the network holds
for the likeliest. `WRITERS` lists the contestants; importing this module imports no contestant's library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from netdsl.analysis.writing import goes_on, why_not
from netdsl.bench.contestants import Entry, Job, NumpyModule
from netdsl.bench.report import OURS
from netdsl.graph.ir import Graph
from netdsl.ground.diagnostics import UserError
from netdsl.layers import layer_at
from netdsl.pipeline import Net

CACHED_TORCH = ("torch_cached", "torch_cells")
"""The PyTorch contestants that keep what they have seen: the ratio is of the faster one."""

WRITERS = (
    Entry(OURS, "netdsl.bench.texts:NumpyWriter"),
    Entry("numpy_uncached", "netdsl.bench.texts:UncachedNumpyWriter"),
    Entry(CACHED_TORCH[0], "netdsl.bench.torch_texts:CachedWriter", ("torch",)),
    Entry(CACHED_TORCH[1], "netdsl.bench.torch_texts:CellWriter", ("torch",)),
    Entry("torch_uncached", "netdsl.bench.torch_texts:UncachedWriter", ("torch",)),
)


def writers_of(net: Net) -> list[Entry]:
    """The contestants that go on with a text of this network; `torch_cells` where it has recurrent layers. Raises
    UserError for a network that cannot."""
    why = why_not(net.graph, net.recipe.loss)
    if why:
        raise UserError(f"`{net.name}` cannot go on with a text: {why}")
    return [entry for entry in WRITERS if entry.name != CACHED_TORCH[1] or is_recurrent(net.graph)]


def is_recurrent(graph: Graph) -> bool:
    """Whether a layer takes the tokens one after another."""
    return any(goes_on(node) and layer_at(node).by_step for node in graph.nodes)


def vary(params: Mapping[str, np.ndarray], seed: int = 0) -> None:
    """Draws matrices anew, larger than a network's first weights: of those many a network writes one number for ever,
    which says little of whether all contestants write the same."""
    rng = np.random.default_rng(seed)
    for array in params.values():
        if len(array) < array.size:
            array[...] = rng.standard_normal(array.shape) * (3 * array.shape[-1] ** -0.5)


def first_difference(text: np.ndarray, reference: np.ndarray) -> str:
    """Where two texts differ: `number 3 of 64 is 7, and 9`; "" where they are the same."""
    if text.shape != reference.shape:
        return f"{text.size} and {reference.size} numbers"
    (places,) = np.nonzero(text != reference)
    if not places.size:
        return ""
    at = int(places[0])
    return f"number {at + 1} of {text.size} is {text[at]}, and {reference[at]}"


class NumpyWriter(NumpyModule):
    """The emitted NumPy module with what its layers keep."""

    is_cached = True

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.writes: dict[str, Any] = {"n": job.tokens, "temperature": 0.0, "cache": self.is_cached}

    def inference(self) -> Callable[[Any], Any]:
        model: Any = self.model  # has `generate` since its network can write
        return lambda x: model.generate(x[0, :1], **self.writes)


class UncachedNumpyWriter(NumpyWriter):
    """The emitted NumPy module, which makes everything again for each number."""

    is_cached = False
