"""The class that describes a network in a fast NumPy module: its stages, and how samples go through them."""

from __future__ import annotations

from netdsl.analysis.loss import judges_tokens
from netdsl.graph.ir import Graph, Node
from netdsl.graph.ir import Input as NetworkInput
from netdsl.graph.recipe import Recipe
from netdsl.graph.types import Tensor
from netdsl.ground.symbols import value_text
from netdsl.layers import layer_at
from netdsl.layers.contract import StageCall
from netdsl.passes.plan import Plan, Planned, needs_gradient
from netdsl.passes.signals import sizes_inside, stage_calls
from netdsl.stages.layout import plane
from netdsl.targets.fast.reasons import reason
from netdsl.targets.text.arguments import argument_texts, parameters_of
from netdsl.targets.text.emission import NO_SECTION, Method, batch_shape, constants_text, raw_doc, titles_of_nodes
from netdsl.targets.text.ends import argument_names, gives_text, takes_text, tuple_text
from netdsl.targets.text.gradients import Gradients
from netdsl.targets.text.recipe_lines import loss_methods, shared_optimizer_lines, weight_methods
from netdsl.targets.text.sequences import dtype_methods, sequence_methods
from netdsl.targets.text.variables import names, variables
from netdsl.targets.text.writing import writing_methods


def class_methods(
    graph: Graph, recipe: Recipe, plans: tuple[Plan, Plan], until: int, samples: int, kind: str
) -> list[Method]:
    """The methods of the class that describes the network. plans: in training and at inference; samples: how many a
    worker has of a batch, for which ways to compute a layer were chosen; kind: of workers."""
    train, infer = plans
    stages, is_one = _stage_lines(train, infer, samples), _are_alike(train, infer)
    forward, at_inference = _forward_lines(train), _forward_lines(infer)
    when = "in training and at inference" if is_one else "in training"
    takes, wanted = takes_text(graph), batch_shape(graph.shape_of(until))
    arguments, inputs = ", ".join(argument_names(graph)), ", ".join(_first_variables(graph))
    makes = f"what the loss reads {wanted}{', and all outputs' if graph.gives_names else ''}"
    own_logits = (
        f"logits(self, {arguments}, training=False)",
        f"{takes} -> what the loss reads {wanted}.",
        [_logits_line(graph)],
    )
    written = [
        ("train_stages(self, w)", f"What worker w computes with, {when}.", stages),
        ("infer_stages(self, w)", "The same at inference: batch norms are part of convolutions.", _stage_lines(infer)),
        (f"train_forward(self, s, {inputs})", f"One block: {takes} -> {makes}.", forward),
        (
            "train_backward(self, s, dy)",
            "The gradient by what `train_forward` gave -> those of the params.",
            _backward_lines(train),
        ),
        (f"infer_forward(self, s, {inputs})", "As `train_forward`, at inference.", at_inference),
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
    gone = {"infer_stages": is_one, "infer_forward": forward == at_inference}  # then those of training do
    written = [method for method in written if not gone.get(method[0].partition("(")[0], False)]
    losses = loss_methods(recipe, always=True, of_rows=judges_tokens(graph, recipe.loss))
    weights = weight_methods(recipe, graph.type_of(until).channels)
    own = [
        *weights,
        *sequence_methods(graph),
        *(dtype_methods(graph) if kind == "processes" else []),
        *writing_methods(graph, recipe.loss),
    ]
    return [*losses, *own, *(Method(head, doc, tuple(lines)) for head, doc, lines in written)]


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
    return f"return {layer_at(last).forward.__name__}({arguments})[0]"


def _optimizer_lines(recipe: Recipe) -> list[str]:
    """Each worker has a part of the params, and the squares of the gradients' norm of its part in `norms`."""
    steps = shared_optimizer_lines(recipe)
    if recipe.clip is None:
        return steps
    return [
        "# a worker's part of `norms` is 0, too, where its squares overflow",
        "norm = self.norms.sum() ** 0.5 if self.norms.all() else norm_of([self.gradients[0]])",
        f"grads = scaled(grads, clip_factor(norm, {value_text(recipe.clip)}))",
        *steps,
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


def has_stage(given: NetworkInput) -> bool:
    """Whether an input goes through a stage of its own, which normalises it or turns a map."""
    return bool(given.mean) or given.type.is_map


def _are_alike(train: Plan, infer: Plan) -> bool:
    """Whether the stages in training and at inference differ in nothing but where they hand on their numbers."""
    if len(train.stages) != len(infer.stages):
        return False
    members = _members(train.graph)
    return all(
        _made(one, train, members, "w") == _made(_as_in(one, other), infer, members, "w")
        for one, other in zip(train.stages, infer.stages, strict=True)
    )


def _as_in(train: Planned, infer: Planned) -> Planned:
    """A stage at inference that is not asked for dx where it is not in training."""
    is_asked = train.call is None or infer.call is None or "dx" not in train.call.options
    return infer if is_asked else infer.set(dx=train.call.options["dx"])  # type: ignore[union-attr]


def _stage_lines(plan: Plan, infer: Plan | None = None, samples: int = 0) -> list[str]:
    """The lines that make the stages. infer: with where these hand on their numbers at inference, if they are alike;
    samples: with the reasons for the choice of a stage."""
    members = _members(plan.graph)
    lines = ["p, s = self.params, Stages()" if any(s.call is None for s in plan.stages) else "s = Stages()"]
    for given, member in zip(plan.graph.inputs, _input_members(plan.graph), strict=True):
        shape = value_text(sizes_inside(given.type))
        if given.mean:
            constants = f"{constants_text(given.mean)}, {constants_text(given.std)}"
            lines.append(f"s.{member} = NormalizedInput(w, {shape}, {constants})")
        elif has_stage(given):
            lines.append(f"s.{member} = Input(w, {shape})")
    others = infer.stages if infer is not None and _are_alike(plan, infer) else plan.stages
    reasons: set[str] = set()
    for stage, other in zip(plan.stages, others, strict=True):
        why = _reason(stage, plan.graph, samples) if samples and stage.call is not None else ""
        lines += [why] if why and why not in reasons else []
        reasons.add(why)
        lines.append(f"s.{members[stage.node.name]} = {_made(stage, plan, members, _worker(stage, other))}")
    return [*lines, "return s"]


def _made(stage: Planned, plan: Plan, members: dict[str, str], worker: str) -> str:
    return _textbook(plan.graph, stage.node) if stage.call is None else _constructor(stage, stage.call, members, worker)


def _worker(stage: Planned, other: Planned) -> str:
    """The worker, and the number of the memory in which the stage hands on its numbers, at inference too if another."""
    if stage.memory == other.memory:
        return "w" if stage.memory is None else f"w.into({stage.memory})"
    return f"w.into({stage.memory}, {other.memory})"


def _reason(stage: Planned, graph: Graph, samples: int) -> str:
    assert stage.call is not None
    return reason(stage.call, stage_calls(stage.node, graph.input_types(stage.node)), samples)


def _textbook(graph: Graph, node: Node) -> str:
    """`Textbook(w, "lrn1", lambda x: lrn_forward(x, 5), lrn_backward)`; with the spaces of what is no image."""
    layer = layer_at(node)
    inputs = "*xs" if len(node.inputs) > 1 else "x"
    call = f"lambda {inputs}: {layer.forward.__name__}({', '.join([inputs, *_arguments(node)])})"
    types = (*graph.input_types(node), node.type)
    spaces = f", {value_text(tuple(x.space for x in types))}" if any(_lies_otherwise(x) for x in types) else ""
    return f'Textbook(w, "{node.name}", {call}, {layer.backward.__name__}{spaces})'


def _constructor(stage: Planned, call: StageCall, members: dict[str, str], worker: str) -> str:
    """`PairPool(w, (32, 28, 28), (2, 2), conv=s.conv1, relu=True)`; what is the default is left out."""
    parameters = parameters_of(call.kernel)  # type: ignore[arg-type]
    parts = [worker, *([f'"{stage.node.name}"'] if call.kernel.can.is_named else [])]
    behind = list(parameters.values())[len(parts) :]
    given = list(call.arguments)
    while given and len(given) <= len(behind) and behind[len(given) - 1].default == given[-1]:
        given.pop()
    parts += [value_text(value) for value in given]
    others = {"conv": stage.conv, "sums": stage.sums, "front": stage.front}
    parts += [f"{key}=s.{members[name]}" for key, name in others.items() if name]
    parts += [
        f"{key}={value_text(value)}"
        for key, value in end_options(stage, call).items()
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
    lines = [f"{x} = s.{member}.forward({x})" for given, member, x in first if has_stage(given)]
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
    made = plan.type_of(stage.output)
    changes = len(stage.inputs) > 1 or made != plan.type_of(stage.inputs[0])
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
    """What the stages make that a block call or a labelled group begins with -> its title. A stage of
    none, which a pass moved to where it stands, begins none."""
    title_of = dict(zip((node.name for node in plan.graph.nodes), titles_of_nodes(plan.graph), strict=True))
    titles = [title_of[stage.names[-1]] for stage in plan.stages]
    around = zip([NO_SECTION, *titles], titles, [*titles[1:], NO_SECTION], strict=False)
    titles = [before if title == NO_SECTION and before == behind else title for before, title, behind in around]
    begun = zip(plan.stages, titles, [NO_SECTION, *titles], strict=False)
    return {stage.output: title for stage, title, before in begun if title != before}


def end_options(stage: Planned, call: StageCall) -> dict[str, object]:
    """What is given by name: how the stage ends, and its own options."""
    end = stage.epilogue
    given = {"plus": end.plus, "relu": end.relu, "clip": end.clip, "adds_bias": end.bias}
    return {**given, "epilogue": end, **call.options}
