"""Why a training step failed: which layer is the first whose numbers are not finite, and in which batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netdsl.ground.diagnostics import TrainingFailed
from netdsl.ground.files import write_atomic
from netdsl.targets.live.interpreter import LayerNetwork, first_nonfinite
from netdsl.training.data.feed import Batch

if TYPE_CHECKING:
    from netdsl.pipeline import Net
    from netdsl.targets.contract import Model


def all_finite(*arrays: np.ndarray) -> bool:
    """Whether every number of every array is finite."""
    return all(np.isfinite(array).all() for array in arrays)


def step_failure(
    net: Net, model: Model, run: Path, batch: Batch, what: str, when: str, key: list[int], writes: bool
) -> TrainingFailed:
    """Repeats a step with layer objects, to name the layer, and writes failure.json, if this process writes.

    what: what is not finite, "the loss"; when: "in epoch 1, step 3"; key: the stream that fed its dropout.
    """
    network = copy_of(net, model)
    layer = bad_layer(network, batch.x, batch.y, key)
    with np.errstate(all="ignore"):
        loss, _ = network.loss(network.logits(batch.x, training=True), batch.y)
    text = sentence(when, what, layer)
    if layer is None and model.overflows_sooner and np.isfinite(loss):
        text = f"training failed {when}: {what} is not a finite number {model.overflows_sooner}"
    values = {"epoch": batch.epoch, "step": batch.step, "what": what, "layer": layer, "samples": batch.rows.tolist()}
    if writes:
        write_atomic(run / "failure.json", json.dumps(values) + "\n")
    return TrainingFailed(f"{text}; the batch's samples are listed in {run / 'failure.json'}")


def sentence(when: str, what: str, layer: str | None) -> str:
    """The message: when it failed, what is not finite and where that begins."""
    where = f"it begins in layer `{layer}`" if layer else "every layer is finite, the loss itself overflows"
    return f"training failed {when}: {what} is not a finite number; {where} (a smaller lr may help)"


def copy_of(net: Net, model: Model) -> LayerNetwork:
    """A network of layer objects with the model's params and buffers."""
    network = net.build(seed=0, dtype=model.dtype)
    for name, array in {**network.params, **network.buffers}.items():
        array[...] = model.params[name] if name in model.params else model.buffers[name]
    return network


def bad_layer(network: LayerNetwork, x: np.ndarray, y: np.ndarray, key: list[int]) -> str | None:
    """The first layer with a value that is not finite: on the way forward, or else on the way back."""
    network.rng = np.random.default_rng(key)
    layer = first_nonfinite(network, x)
    if layer is not None:
        return layer
    network.rng = np.random.default_rng(key)
    with np.errstate(all="ignore"):
        _, grads = network.loss_and_gradients(x, y)
    names = [name for name, grad in grads.items() if not np.isfinite(grad).all()]
    return names[-1].rpartition(".")[0] if names else None
