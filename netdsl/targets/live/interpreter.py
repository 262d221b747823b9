"""A graph as live layer objects: every activation and gradient can be looked at.

model = net.build(seed=0)
model.forward(x)
model.layers[0].output      # what the first layer made of it
"""

from __future__ import annotations

from functools import partial

import numpy as np

from netdsl.analysis.loss import logits_layers, logits_value
from netdsl.analysis.summary import Summary, with_picture
from netdsl.graph.ir import Graph, Node, ParamSpec
from netdsl.graph.recipe import SCHEMES, Recipe, loss_kernel, optimizer_step
from netdsl.ground.markup import heading, paragraph
from netdsl.kernels.initial import normal
from netdsl.kernels.normalization import normalize, normalize_backward
from netdsl.layers import layer_of
from netdsl.targets.numpy.network import Network
from netdsl.targets.text.arguments import forward_arguments


class Layer:
    """One layer: `forward`, `backward`, its `params`, `buffers`, `grads`, and the last `inputs` and `output`.

    params and buffers are the network's own arrays under their short names.
    """

    def __init__(self, node: Node, network: LayerNetwork) -> None:
        self.node, self.name, self.op = node, node.name, node.op
        self._network = network
        self._definition = layer_of(node.op)
        self._arguments = forward_arguments(node)
        self.grads: dict[str, np.ndarray] = {}
        self.inputs: tuple[np.ndarray, ...] = ()
        self.output: np.ndarray | None = None
        self.saved: object = None

    def __repr__(self) -> str:
        return f"<{self.op} {self.name}: {self.node.shape}>"

    @property
    def params(self) -> dict[str, np.ndarray]:
        return {p.name: self._network.params[p.full_name(self.name)] for p in self.node.params}

    @property
    def buffers(self) -> dict[str, np.ndarray]:
        return {b.name: self._network.buffers[b.full_name(self.name)] for b in self.node.buffers}

    def forward(self, *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        """(N, *input shape) of each input -> (N, *shape)."""
        sources = {
            "param": {p.argument: self._network.params[p.full_name(self.name)] for p in self.node.params},
            "buffer": {b.argument: self._network.buffers[b.full_name(self.name)] for b in self.node.buffers},
            "attr": self.node.attrs,
            "training": {"training": training},
            "rng": {"rng": self._network.rng},
        }
        arguments = [sources[source][name] if source != "absent" else None for name, source in self._arguments]
        self.inputs = inputs
        self.output, self.saved = self._definition.forward(*inputs, *arguments)
        return self.output

    def backward(self, dy: np.ndarray) -> tuple[np.ndarray, ...]:
        """The gradient by the output -> the gradient by each input; those by the params go to `grads`."""
        dx, self.grads = self._definition.backward(dy, self.saved)
        return dx if isinstance(dx, tuple) else (dx,)


class LayerNetwork(Network):
    """A network of `Layer` objects, in the order of the spec."""

    def __init__(self, graph: Graph, recipe: Recipe, seed: int = 0, dtype: type = np.float32) -> None:
        rng = np.random.default_rng(seed)
        kernel, options = loss_kernel(recipe)
        self.graph, self.loss = graph, partial(kernel, **options) if options else kernel
        self.dtype, self.input_shape = np.dtype(dtype), graph.input_shape
        self.params = {name: initial_array(spec, recipe.init, rng, self.dtype) for name, spec in graph.param_specs()}
        self.buffers = {name: initial_array(spec, recipe.init, rng, self.dtype) for name, spec in graph.buffer_specs()}
        self.rng = rng
        self.layers = [Layer(node, self) for node in graph.nodes]
        self.learning_rate = recipe.options["lr"]
        self._step, self.optimizer_state = optimizer_step(recipe), {}
        self._logits, self._count = logits_value(graph, recipe.loss), logits_layers(graph, recipe.loss)

    def layer(self, name: str) -> Layer:
        """The layer of that full name; raises KeyError."""
        found = {layer.name: layer for layer in self.layers}
        return found[name]

    def first_value(self, x: np.ndarray) -> np.ndarray:
        """x (N, *input_shape) -> what the first layers see: x normalised, where the spec says how."""
        x = self.check_input(x)
        return normalize(x, self.graph.mean, self.graph.std) if self.graph.mean else x

    def logits(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """x (N, *input_shape) -> what the loss reads: the output, or what enters a softmax that it contains."""
        values = [self.first_value(x)]
        for layer in self.layers[: self._count]:
            values.append(layer.forward(*(values[i] for i in layer.node.inputs), training=training))
        return values[self._logits]

    def forward(self, x: np.ndarray, training: bool = False) -> np.ndarray:
        """x (N, *input_shape) -> the network's output."""
        logits = self.logits(x, training)
        if self._logits == self.graph.output:
            return logits
        return self.layers[self.graph.output - 1].forward(logits, training=training)

    def backward(self, dlogits: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The gradient by what `logits` gave -> dx, {param name: gradient}, for the batch that went forward last."""
        dvalues: dict[int, np.ndarray] = {self._logits: dlogits}
        grads: dict[str, np.ndarray] = {}
        for index in range(self._logits - 1, -1, -1):
            layer = self.layers[index]
            dy = dvalues.pop(index + 1, None)
            if dy is None:  # nothing that the loss reads depends on it
                continue
            for value, dx in zip(layer.node.inputs, layer.backward(dy), strict=True):
                dvalues[value] = dvalues[value] + dx if value in dvalues else dx
            grads.update({p.full_name(layer.name): layer.grads[p.name] for p in layer.node.params})
        dx = normalize_backward(dvalues[0], self.graph.std) if self.graph.std else dvalues[0]
        return dx, {name: grads[name] if name in grads else np.zeros_like(array) for name, array in self.params.items()}

    def update(self, grads: dict[str, np.ndarray], lr: float) -> None:
        """One step of the spec's optimizer, in place."""
        self._step(self.params, grads, self.optimizer_state, lr)

    def _repr_html_(self) -> str:
        title = f"{self.graph.name}: {len(self.layers)} layer objects, {self.graph.num_params:,} params, {self.dtype}"
        note = "each has params, and after a batch inputs, output and grads: model.layer(name).output"
        facts = heading(title) + paragraph(note) + Summary(self.graph, Recipe()).table_html()
        return with_picture(self.graph, facts)


def initial_array(spec: ParamSpec, scheme: str, rng: np.random.Generator, dtype: np.dtype) -> np.ndarray:
    """A param or buffer as it starts; weights and biases follow `scheme`."""
    weight, bias = SCHEMES[scheme].weight, SCHEMES[scheme].bias
    start = {"weight": weight, "bias": bias}.get(str(spec.init))
    if start is not None:
        return start(rng, spec.shape, spec.fan_in, spec.fan_out, dtype)
    if spec.init == "normal":
        return normal(rng, spec.shape, dtype)
    return np.full(spec.shape, {"zeros": 0.0, "bias": 0.0, "ones": 1.0}.get(spec.init, spec.init), dtype)


def first_nonfinite(network: LayerNetwork, x: np.ndarray, training: bool = True) -> str | None:
    """The first layer with a param or an output that is not finite when x goes forward; None if there is none."""
    with np.errstate(all="ignore"):
        network.forward(x, training)
    for layer in network.layers:
        outputs = [] if layer.output is None else [layer.output]  # None: it reads a softmax that only the loss has
        if not all(np.isfinite(array).all() for array in (*layer.params.values(), *outputs)):
            return layer.name
    return None
