"""Graph to a NumPy module that stands alone: the kernels' own text, then the network as straight lines."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

from netdsl.analysis.loss import logits_layers, logits_value
from netdsl.graph.ir import Graph, Node, ParamSpec
from netdsl.graph.recipe import SCHEMES, Recipe
from netdsl.ground.names import class_name
from netdsl.ground.symbols import value_text
from netdsl.kernels.initial import normal
from netdsl.kernels.normalization import normalize, normalize_backward
from netdsl.layers import layer_of
from netdsl.targets.numpy.network import Network
from netdsl.targets.text.answers import answer
from netdsl.targets.text.arguments import forward_arguments
from netdsl.targets.text.emission import (
    Method,
    batch_shape,
    constants_text,
    emit,
    layer_table,
    raw_doc,
    section_ends,
    section_titles,
    title,
)
from netdsl.targets.text.kernel_source import imported_modules, kernel_texts
from netdsl.targets.text.numpy_demo import demo_lines, share_kernels
from netdsl.targets.text.recipe_lines import loss_lines, loss_methods, optimizer_line, recipe_kernels
from netdsl.targets.text.variables import names, variables


def emit_numpy(graph: Graph, recipe: Recipe) -> str:
    """The text of `<name>_numpy.py`."""
    layers = [layer_of(node.op) for node in graph.nodes]
    starts = start_kernels(graph, recipe.init)
    roots = [kernel for layer in layers for kernel in (layer.forward, layer.backward)]
    roots += [normalize, normalize_backward] if graph.mean else []
    *kernels, network, answers = kernel_texts(
        [*roots, *recipe_kernels(recipe), *share_kernels(graph, recipe.loss), *starts, Network, answer]
    )
    name = class_name(graph.name)
    return emit(
        "numpy_module.py.j2",
        title=f"{title(graph, name, 'NumPy', ' -O0')}; needs numpy and nothing else.",
        table=layer_table(graph),
        modules=imported_modules([*kernels, network]),
        input_shape=value_text(graph.input_shape),
        num_parameters=f"{graph.num_params:_}",
        kernels=kernels,
        network=network,
        class_name=name,
        shapes=f"{batch_shape(graph.input_shape)} -> {batch_shape(graph.output_shape)}",
        learning_rate=value_text(recipe.options["lr"]),
        loss=loss_lines(recipe),
        params=dictionary(graph.param_specs(), recipe.init),
        buffers=dictionary(graph.buffer_specs(), recipe.init),
        methods=_methods(graph, recipe),
        answers=answers,
        demo=demo_lines(graph, recipe.loss),
    )


# -------------------------------------------------------------------------------------------- how params start


def start_kernels(graph: Graph, scheme: str) -> list[Callable]:
    kinds = {spec.init for _, spec in graph.param_specs()}
    weight, bias = SCHEMES[scheme].weight, SCHEMES[scheme].bias
    starts = (("weight", weight), ("bias", bias), ("normal", normal))
    return [start for kind, start in starts if kind in kinds and start is not None]


def dictionary(specs: list[tuple[str, ParamSpec]], scheme: str) -> dict[str, object]:
    lines = [f'"{name}": {_start(spec, scheme)},' for name, spec in specs]
    return {"open": "{" if lines else "{}", "lines": lines}


def _start(spec: ParamSpec, scheme: str) -> str:
    weight, bias = SCHEMES[scheme].weight, SCHEMES[scheme].bias
    start = {"weight": weight, "bias": bias}.get(str(spec.init))
    if start is not None:
        return f"{start.__name__}(rng, {value_text(spec.shape)}, {spec.fan_in}, {spec.fan_out}, dtype)"
    shape = value_text(spec.shape[0] if len(spec.shape) == 1 else spec.shape)
    if spec.init == "normal":
        return f"normal(rng, {shape}, dtype)"
    if spec.init in ("zeros", "bias"):
        return f"np.zeros({shape}, dtype)"
    return f"np.ones({shape}, dtype)" if spec.init == "ones" else f"np.full({shape}, {value_text(spec.init)}, dtype)"


# -------------------------------------------------------------------------------------------- forward and backward


def _methods(graph: Graph, recipe: Recipe) -> list[Method]:
    until = logits_value(graph, recipe.loss)
    given, wanted = batch_shape(graph.input_shape), batch_shape(graph.shape_of(until))
    uses = {source for node in graph.nodes for _, source in forward_arguments(node)}
    short = {"p": "self.params", "b": "self.buffers", "saved": "self.saved"}
    used = [name for name in short if name == "saved" or {"p": "param", "b": "buffer"}[name] in uses]
    count = logits_layers(graph, recipe.loss)
    lines, result = _forward_lines(graph, count, until)
    forward = ["x = self.check_input(x)", *_normalize_lines(graph)]
    forward += [f"{', '.join(used)} = {', '.join(short[name] for name in used)}", *lines, f"return {result}"]
    methods, raw = [], raw_doc(graph)
    if until == graph.output:
        methods.append(Method("forward(self, x, training=False)", f"x {given} -> y {wanted}.{raw}", tuple(forward)))
        methods.append(
            Method(
                "logits(self, x, training=False)",
                "What the loss reads: the output.",
                ("return self.forward(x, training)",),
            )
        )
    else:
        methods.append(
            Method("logits(self, x, training=False)", f"x {given} -> what the loss reads {wanted}.", tuple(forward))
        )
        last = _forward_line(graph, graph.nodes[graph.output - 1], "x", ["x"])
        lines = ["x, saved = self.logits(x, training), self.saved", last, "return x"]
        methods.append(
            Method(
                "forward(self, x, training=False)",
                f"x {given} -> y {batch_shape(graph.output_shape)}.{raw}",
                tuple(lines),
            )
        )
    methods.append(
        Method(
            "backward(self, dy)",
            "The gradient by the logits -> dx, {param name: gradient}, for the last batch.",
            tuple(_backward_lines(graph, until)),
        )
    )
    return [*loss_methods(recipe), *methods, _update_method(recipe)]


def _normalize_lines(graph: Graph) -> list[str]:
    constants = f"mean={constants_text(graph.mean)}, std={constants_text(graph.std)}" if graph.mean else ""
    return [f"x = normalize(x, {constants})"] if constants else []


def _update_method(recipe: Recipe) -> Method:
    clip = [] if recipe.clip is None else [f"grads = clipped(grads, {value_text(recipe.clip)})"]
    step = optimizer_line(recipe, "self.params", "self.optimizer_state")
    return Method("update(self, grads, lr)", "One step of the optimizer, in place.", (*clip, step))


def _forward_lines(graph: Graph, count: int, until: int) -> tuple[list[str], str]:
    """The lines of the first `count` nodes, and the variable that value `until` ends up in."""
    nodes = graph.nodes[:count]
    names = variables([(node.inputs, (index + 1,)) for index, node in enumerate(nodes)], [0], [until])
    titles = section_titles(graph)
    lines: list[str] = []
    for index, node in enumerate(nodes):
        if index in titles:
            lines += ["", f"# {titles[index]}"]
        lines.append(_forward_line(graph, node, names[index + 1], [names[value] for value in node.inputs]))
    return lines, names[until]


def _forward_line(graph: Graph, node: Node, target: str, inputs: list[str]) -> str:
    """`x, saved["conv1"] = conv_forward(x, ...)`."""
    kernel = layer_of(node.op).forward
    defaults = {name: p.default for name, p in inspect.signature(kernel).parameters.items()}
    written = [
        (name, source)
        for name, source in forward_arguments(node)
        if not (source == "attr" and node.attrs[name] == defaults[name])
    ]
    arguments = [*inputs, *(_argument(node, name, source) for name, source in written)]
    line = f'{target}, saved["{node.name}"] = {kernel.__name__}({", ".join(arguments)})'
    changes = len(inputs) > 1 or node.shape != graph.input_shapes(node)[0]
    return f"{line}  # {batch_shape(node.shape)}" if changes else line


def _argument(node: Node, name: str, source: str) -> str:
    if source in ("param", "buffer"):
        specs = node.params if source == "param" else node.buffers
        spec = next(spec for spec in specs if spec.argument == name)
        return f'{source[0]}["{spec.full_name(node.name)}"]'
    if source == "attr":
        return f"{name}={value_text(node.attrs[name])}"
    return {"absent": "None", "training": "training=training", "rng": "rng=self.rng"}[source]


def _backward_lines(graph: Graph, until: int) -> list[str]:
    """Every node that the logits depend on, last to first; the params of the others get zeros."""
    lines = ["saved, grads = self.saved, {}"]
    ends, section = section_ends(graph), ""
    found = {until: "dy"}  # value -> the variable that holds its gradient
    for index in range(len(graph.nodes) - 1, -1, -1):
        node, section = graph.nodes[index], ends.get(index, section)
        dy = found.pop(index + 1, None)
        own = _zero_lines(node) if dy is None else _backward_node(graph, node, dy, found)
        if own and section:
            lines += ["", f"# {section}"]
            section = ""
        lines += own
    named = 'f"{layer}.{name}"'
    if any(p.name == "" for node in graph.nodes for p in node.params):
        named += '.rstrip(".")'
    lines += [""] if ends else []
    if graph.std:
        lines.append(f"{found[0]} = normalize_backward({found[0]}, std={constants_text(graph.std)})")
    lines.append(
        f"return {found[0]}, {{{named}: g for layer, named in reversed(grads.items()) for name, g in named.items()}}"
    )
    return lines


def _zero_lines(node: Node) -> list[str]:
    """Nothing that the loss reads depends on this node."""
    zeros = ", ".join(f'"{p.name}": np.zeros_like(self.params["{p.full_name(node.name)}"])' for p in node.params)
    return [f'grads["{node.name}"] = {{{zeros}}}  # the loss does not depend on it'] if zeros else []


def _backward_node(graph: Graph, node: Node, dy: str, found: dict[int, str]) -> list[str]:
    """The lines of one node, which enter its inputs' gradients into `found`. A value that several nodes read gets the
    sum of what they send back, in the order in which LayerNetwork.backward adds it up."""
    targets: list[str] = []
    sums: list[str] = []
    for value in node.inputs:
        name = next(name for name in _gradient_names() if name not in (*found.values(), *targets))
        targets.append(name)
        if value in found:
            sums.append(f"{found[value]} = {found[value]} + {name}")
        else:
            found[value] = name
    grads = f'grads["{node.name}"]' if node.params else "_"
    target = targets[0] if len(targets) == 1 else f"({', '.join(targets)})"
    line = f'{target}, {grads} = {layer_of(node.op).backward.__name__}({dy}, saved["{node.name}"])'
    shape = graph.input_shapes(node)[0]
    changes = len(targets) == 1 and shape != node.shape
    return [f"{line}  # {batch_shape(shape)}" if changes else line, *sums]


def _gradient_names() -> Iterator[str]:
    """dy, dz, da, ...; dx is kept for kernels."""
    return (f"d{name}" for name in names() if name != "x")
