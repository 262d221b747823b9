"""A graph as live layer objects: every activation and gradient can be looked at.

model = net.build(seed=0)
model.forward(x)
model.layers[0].output      # what the first layer made of it
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from netdsl.analysis.loss import judges_tokens, logits_layers, logits_value, loss_of
from netdsl.analysis.starts import Start, buffer_starts, param_starts
from netdsl.analysis.summary import Summary, with_picture
from netdsl.graph.ir import Graph, Node, ParamSpec
from netdsl.graph.recipe import Recipe, optimizer_step
from netdsl.ground.markup import heading, paragraph
from netdsl.kernels.ids import check_ids
from netdsl.kernels.normalization import normalize, normalize_backward
from netdsl.layers import layer_at
from netdsl.targets.numpy.model import StepByStep, input_names
from netdsl.targets.numpy.named_network import NamedNetwork
from netdsl.targets.numpy.network import Network
from netdsl.targets.text.arguments import forward_arguments


class Layer:
    """One layer: `forward`, `backward`, its `params`, `buffers`, `grads`, and the last `inputs` and `output`.

    params and buffers are the network's own arrays under their short names.
    """

    def __init__(self, node: Node, network: LayerNetwork) -> None:
        self.node, self.name, self.op = node, node.name, node.op
        self._network = network
        self._definition = layer_at(node)
        self._arguments = forward_arguments(node)
        self.grads: dict[str, np.ndarray] = {}
        self.inputs: tuple[np.ndarray, ...] = ()
        self.output: np.ndarray | None = None
        self.saved: object = None

    def __repr__(self) -> str:
        return f"<{self.op} {self.name}: {self.node.shape}>"

    @property
    def params(self) -> dict[str, np.ndarray]:
        return {p.name: self._network.params[p.full_name(self.node.owner)] for p in self.node.params}

    @property
    def buffers(self) -> dict[str, np.ndarray]:
        return {b.name: self._network.buffers[b.full_name(self.node.owner)] for b in self.node.buffers}

    def forward(self, *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        """(N, *input shape) of each input -> (N, *shape)."""
        sources = {
            "param": {p.argument: self._network.params[p.full_name(self.node.owner)] for p in self.node.params},
            "buffer": {b.argument: self._network.buffers[b.full_name(self.node.owner)] for b in self.node.buffers},
            "attr": self.node.attrs,
            "training": {"training": training},
            "rng": {"rng": self._network.rng},
        }
        arguments = {name: sources[source][name] if source != "absent" else None for name, source in self._arguments}
        self.inputs = inputs
        self.output, self.saved = self._definition.forward(*inputs, **arguments)
        return self.output

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray, ...]:
        """The gradient by the output -> the gradient by each input; those by the params go to `grads`."""
        dx, self.grads = self._definition.backward(dy, self.saved)
        return dx if isinstance(dx, tuple) else (dx,)


class LayerNetwork(StepByStep, Network):
    """A network of `Layer` objects, in the order of the spec. The two classes below say what it takes and gives."""

    def __init__(self, graph: Graph, recipe: Recipe, seed: int = 0, dtype: type = np.float32) -> None:
        rng = np.random.default_rng(seed)
        self.graph, self.recipe, self.loss = graph, recipe, loss_of(graph, recipe)
        self.dtype = np.dtype(dtype)
        starts = param_starts(graph, recipe.init)
        self.params = {name: initial_array(spec, start, rng, self.dtype) for name, spec, start in starts}
        self.buffers = {name: initial_array(spec, start, rng, self.dtype) for name, spec, start in buffer_starts(graph)}
        self.rng = rng
        self.layers = [Layer(node, self) for node in graph.nodes]
        self.learning_rate = recipe.options["lr"]
        self._step, self.optimizer_state = optimizer_step(recipe), {}
        self._logits, self._count = logits_value(graph, recipe.loss), logits_layers(graph, recipe.loss)

    @property
    def input_names(self) -> tuple[str, ...]:
        """What the inputs are called; `x` where one has no name."""
        return input_names(self.graph)

    def layer(self, name: str) -> Layer:
        """The layer of that full name; raises KeyError."""
        layers = {layer.name: layer for layer in self.layers}
        return layers[name]

    def first_value(self, x: np.ndarray) -> np.ndarray:
        """x (N, *input_shape) -> what the first layers see: x normalised, where the spec says how."""
        return self._normalized([self.check_input(x)])[0]

    def _normalized(self, given: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What the first layers see of each input."""
        inputs = zip(given, self.graph.inputs, strict=True)
        return [normalize(x, one.mean, one.std, one.type.channel_axis) if one.mean else x for x, one in inputs]

    def _values(self, first: list[np.ndarray], count: int, training: bool) -> list[np.ndarray]:
        """Every value: the inputs, and what the first `count` layers make."""
        values = first
        for layer in self.layers[:count]:
            values.append(layer.forward(*(values[i] for i in layer.node.inputs), training=training))
        return values

    def _gradients(self, dlogits: np.ndarray) -> tuple[list[Any], dict[str, np.ndarray]]:
        """The gradient by what `logits` gave -> dx of each input, None of ids, {param name: gradient}; zeros where the
        loss does not depend on one. The gradients by a param that several layers use add up."""
        dvalues: dict[int, np.ndarray] = {self._logits: dlogits}
        grads: dict[str, np.ndarray] = {}
        for index in reversed(range(self._count)):
            layer = self.layers[index]
            dy = dvalues.pop(self.graph.value(index), None)
            if dy is None:  # nothing that the loss reads depends on it
                continue
            for value, dx in zip(layer.node.inputs, layer.backward(dy), strict=True):
                if dx is not None:  # ids have no gradient
                    dvalues[value] = dvalues[value] + dx if value in dvalues else dx
            for spec in layer.node.params:
                name, grad = spec.full_name(layer.node.owner), layer.grads[spec.name]
                grads[name] = grads[name] + grad if name in grads else grad
        dxs: list[Any] = []
        for value, given in enumerate(self.graph.inputs):
            if given.type.is_ids:
                dxs.append(None)
                continue
            dx = dvalues[value] if value in dvalues else np.zeros((len(dlogits), *given.type.sizes), self.dtype)
            dxs.append(normalize_backward(dx, given.std, given.type.channel_axis) if given.std else dx)
        named = self.params.items()
        return dxs, {name: grads[name] if name in grads else np.zeros_like(array) for name, array in named}

    def update(self, grads: dict[str, np.ndarray], lr: float) -> None:
        """One step of the spec's optimizer, in place."""
        self._step(self.params, grads, self.optimizer_state, lr)

    def _repr_html_(self) -> str:
        title = f"{self.graph.name}: {len(self.layers)} layer objects, {self.graph.num_params:,} params, {self.dtype}"
        note = "each has params, and after a batch inputs, output and grads: model.layer(name).output"
        facts = heading(title) + paragraph(note) + Summary(self.graph, Recipe()).table_html()
        return with_picture(self.graph, facts)


class PlainLayerNetwork(LayerNetwork):
    """A network of `Layer` objects that takes one array and gives one."""

    def __init__(self, graph: Graph, recipe: Recipe, seed: int = 0, dtype: type = np.float32) -> None:
        super().__init__(graph, recipe, seed, dtype)
        self.input_shape = graph.input_shape

    def check_input(self, x: np.ndarray) -> np.ndarray:
        """x (N, *input_shape) -> the same in the network's dtype, ids as they are. Raises ValueError."""
        given = self.graph.input_type
        return check_ids(x, given.length, given.limit) if given.is_ids else super().check_input(x)

    def logits(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """x (N, *input_shape) -> what the loss reads: the output, or what enters a softmax that it contains."""
        return self._values([self.first_value(x)], self._count, training)[self._logits]

    def predict(self, x: np.ndarray, batch: int = 256) -> np.ndarray:
        """x (N, *input_shape) -> the class with the largest logit, (N, ...); of tokens the classes are last."""
        if not judges_tokens(self.graph, self.recipe.loss):
            return super().predict(x, batch)
        x = self.check_input(x)
        return np.concatenate([self.logits(x[i : i + batch]).argmax(axis=2) for i in range(0, len(x), batch)])

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """x (N, *input_shape) -> the network's output."""
        logits = self.logits(x, training)
        return (
            logits if self._count == len(self.layers) else self.layers[self._count].forward(logits, training=training)
        )

    def backward(self, dlogits: np.ndarray) -> tuple[Any, dict[str, np.ndarray]]:
        """The gradient by what `logits` gave -> dx, None of ids, {param name: gradient}, for the last batch."""
        (dx,), grads = self._gradients(dlogits)
        return dx, grads


class NamedLayerNetwork(NamedNetwork, LayerNetwork):
    """A network of `Layer` objects with several inputs or outputs, or with one that has a name."""

    def __init__(self, graph: Graph, recipe: Recipe, seed: int = 0, dtype: type = np.float32) -> None:
        super().__init__(graph, recipe, seed, dtype)
        self.input_shapes = {given.name or "x": given.type.sizes for given in graph.inputs}

    def check_named(self, name: str, x: np.ndarray) -> np.ndarray:
        """x (N, *shape) of the input of that name -> the same in the network's dtype, ids as they are. Raises
        ValueError."""
        given = next(one.type for one in self.graph.inputs if one.name in (name, ""))
        return check_ids(x, given.length, given.limit) if given.is_ids else super().check_named(name, x)

    def _run(self, given: Sequence[np.ndarray], training: bool) -> list[np.ndarray]:
        return self._values(self._normalized(self.check_inputs(*given)), self._count, training)

    def logits(self, *given: np.ndarray, training: bool = False) -> np.ndarray:
        """x (N, *shape) of each input -> what the loss reads: an output, or what enters a softmax that it contains."""
        return self._run(given, training)[self._logits]

    def forward(self, *given: np.ndarray, training: bool = False) -> np.ndarray | dict[str, np.ndarray]:
        """x (N, *shape) of each input -> the output, or a dict of the outputs if they have names."""
        values = self._run(given, training)
        if self.graph.gives_names:
            return {output.name: values[output.value] for output in self.graph.outputs}
        last = self.layers[self._count :][:1]
        return last[0].forward(values[self._logits], training=training) if last else values[self._logits]

    def backward(self, dlogits: np.ndarray) -> tuple[np.ndarray | tuple[np.ndarray, ...], dict[str, np.ndarray]]:
        """The gradient by what `logits` gave -> (dx of each input), {param name: gradient}, for the last batch; of an
        only input without a name dx itself."""
        dxs, grads = self._gradients(dlogits)
        return tuple(dxs) if self.graph.takes_names else dxs[0], grads


def layer_network(graph: Graph, recipe: Recipe, seed: int = 0, dtype: type = np.float32) -> LayerNetwork:
    """A network of `Layer` objects with fresh weights."""
    return (PlainLayerNetwork if graph.is_plain else NamedLayerNetwork)(graph, recipe, seed, dtype)


def initial_array(spec: ParamSpec, start: Start, rng: np.random.Generator, dtype: np.dtype[Any]) -> np.ndarray:
    """A param or buffer as it starts."""
    if start.kernel is None:
        return np.full(spec.shape, start.value, dtype)
    return start.kernel(rng, spec.shape, *start.numbers, dtype)


def first_nonfinite(network: LayerNetwork, x: np.ndarray, training: bool = True) -> str | None:
    """The first layer with a param or an output that is not finite when x goes forward; None if there is none."""
    with np.errstate(all="ignore"):
        network.forward(x, training)
    for layer in network.layers:
        outputs = [] if layer.output is None else [layer.output]  # None: it reads a softmax that only the loss has
        if not all(np.isfinite(array).all() for array in (*layer.params.values(), *outputs)):
            return layer.name
    return None
