"""Graph to a NumPy module that stands alone: the kernels' own text, then the network as straight lines."""

from __future__ import annotations

from dataclasses import dataclass, replace

from netdsl.analysis.loss import judges_tokens, logits_layers, logits_value
from netdsl.analysis.writing import can_write
from netdsl.graph.ir import Graph, Node
from netdsl.graph.recipe import Recipe
from netdsl.ground.symbols import value_text
from netdsl.kernels.normalization import normalize, normalize_backward
from netdsl.layers import layer_at
from netdsl.targets.dialect import Dialect
from netdsl.targets.numpy.dialect import DIALECT
from netdsl.targets.numpy.named_network import NamedNetwork
from netdsl.targets.numpy.network import Network
from netdsl.targets.numpy.token_network import TokenNetwork
from netdsl.targets.numpy.writing_network import WritingNetwork
from netdsl.targets.text.arguments import argument_texts, forward_arguments
from netdsl.targets.text.emission import (
    Method,
    batch_shape,
    constants_text,
    emit,
    raw_doc,
    section_ends,
    section_titles,
    title,
)
from netdsl.targets.text.ends import (
    argument_names,
    axis_text,
    gives_text,
    normalize_lines,
    outputs_text,
    takes_text,
    together,
    tuple_text,
)
from netdsl.targets.text.gradients import Gradients
from netdsl.targets.text.numpy_demo import Shares, numpy_shares, share_kernels
from netdsl.targets.text.numpy_module import module_values
from netdsl.targets.text.recipe_lines import loss_methods, optimizer_line, recipe_kernels
from netdsl.targets.text.sequences import sequence_kernels, sequence_methods
from netdsl.targets.text.variables import variables
from netdsl.targets.text.writing import writing_kernels, writing_methods


@dataclass(frozen=True)
class Textbook:
    """How a textbook module is written.

    dialect: what it is made of, and how it writes a line that says `np.zeros`. library, options, needs: what its title
    says: computed `in NumPy`, by `netdsl compile -O0`, with `numpy and nothing else`. notes: more lines of its
    docstring. network, token_network, writing_network, named_network: the classes that it extends. shares: how it
    writes probabilities.
    """

    dialect: Dialect
    library: str
    options: str
    needs: str
    network: type
    token_network: type
    writing_network: type | None
    named_network: type
    notes: tuple[str, ...] = ()
    shares: Shares = numpy_shares


CLASSES = Network, TokenNetwork, WritingNetwork, NamedNetwork
NUMPY = Textbook(DIALECT, "NumPy", " -O0", "numpy and nothing else", *CLASSES)


def emit_numpy(graph: Graph, recipe: Recipe) -> str:
    """The text of `<name>_numpy.py`."""
    return emit_textbook(graph, recipe, NUMPY)


def emit_textbook(graph: Graph, recipe: Recipe, book: Textbook) -> str:
    """The text of a textbook module."""
    layers = [layer_at(node) for node in graph.nodes]
    roots = [kernel for layer in layers for kernel in (layer.forward, layer.backward)]
    roots += [normalize, normalize_backward] if graph.normalizes else []
    roots += [*sequence_kernels(graph), *recipe_kernels(recipe), *share_kernels(graph, recipe.loss)]
    bases = [book.network] if graph.is_plain else [book.network, book.named_network]
    bases += [book.token_network] if graph.is_plain and judges_tokens(graph, recipe.loss) else []
    writes = book.writing_network is not None and can_write(graph, recipe.loss)
    if writes and book.writing_network is not None:
        bases.append(book.writing_network)
        roots += writing_kernels(graph, recipe.loss)
    writing = writing_methods(graph, recipe.loss) if writes else []
    values = module_values(graph, recipe, book.dialect, roots, bases, book.shares)
    return emit(
        book.dialect,
        **values,
        title=f"{title(graph, values['class_name'], book.library, book.options)}; needs {book.needs}.",
        notes=book.notes,
        libraries=sorted(book.dialect.imports),
        methods=[_written(method, book.dialect) for method in [*_methods(graph, recipe), *writing]],
    )


def _written(method: Method, dialect: Dialect) -> Method:
    """The method in the names of the dialect."""
    return replace(method, lines=tuple(map(dialect.line_of, method.lines)))


def _methods(graph: Graph, recipe: Recipe) -> list[Method]:
    until, count = logits_value(graph, recipe.loss), logits_layers(graph, recipe.loss)
    wanted, takes, raw = batch_shape(graph.shape_of(until)), takes_text(graph), raw_doc(graph)
    names = argument_names(graph)
    arguments = ", ".join(["self", *names, "training=False"])
    given = ", ".join([*names, "training"])
    if graph.gives_names:
        lines = _all_lines(graph, count, [until, *graph.results])
        what = f"{takes} -> {gives_text(graph)}"
        forward = [
            Method(f"all_outputs({arguments})", f"{takes} -> all outputs, and what the loss reads {wanted}.", lines),
            Method(f"forward({arguments})", f"{what}.{raw}", (f"return self.all_outputs({given})[0]",)),
            Method(f"logits({arguments})", f"What the loss reads {wanted}.", (f"return self.all_outputs({given})[1]",)),
        ]
    elif until == graph.output:
        forward = [
            Method(f"forward({arguments})", f"{takes} -> y {wanted}.{raw}", _all_lines(graph, count, [until])),
            Method(f"logits({arguments})", "What the loss reads: the output.", (f"return self.forward({given})",)),
        ]
    else:
        lines = _all_lines(graph, count, [until])
        last = _forward_line(graph, graph.nodes[count], "x", ["x"])
        whole = (f"x, saved = self.logits({given}), self.saved", last, "return x")
        forward = [
            Method(f"logits({arguments})", f"{takes} -> what the loss reads {wanted}.", lines),
            Method(f"forward({arguments})", f"{takes} -> {gives_text(graph)}.{raw}", whole),
        ]
    dx = "(dx of each input)" if graph.takes_names else "dx"
    doc = f"The gradient by the logits -> {dx}, {{param name: gradient}}, for the last batch."
    backward = Method("backward(self, dy)", doc, tuple(_backward_lines(graph, until)))
    losses = loss_methods(recipe, of_rows=judges_tokens(graph, recipe.loss))
    own = sequence_methods(graph)
    return [*losses, *forward, backward, _update_method(recipe), *own]


def _all_lines(graph: Graph, count: int, results: list[int]) -> tuple[str, ...]:
    """The body of a method that makes the first of these values or, beside all outputs with names, returns it."""
    uses = {source for node in graph.nodes for _, source in forward_arguments(node)}
    short = {"p": "self.params", "b": "self.buffers", "saved": "self.saved"}
    used = [name for name in short if name == "saved" or {"p": "param", "b": "buffer"}[name] in uses]
    lines, named = _forward_lines(graph, count, results)
    first = [named[value] for value in range(len(graph.inputs))]
    check = "x = self.check_input(x)"
    if not graph.is_plain:
        check = f"{together(first)} = self.check_inputs({', '.join(argument_names(graph))})"
    result = named[results[0]]
    return (
        check,
        *normalize_lines(graph, first),
        f"{', '.join(used)} = {', '.join(short[name] for name in used)}",
        *lines,
        f"return {outputs_text(graph, named)}, {result}" if graph.gives_names else f"return {result}",
    )


def _update_method(recipe: Recipe) -> Method:
    clip = [] if recipe.clip is None else [f"grads = clipped(grads, {value_text(recipe.clip)})"]
    step = optimizer_line(recipe, "self.params", "self.optimizer_state")
    return Method("update(self, grads, lr)", "One step of the optimizer, in place.", (*clip, step))


def _forward_lines(graph: Graph, count: int, results: list[int]) -> tuple[list[str], dict[int, str]]:
    """The lines of the first `count` nodes, and the variable that each value is in."""
    nodes = graph.nodes[:count]
    steps = [(node.inputs, (graph.value(index),)) for index, node in enumerate(nodes)]
    named = variables(steps, range(len(graph.inputs)), results)
    titles = section_titles(graph)
    lines: list[str] = []
    for index, node in enumerate(nodes):
        if index in titles:
            lines += ["", f"# {titles[index]}"]
        target, inputs = named[graph.value(index)], [named[value] for value in node.inputs]
        lines.append(_forward_line(graph, node, target, inputs))
    return lines, named


def _forward_line(graph: Graph, node: Node, target: str, inputs: list[str]) -> str:
    """`x, saved["conv1"] = conv_forward(x, ...)`."""
    words = {"param": "p", "buffer": "b", "training": "training=training", "rng": "rng=self.rng"}
    arguments = ", ".join([*inputs, *argument_texts(node, words)])
    line = f'{target}, saved["{node.name}"] = {layer_at(node).forward.__name__}({arguments})'
    changes = len(inputs) > 1 or node.shape != graph.input_shapes(node)[0]
    return f"{line}  # {batch_shape(node.shape)}" if changes else line


def _backward_lines(graph: Graph, until: int) -> list[str]:
    """Every node that the logits depend on, last to first; the params of the others get zeros."""
    lines = ["saved, grads = self.saved, {}"]
    ends, section = section_ends(graph), ""
    gradients = Gradients(until, "dy", "{0} = {0} + {1}")
    reached: set[str] = set()  # the nodes whose params have gradients
    for index in reversed(range(len(graph.nodes))):
        node, section = graph.nodes[index], ends.get(index, section)
        dy = gradients.take(graph.value(index))
        own = _backward_node(graph, node, dy, gradients, reached) if dy is not None else _zero_lines(node, reached)
        if own and section:
            lines += ["", f"# {section}"]
            section = ""
        lines += own
    named = 'f"{layer}.{name}"'
    if any(p.name == "" for node in graph.nodes for p in node.params):
        named += '.rstrip(".")'
    lines += [""] if ends else []
    dxs = []
    for value, given in enumerate(graph.inputs):
        dx = gradients.held.get(value, f"np.zeros((len(dy), {', '.join(map(str, given.type.sizes))}), self.dtype)")
        if given.std and value in gradients.held:
            lines.append(f"{dx} = normalize_backward({dx}, std={constants_text(given.std)}{axis_text(given)})")
        dxs.append(dx)
    dx = tuple_text(dxs) if graph.takes_names else dxs[0]
    grads = f"{{{named}: g for layer, named in reversed(grads.items()) for name, g in named.items()}}"
    return [*lines, f"return {dx}, {grads}"]


def _zero_lines(node: Node, reached: set[str]) -> list[str]:
    """Nothing that the loss reads depends on this node, nor on one that uses its params."""
    if node.shares is not None or node.name in reached:
        return []
    zeros = ", ".join(f'"{p.name}": np.zeros_like(self.params["{p.full_name(node.name)}"])' for p in node.params)
    return [f'grads["{node.name}"] = {{{zeros}}}  # the loss does not depend on it'] if zeros else []


def _backward_node(graph: Graph, node: Node, dy: str, gradients: Gradients, reached: set[str]) -> list[str]:
    """The lines of one node. The gradients by its inputs add up in the order in which LayerNetwork.backward adds them;
    so do those by params that several nodes share."""
    targets, sums = gradients.send(node.inputs, node.inputs)
    own = grads = f'grads["{node.owner}"]' if node.params else "_"
    if node.params and node.owner in reached:
        own = "more"
        sums.append(f'{grads} = {{name: g + more[name] for name, g in grads.pop("{node.owner}").items()}}')
    reached.add(node.owner)
    target = targets[0] if len(targets) == 1 else f"({', '.join(targets)})"
    line = f'{target}, {own} = {layer_at(node).backward.__name__}({dy}, saved["{node.name}"])'
    shape = graph.input_shapes(node)[0]
    changes = len(targets) == 1 and shape != node.shape
    return [f"{line}  # {batch_shape(shape)}" if changes else line, *sums]
