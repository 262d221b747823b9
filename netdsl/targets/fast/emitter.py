"""Graph to a NumPy module that is fast (-O2): stages with buffers of their own, and workers that share the batch."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from netdsl.analysis.loss import logits_layers, logits_value
from netdsl.graph.ir import Graph, Node
from netdsl.graph.ir import Input as NetworkInput
from netdsl.graph.recipe import Recipe
from netdsl.graph.types import Tensor
from netdsl.ground.symbols import value_text
from netdsl.layers import layer_of
from netdsl.layers.contract import StageCall
from netdsl.passes.choose_algorithms import Choice, cheapest
from netdsl.passes.make_plan import make_plan
from netdsl.passes.plan import Plan, Planned, needs_gradient
from netdsl.passes.signals import is_signal, sizes_inside
from netdsl.passes.tile_batch import block_size
from netdsl.stages.dropout import Factor
from netdsl.stages.input import Input, NormalizedInput
from netdsl.stages.layout import plane
from netdsl.stages.stage import Stages
from netdsl.stages.textbook import Textbook
from netdsl.targets.fast.dialect import DIALECT
from netdsl.targets.fast.forked_network import ForkedNetwork
from netdsl.targets.fast.named_network import NamedFastNetwork
from netdsl.targets.fast.network import FastNetwork, fast
from netdsl.targets.fast.parts import DrawingNetwork, SharingNetwork, WaitingNetwork, WeightedNetwork
from netdsl.targets.numpy.network import Network
from netdsl.targets.text.answers import answer
from netdsl.targets.text.arguments import argument_texts
from netdsl.targets.text.emission import (
    Method,
    batch_shape,
    constants_text,
    emit,
    raw_doc,
    section_titles,
    title,
)
from netdsl.targets.text.ends import (
    argument_names,
    gives_text,
    output_shapes,
    takes_text,
    tuple_text,
)
from netdsl.targets.text.folded import folded
from netdsl.targets.text.gradients import Gradients
from netdsl.targets.text.kernel_source import Kernel, TextOf, emitted_text, imported_modules
from netdsl.targets.text.known import UNKNOWN, Known
from netdsl.targets.text.named_answers import answer_by_name
from netdsl.targets.text.numpy_demo import demo_lines, numpy_shares, share_kernels
from netdsl.targets.text.numpy_module import spec_values
from netdsl.targets.text.reached import reached_text
from netdsl.targets.text.reading_order import reading_order
from netdsl.targets.text.recipe_lines import loss_methods, optimizer_line, recipe_kernels, weights_lines
from netdsl.targets.text.starts import start_kernels
from netdsl.targets.text.variables import names, variables


def emit_fast(graph: Graph, recipe: Recipe, choose: Choice = cheapest, level: int = 2, kind: str = "threads") -> str:
    """The text of `<name>_numpy.py` at -O2. choose: which of the ways to compute a layer is taken; kind: of workers,
    threads or processes."""
    until, count = logits_value(graph, recipe.loss), logits_layers(graph, recipe.loss)
    train, infer = (make_plan(graph, until, count, training, choose) for training in (True, False))
    drawn, parts = _drawn(train), _parts(graph, recipe, train, kind)
    computed: list[Kernel] = [*_kernels(train), *_kernels(infer), *(layer_of(node.op).forward for node in drawn)]
    if count < len(graph.nodes):
        computed.append(layer_of(graph.nodes[count].op).forward)
    computed += [*recipe_kernels(recipe, True), *start_kernels(graph, recipe.init)]
    answers = answer if graph.is_plain else answer_by_name
    roots: list[Kernel] = [*computed, Stages, fast, *parts, *share_kernels(graph, recipe.loss), answers]
    methods, demo = _methods(graph, recipe, train, infer, until), demo_lines(graph, recipe.loss, numpy_shares)
    constants, texts = reading_order(
        roots, reached_text(roots, _words(methods, demo), _known_text(train, infer), Network)
    )
    values = spec_values(graph, recipe, DIALECT, texts)
    return emit(
        DIALECT,
        **values,
        title=f"{title(graph, values['class_name'], 'NumPy', f' -O{level}')}; needs numpy and nothing else.",
        lies=_how_maps_lie(graph),
        modules=imported_modules(texts),
        constants=constants,
        logits_shape=value_text(graph.shape_of(until)),
        output_shapes=output_shapes(graph),
        shares=[f"{value_text(pair)}," for pair in _shares(graph)],
        weights=weights_lines(recipe),
        gives_signal=is_signal(graph.type_of(until)),
        block=block_size(graph),
        draws=[
            f"{value_text((n.name, layer_of(n.op).forward, graph.input_shapes(n)[0], n.attrs['p']))}," for n in drawn
        ],
        methods=methods,
        texts=texts,
        parts=", ".join(["", *(part.__name__ for part in parts)]),
        workers="forked processes" if kind == "processes" else "threads",
        demo=demo,
    )


PUBLIC = (
    *("params", "buffers", "forward", "logits", "backward", "loss_and_gradients", "update", "train_step", "close"),
    *("fit", "outputs", "predict", "score", "save", "load", "prepare"),
)
"""What users of an emitted network may call, whether the module does or not."""


def _words(methods: Sequence[Method], demo: Sequence[str]) -> set[str]:
    """The words of what is written for this network alone."""
    lines = [line for method in methods for line in (method.head, *method.lines)]
    return {*PUBLIC, *(word for line in (*lines, *demo) for word in re.findall(r"\w+", line))}


def _known_text(train: Plan, infer: Plan) -> TextOf:
    """The text of stages without what none of the network's ever does."""
    stages = [(stage, stage.call) for plan in (train, infer) for stage in plan.stages if stage.call is not None]
    unasked = {stage.node.name for stage in train.stages if stage.call is not None and "dx" in stage.call.options}
    known = Known((call.kernel, _given(stage, call, stage.node.name in unasked)) for stage, call in stages)

    def text_of(module: types.ModuleType, name: str) -> str | None:
        text, kernel = emitted_text(module, name), vars(module).get(name)
        if text is None or not isinstance(kernel, type) or not known.is_known(kernel):
            return text
        return folded(text, lambda method, test: known.decide(kernel, method, test))

    return text_of


def _given(stage: Planned, call: StageCall, unasked: bool) -> dict[str, object]:
    """What the constructor of a stage is given, by its parameters; nobody asks for dx at inference either."""
    parameters = inspect.signature(call.kernel).parameters
    first = {"w": UNKNOWN, **({"name": UNKNOWN} if call.kernel.can.is_named else {})}
    given = {
        name: parameter.default for name, parameter in parameters.items() if parameter.default is not parameter.empty
    }
    given |= first | dict(zip(list(parameters)[len(first) :], call.arguments, strict=False))
    given |= {key: value for key, value in _options(stage, call).items() if key in parameters}
    given |= {
        key: UNKNOWN for key, other in (("conv", stage.conv), ("sums", stage.sums)) if other and key in parameters
    }
    return given


def _options(stage: Planned, call: StageCall) -> dict[str, object]:
    """What is given by name: how the stage ends, and its own options."""
    end = stage.epilogue
    return {"relu": end.relu, "clip": end.clip, "adds_bias": end.bias, "epilogue": end, **call.options}


def _how_maps_lie(graph: Graph) -> list[str]:
    """What the module's docstring says of maps that are no images."""
    axes = {graph.type_of(value).axes for value in range(graph.num_values)}
    signal = "A signal (C, L) is an image one number wide, (L, 1, n, C)."
    volume = "A volume (C, D, H, W) lies slice under slice, (D*H, W, n, C)."
    return [line for number, line in ((1, signal), (3, volume)) if number in axes]


def _parts(graph: Graph, recipe: Recipe, train: Plan, kind: str) -> list[type[FastNetwork]]:
    """What the network needs beside FastNetwork."""
    needed = {
        ForkedNetwork: kind == "processes",
        NamedFastNetwork: not graph.is_plain,
        SharingNetwork: bool(_shares(graph)),
        DrawingNetwork: bool(_drawn(train)),
        WaitingNetwork: train.waits,
        WeightedNetwork: "weights" in recipe.loss_options,
    }
    return [part for part, is_needed in needed.items() if is_needed]


def _drawn(train: Plan) -> list[Node]:
    """The dropouts."""
    return [stage.node for stage in train.stages if stage.call is not None and stage.call.kernel is Factor]


def _shares(graph: Graph) -> list[tuple[str, str]]:
    """What a layer would call a param or buffer that it shares, and what it is called."""
    shared = [node for node in graph.nodes if node.shares is not None]
    return [(s.full_name(n.name), s.full_name(n.owner)) for n in shared for s in (*n.params, *n.buffers)]


def _kernels(plan: Plan) -> list[Callable[..., Any] | type]:
    kernels: list[Callable[..., Any] | type] = [NormalizedInput if given.mean else Input for given in plan.graph.inputs]
    for stage in plan.stages:
        if stage.call is not None:
            kernels += [stage.call.kernel, *_functions(stage.call.arguments)]
        else:
            layer = layer_of(stage.node.op)
            kernels += [Textbook, layer.forward, layer.backward]
    return kernels


def _functions(values: Iterable[object]) -> Iterator[Callable[..., Any]]:
    """The kernels among arguments, those in tuples of them too, and the classes of what they are."""
    for value in values:
        if isinstance(value, tuple):
            yield from _functions(value)
        elif dataclasses.is_dataclass(value):
            yield type(value)
        elif callable(value):
            yield value


def _methods(graph: Graph, recipe: Recipe, train: Plan, infer: Plan, until: int) -> list[Method]:
    takes, wanted = takes_text(graph), batch_shape(graph.shape_of(until))
    arguments, inputs = ", ".join(argument_names(graph)), ", ".join(_first_variables(graph))
    makes = f"what the loss reads {wanted}{', and all outputs' if graph.gives_names else ''}"
    own_logits = (
        f"logits(self, {arguments}, training=False)",
        f"{takes} -> what the loss reads {wanted}.",
        [_logits_line(graph)],
    )
    written = [
        ("train_stages(self, w)", "What worker w computes with, in training.", _stage_lines(train)),
        ("infer_stages(self, w)", "The same at inference: batch norms are part of convolutions.", _stage_lines(infer)),
        (f"train_forward(self, s, {inputs})", f"One block: {takes} -> {makes}.", _forward_lines(train)),
        (
            "train_backward(self, s, dy)",
            "The gradient by what `train_forward` gave -> those of the params.",
            _backward_lines(train),
        ),
        (f"infer_forward(self, s, {inputs})", "As `train_forward`, at inference.", _forward_lines(infer)),
        (
            f"forward(self, {arguments}, training=False)",
            f"{takes} -> {gives_text(graph)}.{raw_doc(graph)}",
            [_output_line(graph, until)],
        ),
        *([] if graph.is_plain else [own_logits]),
        (
            "optimize(self, params, grads, state, lr)",
            "One step of the optimizer, in place.",
            _optimizer_lines(recipe),
        ),
    ]
    return [*loss_methods(recipe, always=True), *(Method(head, doc, tuple(lines)) for head, doc, lines in written)]


def _logits_line(graph: Graph) -> str:
    """What `logits` of named inputs returns."""
    return f"return self.logits_of({tuple_text(argument_names(graph))}, training)"


def _output_line(graph: Graph, until: int) -> str:
    """What the network gives: the logits, or what the layer makes of them that the loss contains, or a dict."""
    given = ", ".join(argument_names(graph))
    if graph.gives_names:
        return f"return self.outputs_of({tuple_text(argument_names(graph))}, training)"
    if until == graph.output:
        return f"return self.logits({given}, training)"
    last = graph.maker_of(graph.output)
    assert last is not None, graph.name
    arguments = ", ".join([f"self.logits({given}, training)", *_arguments(last)])
    return f"return {layer_of(last.op).forward.__name__}({arguments})[0]"


def _optimizer_lines(recipe: Recipe) -> list[str]:
    """Each worker has a part of the params, and the squares of the gradients' norm of its part in `norms`."""
    step = optimizer_line(recipe, "params", "state")
    if recipe.clip is None:
        return [step]
    return [
        "# a worker's part of `norms` is 0, too, where its squares overflow",
        "norm = self.norms.sum() ** 0.5 if self.norms.all() else norm_of([self.gradients[0]])",
        f"grads = scaled(grads, clip_factor(norm, {value_text(recipe.clip)}))",
        step,
    ]


# -------------------------------------------------------------------------------------------- what there is


def _members(graph: Graph) -> dict[str, str]:
    """For each node the attribute of `s` that its stage is: `layer1.0.conv1` is `layer1_0_conv1`.

    Where two names become one (`a.b` and `a_b`), the later gets a `_` behind it.
    """
    members: dict[str, str] = {}
    taken = set(_input_members(graph))
    for node in graph.nodes:
        member = node.name.replace(".", "_")
        while member in taken:
            member += "_"
        taken.add(member)
        members[node.name] = member
    return members


def _input_members(graph: Graph) -> list[str]:
    """The attribute of `s` for each input."""
    return [f"input_{given.name}" if graph.takes_names else "input" for given in graph.inputs]


def _has_stage(given: NetworkInput) -> bool:
    """Whether an input goes through a stage of its own, which normalises it or turns a map."""
    return bool(given.mean) or given.type.is_map


def _stage_lines(plan: Plan) -> list[str]:
    members = _members(plan.graph)
    lines = ["p, s = self.params, Stages()" if any(s.call is None for s in plan.stages) else "s = Stages()"]
    for given, member in zip(plan.graph.inputs, _input_members(plan.graph), strict=True):
        shape = value_text(sizes_inside(given.type))
        if given.mean:
            constants = f"{constants_text(given.mean)}, {constants_text(given.std)}"
            lines.append(f"s.{member} = NormalizedInput(w, {shape}, {constants})")
        elif _has_stage(given):
            lines.append(f"s.{member} = Input(w, {shape})")
    for stage in plan.stages:
        made = _textbook(plan.graph, stage.node) if stage.call is None else _constructor(stage, stage.call, members)
        lines.append(f"s.{members[stage.node.name]} = {made}")
    return [*lines, "return s"]


def _textbook(graph: Graph, node: Node) -> str:
    """`Textbook(w, "lrn1", lambda x: lrn_forward(x, 5), lrn_backward)`; with the spaces of what is no image."""
    layer = layer_of(node.op)
    inputs = "*xs" if len(node.inputs) > 1 else "x"
    call = f"lambda {inputs}: {layer.forward.__name__}({', '.join([inputs, *_arguments(node)])})"
    types = (*graph.input_types(node), node.type)
    spaces = f", {value_text(tuple(x.space for x in types))}" if any(_lies_otherwise(x) for x in types) else ""
    return f'Textbook(w, "{node.name}", {call}, {layer.backward.__name__}{spaces})'


def _constructor(stage: Planned, call: StageCall, members: dict[str, str]) -> str:
    """`MaxPool(w, (32, 28, 28), (2, 2), (2, 2), conv=s.conv1, relu=True)`; what is the default is left out."""
    parameters = inspect.signature(call.kernel).parameters
    worker = "w" if stage.memory is None else f"w.into({stage.memory})"
    parts = [worker, *([f'"{stage.node.name}"'] if call.kernel.can.is_named else [])]
    behind = list(parameters.values())[len(parts) :]
    given = list(call.arguments)
    while given and len(given) <= len(behind) and behind[len(given) - 1].default == given[-1]:
        given.pop()
    parts += [value_text(value) for value in given]
    if stage.conv:
        parts.append(f"conv=s.{members[stage.conv]}")
    if stage.sums:
        parts.append(f"sums=s.{members[stage.sums]}")
    parts += [
        f"{key}={value_text(value)}"
        for key, value in _options(stage, call).items()
        if key in parameters and parameters[key].default != value
    ]
    return f"{call.kernel.__name__}({', '.join(parts)})"


def _arguments(node: Node) -> list[str]:
    """What a textbook kernel is given beside its inputs."""
    words = {"param": "p", "buffer": "self.buffers", "training": "training=w.training", "rng": "rng=self.rng"}
    return argument_texts(node, words)


# -------------------------------------------------------------------------------------------- forward and backward


def _forward_lines(plan: Plan) -> list[str]:
    members, titles = _members(plan.graph), _section_titles(plan)
    named = _variables(plan)
    first = zip(plan.graph.inputs, _input_members(plan.graph), _first_variables(plan.graph), strict=True)
    lines = [f"{x} = s.{member}.forward({x})" for given, member, x in first if _has_stage(given)]
    for stage in plan.stages:
        if stage.output in titles:
            lines += ["", f"# {titles[stage.output]}"]
        inputs = ", ".join(named[value] for value in stage.inputs)
        call = f"s.{members[stage.node.name]}.forward({inputs})"
        waits = stage.can.waits and plan.training
        if stage is plan.stages[-1] and plan.outputs == (stage.output,):
            return [*lines, f"return {f'(yield from {call})' if waits else call}{_comment(plan, stage)}"]
        lines.append(f"{named[stage.output]} = {'yield from ' if waits else ''}{call}{_comment(plan, stage)}")
    return [*lines, f"return {', '.join(named[value] for value in plan.outputs)}"]


def _first_variables(graph: Graph) -> list[str]:
    """The variables that hold the inputs."""
    return ["v" if name == "s" else name for name, _ in zip(names(), graph.inputs, strict=False)]


def _variables(plan: Plan) -> dict[int, str]:
    """A name for each value; `s` holds the stages."""
    steps = [(stage.inputs, (stage.output,)) for stage in plan.stages]
    named = variables(steps, range(len(plan.graph.inputs)), plan.outputs)
    return {value: "v" if name == "s" else name for value, name in named.items()}


def _comment(plan: Plan, stage: Planned) -> str:
    """What the stage stands for, and the shape where it changes."""
    made = plan.graph.type_of(stage.output)
    changes = len(stage.inputs) > 1 or made != plan.graph.type_of(stage.inputs[0])
    parts = [" -> ".join(stage.names)] if len(stage.names) > 1 else []
    parts += [_inside(made)] if changes else []
    return f"  # {': '.join(parts)}" if parts else ""


def _lies_otherwise(tensor: Tensor) -> bool:
    """Whether it is a map, but no image: its axes of space are others than those it lies along."""
    return tensor.is_map and not tensor.is_image


def _inside(tensor: Tensor) -> str:
    """The shape of a value as stages see it."""
    if tensor.is_map:
        return f"({', '.join(map(str, plane(tensor.space)))}, n, {tensor.channels})"
    return f"(n, {', '.join(map(str, tensor.sizes))})"


def _backward_lines(plan: Plan) -> list[str]:
    """Every stage that the result depends on and that has params before it, last to first.

    Gradients are added in place: every array that a stage gives is its own or the dy that it was given.
    """
    members, needed = _members(plan.graph), needs_gradient(plan)
    gradients = Gradients(plan.output, "dy", "{0} += {1}")
    lines: list[str] = []
    for stage in reversed(plan.stages):
        dy = gradients.take(stage.output)
        if dy is None or stage.output not in needed:
            continue
        wait = "yield from " if stage.can.waits else ""
        call = f"{wait}s.{members[stage.node.name]}.backward({dy})"
        targets, sums = gradients.send(stage.inputs, needed)
        lines += [call if set(targets) == {"_"} else f"{', '.join(targets)} = {call}", *sums]
    return lines or ["return"]


def _section_titles(plan: Plan) -> dict[int, str]:
    """What the stages make that a block call or a labelled group begins with -> its title."""
    titles = section_titles(plan.graph)
    numbers = {node.name: number for number, node in enumerate(plan.graph.nodes)}
    stage_titles = {}
    for stage in plan.stages:
        begun = [titles[numbers[name]] for name in stage.names if numbers[name] in titles]
        if begun:
            stage_titles[stage.output] = begun[-1]
    return stage_titles
