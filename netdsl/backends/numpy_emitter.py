"""Graph to a NumPy module that stands alone: the kernels' own text, then the network as straight lines."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from netdsl.analysis.loss import logits_value
from netdsl.backends.arguments import forward_arguments
from netdsl.backends.emission import Method, batch_shape, emit, layer_table, title
from netdsl.backends.kernel_source import imported_modules, kernel_texts
from netdsl.backends.network import Network
from netdsl.ir import Graph, Node, ParamSpec
from netdsl.layers import layer_of
from netdsl.names import class_name
from netdsl.recipe import OPTIMIZERS, SCHEMES, Recipe


def emit_numpy(graph: Graph, recipe: Recipe, loss: Callable) -> str:
    """The text of `<name>_numpy.py`."""
    optimizer = OPTIMIZERS[recipe.optimizer].step
    layers = [layer_of(node.op) for node in graph.nodes]
    starts = _start_kernels(graph, recipe.init)
    roots = [kernel for layer in layers for kernel in (layer.forward, layer.backward)]
    *kernels, network = kernel_texts([*roots, loss, optimizer, *starts, Network])
    name = class_name(graph.name)
    return emit(
        "numpy_module.py.j2",
        title=f"{title(graph, name, 'NumPy', ' -O0')}; needs numpy and nothing else.",
        table=layer_table(graph),
        modules=imported_modules([*kernels, network]),
        input_shape=repr(graph.input_shape),
        num_parameters=f"{graph.num_params:_}",
        kernels=kernels,
        network=network,
        class_name=name,
        shapes=f"{batch_shape(graph.input_shape)} -> {batch_shape(graph.output_shape)}",
        learning_rate=repr(recipe.options["lr"]),
        loss=loss.__name__,
        params=_dictionary(graph.param_specs(), recipe.init),
        buffers=_dictionary(graph.buffer_specs(), recipe.init),
        methods=_methods(graph, recipe),
        demo=_demo(graph, recipe.loss),
    )


# -------------------------------------------------------------------------------------------- how params start


def _start_kernels(graph: Graph, scheme: str) -> list[Callable]:
    kinds = {spec.init for _, spec in graph.param_specs()}
    weight, bias = SCHEMES[scheme]
    return [start for kind, start in (("weight", weight), ("bias", bias)) if kind in kinds and start is not None]


def _dictionary(specs: list[tuple[str, ParamSpec]], scheme: str) -> dict[str, object]:
    lines = [f'"{name}": {_start(spec, scheme)},' for name, spec in specs]
    return {"open": "{" if lines else "{}", "lines": lines}


def _start(spec: ParamSpec, scheme: str) -> str:
    weight, bias = SCHEMES[scheme]
    start = {"weight": weight, "bias": bias}.get(str(spec.init))
    if start is not None:
        return f"{start.__name__}(rng, {spec.shape!r}, {spec.fan_in}, {spec.fan_out}, dtype)"
    shape = repr(spec.shape[0] if len(spec.shape) == 1 else spec.shape)
    if spec.init in ("zeros", "bias"):
        return f"np.zeros({shape}, dtype)"
    return f"np.ones({shape}, dtype)" if spec.init == "ones" else f"np.full({shape}, {spec.init!r}, dtype)"


# -------------------------------------------------------------------------------------------- forward and backward


def _methods(graph: Graph, recipe: Recipe) -> list[Method]:
    until = logits_value(graph, recipe.loss)
    given, wanted = batch_shape(graph.input_shape), batch_shape(graph.shape_of(until))
    uses = {source for node in graph.nodes for _, source in forward_arguments(node)}
    short = {"p": "self.params", "b": "self.buffers", "saved": "self.saved"}
    used = [name for name in short if name == "saved" or {"p": "param", "b": "buffer"}[name] in uses]
    forward = ["x = self.check_input(x)", f"{', '.join(used)} = {', '.join(short[name] for name in used)}"]
    forward += _forward_lines(graph, graph.nodes[:until])
    methods = []
    if until == graph.output:
        methods.append(Method("forward(self, x, training=False)", f"x {given} -> y {wanted}.", (*forward, "return x")))
        methods.append(
            Method(
                "logits(self, x, training=False)",
                "What the loss reads: the output.",
                ("return self.forward(x, training)",),
            )
        )
    else:
        methods.append(
            Method(
                "logits(self, x, training=False)", f"x {given} -> what the loss reads {wanted}.", (*forward, "return x")
            )
        )
        last = graph.nodes[until]
        lines = ("x, saved = self.logits(x, training), self.saved", *_forward_lines(graph, (last,)), "return x")
        methods.append(
            Method("forward(self, x, training=False)", f"x {given} -> y {batch_shape(graph.output_shape)}.", lines)
        )
    methods.append(
        Method(
            "backward(self, dy)",
            "The gradient by the logits -> dx, {param name: gradient}, for the last batch.",
            tuple(_backward_lines(graph, graph.nodes[:until])),
        )
    )
    methods.append(Method("update(self, grads, lr)", "One step of the optimizer, in place.", (_update_line(recipe),)))
    return methods


def _forward_lines(graph: Graph, nodes: tuple[Node, ...]) -> list[str]:
    lines = []
    for node in nodes:
        kernel = layer_of(node.op).forward
        defaults = {name: p.default for name, p in inspect.signature(kernel).parameters.items()}
        written = [
            (name, source)
            for name, source in forward_arguments(node)
            if not (source == "attr" and node.attrs[name] == defaults[name])
        ]
        arguments = ["x", *(_argument(node, name, source) for name, source in written)]
        line = f'x, saved["{node.name}"] = {kernel.__name__}({", ".join(arguments)})'
        changes = node.shape != graph.input_shapes(node)[0]
        lines.append(f"{line}  # {batch_shape(node.shape)}" if changes else line)
    return lines


def _argument(node: Node, name: str, source: str) -> str:
    if source == "param":
        return f'p["{node.name}.{name}"]'
    if source == "buffer":
        return f'b["{node.name}.{name}"]'
    if source == "attr":
        return f"{name}={node.attrs[name]!r}"
    return {"absent": "None", "training": "training=training", "rng": "rng=self.rng"}[source]


def _backward_lines(graph: Graph, nodes: tuple[Node, ...]) -> list[str]:
    lines = ["saved, grads = self.saved, {}"]
    for node in reversed(nodes):
        target = f'grads["{node.name}"]' if node.params else "_"
        shape = graph.input_shapes(node)[0]
        line = f'dy, {target} = {layer_of(node.op).backward.__name__}(dy, saved["{node.name}"])'
        lines.append(f"{line}  # {batch_shape(shape)}" if shape != node.shape else line)
    lines.append(
        'return dy, {f"{layer}.{name}": g for layer, named in reversed(grads.items()) for name, g in named.items()}'
    )
    return lines


def _update_line(recipe: Recipe) -> str:
    options = [f"{key}={value!r}" for key, value in recipe.options.items() if key != "lr"]
    step = OPTIMIZERS[recipe.optimizer].step.__name__
    return f"{step}({', '.join(['self.params', 'grads', 'self.optimizer_state', 'lr', *options])})"


# -------------------------------------------------------------------------------------------- python <name>_numpy.py


def _demo(graph: Graph, loss: str) -> list[str]:
    """A short training run on made-up data, so that the file shows what it does."""
    classes, *rest = graph.output_shape
    lines = ["# A training run on made-up data, to show that the network learns.", "rng = np.random.default_rng(0)"]
    if loss == "mse":
        lines += [
            f"y = rng.standard_normal((256, {', '.join(map(str, graph.output_shape))})).astype(np.float32)",
            "x = rng.standard_normal((256, *INPUT_SHAPE)).astype(np.float32)",
        ]
    elif rest:
        lines += [
            f"y = rng.integers(0, {classes}, (256, {', '.join(map(str, rest))}))",
            "x = rng.standard_normal((256, *INPUT_SHAPE)).astype(np.float32)",
        ]
    else:
        lines += [
            f"y = rng.integers(0, {classes}, 256)",
            f"patterns = rng.standard_normal(({classes}, *INPUT_SHAPE))  # one for each class",
            "x = (patterns[y] + rng.standard_normal((256, *INPUT_SHAPE))).astype(np.float32)",
        ]
    show_score = ", accuracy {model.score(x, y):.3f}" if loss != "mse" else ""
    return [
        *lines,
        "model = Model(seed=0)",
        "for epoch in range(1, 6):",
        "    (loss,) = model.fit(x, y, epochs=1, batch=32, seed=epoch)",
        f'    print(f"epoch {{epoch}}: loss {{loss:.4f}}{show_score}")',
    ]
