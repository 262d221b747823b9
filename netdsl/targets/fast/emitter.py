"""Graph to a NumPy module that is fast (-O2): stages with buffers of their own, and workers that share the batch."""

from __future__ import annotations

import ast
import dataclasses
import re
import sys
import types
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

from netdsl.analysis.loss import judges_tokens, logits_layers, logits_value
from netdsl.analysis.writing import can_write
from netdsl.graph.ir import Graph, Node
from netdsl.graph.recipe import Recipe, weighs_labels
from netdsl.graph.types import Sizes
from netdsl.ground.samples import SAMPLES
from netdsl.ground.symbols import value_text
from netdsl.kernels.losses import total_weight
from netdsl.layers import layer_at
from netdsl.layers.contract import StageCall
from netdsl.passes.choose_algorithms import Choice, cheapest
from netdsl.passes.make_plan import make_plans
from netdsl.passes.plan import Plan, Planned
from netdsl.passes.tile_batch import block_size
from netdsl.stages.convolution import ConvGeometry, Epilogue
from netdsl.stages.input import Input, NormalizedInput
from netdsl.stages.stage import Stage, Stages, Worker
from netdsl.stages.textbook import Textbook
from netdsl.targets.fast.common_gradients import CommonGradients
from netdsl.targets.fast.description import class_methods, end_options, has_stage
from netdsl.targets.fast.dialect import DIALECT
from netdsl.targets.fast.forked_network import ForkedNetwork
from netdsl.targets.fast.large_network import LargeNetwork
from netdsl.targets.fast.named_network import NamedFastNetwork
from netdsl.targets.fast.network import FastNetwork, fast
from netdsl.targets.fast.parts import DecayingMatrices, DrawingNetwork, SharingNetwork, WaitingNetwork, WeightedNetwork
from netdsl.targets.fast.split_network import SplitNetwork
from netdsl.targets.fast.storage import StoredNetwork
from netdsl.targets.numpy.network import Network
from netdsl.targets.numpy.token_network import TokenNetwork
from netdsl.targets.numpy.writing_network import WritingNetwork
from netdsl.targets.text.alone import alone, unshared
from netdsl.targets.text.answers import answer
from netdsl.targets.text.arguments import parameters_of
from netdsl.targets.text.emission import (
    Method,
    emit,
    title,
)
from netdsl.targets.text.ends import (
    output_shapes,
)
from netdsl.targets.text.folded import folded, idle_methods
from netdsl.targets.text.given import Another, Names, Working, WorkingAlone
from netdsl.targets.text.kernel_source import Kernel, TextOf, emitted_text, imported_modules
from netdsl.targets.text.known import UNKNOWN, Known
from netdsl.targets.text.named_answers import answer_by_name
from netdsl.targets.text.numpy_demo import demo_lines, numpy_shares, share_kernels
from netdsl.targets.text.numpy_module import spec_values
from netdsl.targets.text.questions import Questions
from netdsl.targets.text.reached import reached_texts
from netdsl.targets.text.reading_order import reading_order
from netdsl.targets.text.recipe_lines import recipe_kernels, weights_lines
from netdsl.targets.text.said import Said, said_by
from netdsl.targets.text.sequences import sequence_kernels
from netdsl.targets.text.starts import start_kernels
from netdsl.targets.text.trimmed import Outside, text_from, trimmed, unread_settings
from netdsl.targets.text.writing import window_lines, writing_kernels

WORTH_SAVING = 1 << 20
"""Numbers that the layers make of a sample from which on training and inference have the same memory."""
WORTH_SPLITTING = 1e8
"""MACs of a sample from which on its layers are shared: a smaller one is faster on one core."""
WORTH_SPLITTING_TOKENS = 3e7
"""The same of layers of tokens alone, where workers are processes: few are small, and none multiplies less than its
MACs, as convolutions do."""

ITS_NAME = "layer"
"""What a layer is called while it is asked what is known of its stage, which does not depend on the name."""


def emit_fast(
    graph: Graph,
    recipe: Recipe,
    choose: Choice = cheapest,
    level: int = 2,
    kind: str = "threads",
    samples: int = SAMPLES,
) -> str:
    """The text of `<name>_numpy.py` at -O2. choose: which of the ways to compute a layer is taken, where a worker has
    so many samples; kind: of workers, threads or processes."""
    until, count = logits_value(graph, recipe.loss), logits_layers(graph, recipe.loss)
    train, infer = make_plans(graph, recipe, choose)
    drawn, parts = _drawn(train), _parts(graph, recipe, train, kind)
    computed: list[Kernel] = [*_kernels(train), *_kernels(infer), *(_drawn_by(graph, node)[0] for node in drawn)]
    if count < len(graph.nodes):
        computed.append(layer_at(graph.nodes[count]).forward)
    computed += writing_kernels(graph, recipe.loss)
    computed += [total_weight] if weighs_labels(recipe) else []
    computed += [*sequence_kernels(graph), *recipe_kernels(recipe, True), *start_kernels(graph, recipe.init)]
    answers = answer if graph.is_plain else answer_by_name
    roots: list[Kernel] = [*computed, Stages, fast, *parts, *share_kernels(graph, recipe.loss), answers]
    demo = demo_lines(graph, recipe.loss, numpy_shares)
    methods, text_of = _settled(graph, recipe, (train, infer), samples, parts, roots, demo)
    constants, texts = reading_order(roots, text_of)
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
        weights=[*window_lines(graph, recipe.loss), *weights_lines(recipe)],
        common=value_text(_common(train)),
        shown=value_text(_shown(train)),
        least="1e6" if _splits_tokens(graph, kind) else "",
        gives_map=graph.type_of(until).is_map,
        block=block_size(graph),
        draws=[f"{value_text((node.name, *_drawn_by(graph, node)))}," for node in drawn],
        methods=methods,
        texts=texts,
        parts=", ".join(["", *(part.__name__ for part in parts)]),
        workers="forked processes" if kind == "processes" else "threads",
        demo=demo,
    )


def _settled(
    graph: Graph,
    recipe: Recipe,
    plans: tuple[Plan, Plan],
    samples: int,
    parts: Sequence[type],
    roots: Sequence[Kernel],
    demo: Sequence[str],
) -> tuple[list[Method], TextOf]:
    """The methods of the network's class and the text of all else, made anew without what stages do not read."""
    until, own = logits_value(graph, recipe.loss), set[str]()
    kind = "processes" if ForkedNetwork in parts else "threads"
    for _ in range(2):
        methods = class_methods(graph, recipe, plans, until, samples, kind)
        if own != _names(graph, methods):
            own = _names(graph, methods)
            asked = _questions(parts, own, graph.type_of(until).is_map) | _asked_of_windows(plans)
            text_of = _known_text(*plans, SplitNetwork in parts, asked)
        kept = _trimmed_texts(roots, text_of, own, methods, demo)
        text_of, unread = text_from(kept, text_of), unread_settings(kept)
        train, infer = (_as_read(plan, unread) for plan in plans)
        if (train, infer) == plans:
            break
        plans = train, infer
    return methods, text_of


PUBLIC = (
    *("params", "buffers", "forward", "logits", "backward", "loss_and_gradients", "update", "train_step", "close"),
    *("fit", "outputs", "predict", "score", "save", "load", "generate"),
)
"""What users of an emitted network may call, whether the module does or not."""


def _names(graph: Graph, methods: Sequence[Method]) -> set[str]:
    """The methods that the network itself has."""
    own = {"first_params", *(["first_buffers"] if graph.buffer_specs() else [])}
    return {*own, *(method.head.partition("(")[0] for method in methods)}


def _questions(parts: Sequence[type], own: set[str], gives_map: bool) -> dict[type, Questions]:
    """What is known of the network, in the text of the classes that ask. A network that splits has two kinds of
    workers."""
    methods = {*own, *(name for part in parts for base in part.__mro__ for name in vars(base))}
    splits = {"self.splits": SplitNetwork in parts}
    network = Questions(methods, {**splits, "self.gives_map": gives_map})
    asking: dict[type, Questions] = dict.fromkeys(
        (StoredNetwork, FastNetwork, WaitingNetwork, DrawingNetwork, ForkedNetwork, LargeNetwork), network
    )
    return {**asking, Worker: Questions(methods, {} if SplitNetwork in parts else splits)}


def _asked_of_windows(plans: Sequence[Plan]) -> dict[type, Questions]:
    """What is known of the windows of convolutions."""
    calls = [stage.call for plan in plans for stage in plan.stages if stage.call is not None]
    windows = [one for call in calls for one in call.arguments if isinstance(one, ConvGeometry)]
    has_steps = {one.has_steps for one in windows}
    return {ConvGeometry: Questions((), {"self.has_steps": True in has_steps})}


def _words(methods: Sequence[Method], demo: Sequence[str]) -> set[str]:
    """The words of what is written for this network alone."""
    lines = [*demo, *(line for method in methods for line in (method.head, *method.lines))]
    said = [line.partition("#")[0] for line in lines]
    return {*PUBLIC, *(word for line in said for word in re.findall(r"(?<!\bnp\.)\b\w+", line))}


def _as_read(plan: Plan, unread: Mapping[Kernel, Container[str]]) -> Plan:
    """A plan whose stages are not told how they end, and to leave out dx, where their constructors do not read it."""
    stages = []
    for stage in plan.stages:
        gone = unread.get(stage.call.kernel, ()) if stage.call is not None else ()
        if "epilogue" in gone:
            stage = replace(stage, epilogue=Epilogue())
        if "relu" in gone:
            stage = replace(stage, epilogue=replace(stage.epilogue, relu=False))
        if "dx" in gone and stage.call is not None:
            options = {key: value for key, value in stage.call.options.items() if key != "dx"}
            stage = replace(stage, call=replace(stage.call, options=options))
        stages.append(stage)
    return replace(plan, stages=tuple(stages))


def _trimmed_texts(
    roots: Sequence[Kernel], known: TextOf, own: set[str], methods: Sequence[Method], demo: Sequence[str]
) -> dict[Kernel, str]:
    """The text of what the module reaches, without what nothing in it asks for. own: methods of the network itself."""
    words, outside = _words(methods, demo), Outside(_said(methods, demo), frozenset({*PUBLIC, *own}), Network, Stage)
    return trimmed(lambda text_of: reached_texts(roots, words, text_of, Network, own), known, outside)


def _said(methods: Sequence[Method], demo: Sequence[str]) -> tuple[Said, ...]:
    """What is said by what is written for this network alone: its methods, and what it does when it is run."""
    defined = ["\n    ".join([f"def {method.head}:", *method.lines]) for method in methods]
    return tuple(said_by(ast.parse(text)) for text in (*defined, "\n".join(demo)))


def _known_text(train: Plan, infer: Plan, splits: bool, asked: Mapping[type, Questions]) -> TextOf:
    """The text of stages without what none of the network's ever does, and of the runtime without what only parts do
    that the network does not need. splits: whether workers share the layers of a sample."""
    calls = [(plan, stage, stage.call) for plan in (train, infer) for stage in plan.stages if stage.call is not None]
    unasked = {stage.node.name for stage in train.stages if stage.call is not None and "dx" in stage.call.options}
    params = {node.name: Names(frozenset(p.full_name(ITS_NAME) for p in node.params)) for node in train.graph.nodes}
    working = Working if splits else WorkingAlone

    def given(plan: Plan, stage: Planned, call: StageCall) -> dict[str, object]:
        worker = working(plan.training, params.get(stage.node.name, Names(frozenset())))
        return _given(stage, call, stage.node.name in unasked) | {"w": worker}

    known = Known((call.kernel, given(plan, stage, call)) for plan, stage, call in calls)

    def decide(kernel: type, method: str, test: ast.expr) -> bool | None:
        outcome = known.decide(kernel, method, test)
        return known.decide(kernel, method, unshared(test)) if outcome is None and not splits else outcome

    @cache
    def once(kernel: type) -> str | None:
        text = emitted_text(sys.modules[kernel.__module__], kernel.__name__)
        return None if text is None else folded(text, partial(decide, kernel))

    def is_idle(kernel: type, name: str) -> bool:
        """Whether the method does nothing in any stage of that class."""
        made = {call.kernel for _, _, call in calls if issubclass(call.kernel, kernel)}
        owners = [next(part for part in one.__mro__ if name in vars(part)) for one in made]
        return all(name in idle_methods(once(owner) or "") for owner in owners)

    def text_of(module: types.ModuleType, name: str) -> str | None:
        text, kernel = emitted_text(module, name), vars(module).get(name)
        if text is None or not isinstance(kernel, type):
            return text
        if kernel in asked:
            text = folded(text, asked[kernel].decide)
        elif known.is_known(kernel):
            idle = {method for part in kernel.__mro__[:-1] for method in idle_methods(once(part) or "")}
            idle = {method for method in idle if is_idle(kernel, method)}
            text = folded(text, partial(decide, kernel), idle)
        return text if splits else alone(text)

    return text_of


def _given(stage: Planned, call: StageCall, unasked: bool) -> dict[str, object]:
    """What the constructor of a stage is given, by its parameters; nobody asks for dx at inference either."""
    parameters = parameters_of(call.kernel)  # type: ignore[arg-type]
    first: dict[str, object] = {"w": UNKNOWN, **({"name": ITS_NAME} if call.kernel.can.is_named else {})}
    given = {
        name: parameter.default for name, parameter in parameters.items() if parameter.default is not parameter.empty
    }
    given |= first | dict(zip(list(parameters)[len(first) :], call.arguments, strict=False))
    given |= {key: value for key, value in end_options(stage, call).items() if key in parameters}
    others = {"conv": stage.conv, "sums": stage.sums, "front": stage.front}
    given |= {key: Another() for key, other in others.items() if other and key in parameters}
    return {**given, "dx": False} if unasked and "dx" in given else given


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
        LargeNetwork: sum(stage.node.type.size for stage in train.stages) >= WORTH_SAVING,
        NamedFastNetwork: not graph.is_plain,
        TokenNetwork: graph.is_plain and judges_tokens(graph, recipe.loss) and not can_write(graph, recipe.loss),
        WritingNetwork: can_write(graph, recipe.loss),
        CommonGradients: bool(_common(train)),
        SplitNetwork: graph.num_macs >= WORTH_SPLITTING or _splits_tokens(graph, kind),
        SharingNetwork: bool(_shares(graph)),
        DrawingNetwork: bool(_drawn(train)),
        WaitingNetwork: train.waits,
        WeightedNetwork: weighs_labels(recipe),
        DecayingMatrices: recipe.decay == "matrices",
    }
    return [part for part, is_needed in needed.items() if is_needed]


def _splits_tokens(graph: Graph, kind: str) -> bool:
    """Whether the layers of a network that is small otherwise are shared for the sake of its tokens."""
    of_tokens = sum(node.macs for node in graph.nodes if node.type.is_tokens)
    return kind == "processes" and of_tokens >= WORTH_SPLITTING_TOKENS and graph.num_macs < WORTH_SPLITTING


def _common(train: Plan) -> tuple[str, ...]:
    """The weights of which workers have one gradient."""
    nodes = [stage.node for stage in train.stages if stage.options.get("common", False)]
    return tuple(p.full_name(node.name) for node in nodes for p in node.params if p.name.endswith("weight"))


def _shown(train: Plan) -> tuple[str, ...]:
    """The layers whose samples workers show each other for that."""
    common = [stage for stage in train.stages if stage.options.get("common", False)]
    return tuple(stage.node.name for stage in common if stage.can.shows_samples)


def _drawn(train: Plan) -> list[Node]:
    """The dropouts, and what else draws a factor."""
    return [stage.node for stage in train.stages if stage.call is not None and layer_at(stage.node).is_random]


def _drawn_by(graph: Graph, node: Node) -> tuple[Kernel, Sizes, float]:
    """What draws the factor of a node: the forward of a dropout, the shape of what it is given, and its probability."""
    return layer_at(node).drawn(node.attrs, *graph.input_types(node))


def _shares(graph: Graph) -> list[tuple[str, str]]:
    """What a layer would call a param or buffer that it shares, and what it is called."""
    shared = [node for node in graph.nodes if node.shares is not None]
    return [(s.full_name(n.name), s.full_name(n.owner)) for n in shared for s in (*n.params, *n.buffers)]


def _kernels(plan: Plan) -> list[Callable[..., Any] | type]:
    given = [one for one in plan.graph.inputs if has_stage(one)]
    kernels: list[Callable[..., Any] | type] = [NormalizedInput if one.mean else Input for one in given]
    for stage in plan.stages:
        if stage.call is not None:
            kernels += [stage.call.kernel, *_functions(stage.call.arguments)]
        else:
            layer = layer_at(stage.node)
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
