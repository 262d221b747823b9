"""The contestant that JAX runs: forward, loss, gradients and optimizer as one compiled function; it loads JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from netdsl.analysis.loss import logits_layers, logits_value
from netdsl.bench.contestants import Job, LeftOut, Show
from netdsl.bench.jax_layers import LAYERS, Array, Own, along
from netdsl.bench.jax_learning import LOSSES, Moments, first_moments, updated
from netdsl.graph.ir import Graph, Node
from netdsl.kernels.weights import read_weights
from netdsl.pipeline import Net

Arrays = Mapping[str, Array]


def values_of(
    graph: Graph, count: int, params: Arrays, buffers: Arrays, x: Array, key: Array | None
) -> tuple[list[Array], dict[str, Array]]:
    """x (N, *input) -> it and what the first `count` layers make, and the buffers that moved. key: in training."""
    given = graph.inputs[0]
    if given.mean:
        mean, std = (along(jnp.array(numbers), x, given.type.channel_axis) for numbers in (given.mean, given.std))
        x = (x - mean) / std
    values, moved = [x], dict[str, Array]()
    for index, node in enumerate(graph.nodes[:count]):
        own = own_of(node, params, {**buffers, **moved})
        own.training, own.key = key is not None, None if key is None else jax.random.fold_in(key, index)
        values.append(LAYERS[node.op](own, *(values[i] for i in node.inputs)))
        moved |= {f"{node.owner}.{name}": array for name, array in own.moved.items()}
    return values, moved


def own_of(node: Node, params: Arrays, buffers: Arrays) -> Own:
    """What a layer has, by the names of its kernel's arguments."""
    held = {spec.argument: params[spec.full_name(node.owner)] for spec in node.params}
    kept = {spec.argument: buffers[spec.full_name(node.owner)] for spec in node.buffers}
    return Own(node.attrs, held, kept)


def why_left_out(net: Net) -> str | None:
    """What JAX has no rule for here; None where it has all."""
    missing = sorted({node.op for node in net.graph.nodes} - LAYERS.keys())
    recipe = net.recipe
    if missing:
        return f"it has no {' and no '.join(f'`{op}`' for op in missing)}"
    if recipe.loss not in LOSSES or recipe.loss_options.keys() - {"smooth"}:
        return "it has no such loss"
    if recipe.optimizer == "rmsprop" and recipe.options.get("momentum"):
        return "its `rmsprop` has no momentum"
    return None


class Jax:
    """The graph in jax.numpy, through jax.jit."""

    def __init__(self, job: Job) -> None:
        why = why_left_out(job.net)
        if why:
            raise LeftOut(why)
        self.job, self.net = job, job.net
        self.key = jax.random.key(job.seed)

    def build(self) -> None:
        graph, recipe = self.net.graph, self.net.recipe
        self.params = {name: jnp.zeros(spec.shape) for name, spec in graph.param_specs()}
        self.buffers = {name: jnp.zeros(spec.shape) for name, spec in graph.buffer_specs()}
        self.moments = first_moments(recipe, self.params)
        self.steps = 0
        self._train = jax.jit(self._step, donate_argnums=(0, 1, 2))
        self._infer = jax.jit(self._forward)

    def placed(self, x: np.ndarray) -> Array:
        return jax.device_put(x)

    def load(self, path: str) -> None:
        expected = {name: np.asarray(array) for name, array in {**self.params, **self.buffers}.items()}
        arrays = {name: jnp.array(array) for name, array in read_weights(path, expected).items()}
        self.params, self.buffers = ({name: arrays[name] for name in kept} for kept in (self.params, self.buffers))

    def training(self) -> Callable[[Array, np.ndarray], float]:
        def step(x: Array, y: np.ndarray) -> float:
            self.steps += 1
            held = self.params, self.buffers, self.moments
            made = jax.block_until_ready(self._train(*held, np.float32(self.steps), x, y))
            self.params, self.buffers, self.moments, loss = made
            return float(loss)

        return step

    def inference(self) -> Callable[[Array], Array]:
        return lambda x: self._infer(self.params, self.buffers, x).block_until_ready()

    def as_array(self, output: Array) -> np.ndarray:
        return np.asarray(output)

    def show_numbers(self, x: Array, y: np.ndarray, show: Show) -> None:
        """Gradients are left out: they never leave the compiled step."""
        kept = [array for arrays in self.moments.values() for array in arrays]
        for kind, arrays in (("params", self.params.values()), ("moments", kept)):
            for array in arrays:
                show(kind, np.asarray(array))

    def _forward(self, params: Arrays, buffers: Arrays, x: Array) -> Array:
        graph = self.net.graph
        return values_of(graph, len(graph.nodes), params, buffers, x, None)[0][graph.outputs[0].value]

    def _loss(self, params: Arrays, buffers: Arrays, key: Array, x: Array, y: Array) -> tuple[Array, Any]:
        """The loss, and with it the loss again and the buffers that moved."""
        graph, recipe = self.net.graph, self.net.recipe
        values, moved = values_of(graph, logits_layers(graph, recipe.loss), params, buffers, x, key)
        loss = LOSSES[recipe.loss](values[logits_value(graph, recipe.loss)], y, **recipe.loss_options)
        return loss, (loss, moved)

    def _step(
        self, params: Arrays, buffers: Arrays, moments: Moments, step: Array, x: Array, y: Array
    ) -> tuple[Arrays, Arrays, Moments, Array]:
        """One step of training, counted from 1 -> params, buffers, moments, loss."""
        key = jax.random.fold_in(self.key, step.astype(int))
        grads, (loss, moved) = jax.grad(self._loss, has_aux=True)(params, buffers, key, x, y)
        params, moments = updated(self.net.recipe, params, grads, moments, step)
        return params, {**buffers, **moved}, moments, loss
