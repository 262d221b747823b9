"""Graph to a NumPy module that is fast (-O2): stages with buffers of their own, and workers that share the batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from netdsl.analysis.loss import logits_layers, logits_value
from netdsl.backends.arguments import forward_arguments
from netdsl.backends.emission import Method, batch_shape, emit, layer_table, title
from netdsl.backends.fast_network import FastNetwork
from netdsl.backends.kernel_source import imported_modules, kernel_texts
from netdsl.backends.numpy_demo import demo_lines
from netdsl.backends.numpy_emitter import dictionary, start_kernels
from netdsl.backends.variables import names, variables
from netdsl.ir import Graph, Node
from netdsl.kernels.plane_stages import Factor, Input, Textbook
from netdsl.kernels.stages import Stages
from netdsl.layers import layer_of
from netdsl.names import class_name
from netdsl.passes.plan import Plan, Planned, needs_gradient, plan
from netdsl.passes.tile_batch import block_size
from netdsl.recipe import OPTIMIZERS, Recipe


def emit_fast(graph: Graph, recipe: Recipe, loss: Callable) -> str:
    """The text of `<name>_numpy.py` at -O2."""
    until, count = logits_value(graph, recipe.loss), logits_layers(graph, recipe.loss)
    train, infer = (plan(graph, until, count, training) for training in (True, False))
    optimizer = OPTIMIZERS[recipe.optimizer].step
    drawn = [s.node for s in train.stages if s.call is not None and s.call.kernel is Factor]
    roots: list[Callable | type] = [*_kernels(train), *_kernels(infer), loss, optimizer]
    roots += [layer_of(node.op).forward for node in drawn]
    if until != graph.output:
        roots.append(layer_of(graph.nodes[graph.output - 1].op).forward)
    *kernels, network = kernel_texts([*roots, Stages, *start_kernels(graph, recipe.init), FastNetwork])
    name = class_name(graph.name)
    return emit(
        "fast_module.py.j2",
        title=f"{title(graph, name, 'NumPy', ' -O2')}; needs numpy and nothing else.",
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
        logits_shape=repr(graph.shape_of(until)),
        waits=train.waits,
        block=block_size(graph),
        draws=[
            f'("{n.name}", {layer_of(n.op).forward.__name__}, {graph.input_shapes(n)[0]!r}, {n.attrs["p"]!r}),'
            for n in drawn
        ],
        params=dictionary(graph.param_specs(), recipe.init),
        buffers=dictionary(graph.buffer_specs(), recipe.init),
        methods=_methods(graph, recipe, train, infer, until),
        demo=demo_lines(graph, recipe.loss),
    )


def _kernels(plan: Plan) -> list[Callable | type]:
    found: list[Callable | type] = [Input]
    for stage in plan.stages:
        if stage.call is not None:
            found.append(stage.call.kernel)
            found += [value for value in stage.call.arguments if callable(value)]
        else:
            layer = layer_of(stage.node.op)
            found += [Textbook, layer.forward, layer.backward]
    return found


def _methods(graph: Graph, recipe: Recipe, train: Plan, infer: Plan, until: int) -> list[Method]:
    given, wanted = batch_shape(graph.input_shape), batch_shape(graph.shape_of(until))
    built = _stage_lines(train)
    methods = [
        Method("train_stages(self, w)", "What worker w computes with, in training.", tuple(built)),
        Method(
            "infer_stages(self, w)",
            "The same at inference: batch norms are part of convolutions.",
            tuple(_stage_lines(infer)),
        ),
        Method(
            "train_forward(self, s, x)",
            f"One block: x {given} -> what the loss reads {wanted}.",
            tuple(_forward_lines(train)),
        ),
        Method(
            "train_backward(self, s, dy)",
            "The gradient by what `train_forward` gave -> those of the params.",
            tuple(_backward_lines(train)),
        ),
        Method("infer_forward(self, s, x)", "As `train_forward`, at inference.", tuple(_forward_lines(infer))),
    ]
    if until != graph.output:
        last = graph.nodes[graph.output - 1]
        kernel = layer_of(last.op).forward
        arguments = ", ".join(["self.logits(x, training)", *_arguments(last)])
        methods.append(
            Method(
                "forward(self, x, training=False)",
                f"x {given} -> y {batch_shape(graph.output_shape)}.",
                (f"return {kernel.__name__}({arguments})[0]",),
            )
        )
    else:
        methods.append(
            Method(
                "forward(self, x, training=False)", f"x {given} -> y {wanted}.", ("return self.logits(x, training)",)
            )
        )
    options = [f"{key}={value!r}" for key, value in recipe.options.items() if key != "lr"]
    step = OPTIMIZERS[recipe.optimizer].step.__name__
    call = f"{step}({', '.join(['params', 'grads', 'state', 'lr', *options])})"
    methods.append(Method("optimize(self, params, grads, state, lr)", "One step of the optimizer, in place.", (call,)))
    return methods


def _identifier(name: str) -> str:
    return name.replace(".", "_")


def _stage_lines(plan: Plan) -> list[str]:
    lines = ["p, s = self.params, Stages()"] if any(s.call is None for s in plan.stages) else ["s = Stages()"]
    if len(plan.graph.input_shape) == 3:
        lines.append(f"s.input = Input(w, {plan.graph.input_shape!r})")
    for stage in plan.stages:
        lines.append(f"s.{_identifier(stage.node.name)} = {_constructor(stage)}")
    return [*lines, "return s"]


def _constructor(stage: Planned) -> str:
    node = stage.node
    if stage.call is None:
        layer = layer_of(node.op)
        inputs = ", ".join(["*xs"] if len(node.inputs) > 1 else ["x"])
        arguments = ", ".join([inputs, *_arguments(node)])
        call = f"lambda {inputs}: {layer.forward.__name__}({arguments})"
        return f'Textbook(w, "{node.name}", {call}, {layer.backward.__name__})'
    parts = ["w"]
    signature = inspect.signature(stage.call.kernel).parameters
    if "name" in signature:
        parts.append(f'"{node.name}"')
    given = list(stage.call.arguments)
    rest = [p for p in list(signature.values())[len(parts) :]]
    while given and rest[len(given) - 1].default == given[-1]:
        given.pop()
    parts += [value.__name__ if callable(value) else repr(value) for value in given]
    if stage.conv:
        parts.append(f"conv=s.{_identifier(stage.conv)}")
    parts += [f"{key}={value!r}" for key, value in stage.call.options.items() if signature[key].default != value]
    return f"{stage.call.kernel.__name__}({', '.join(parts)})"


def _arguments(node: Node) -> list[str]:
    """What a textbook kernel is given beside its inputs."""
    defaults = {name: p.default for name, p in inspect.signature(layer_of(node.op).forward).parameters.items()}
    found = []
    for name, source in forward_arguments(node):
        if source in ("param", "buffer"):
            specs = node.params if source == "param" else node.buffers
            full = next(spec for spec in specs if spec.argument == name).full_name(node.name)
            found.append(f'{"p" if source == "param" else "self.buffers"}["{full}"]')
        elif source == "attr":
            if node.attrs[name] != defaults[name]:
                found.append(f"{name}={node.attrs[name]!r}")
        else:
            found.append({"absent": "None", "training": "training=w.training", "rng": "rng=self.rng"}[source])
    return found


def _forward_lines(plan: Plan) -> list[str]:
    steps = [(stage.inputs, (stage.output,)) for stage in plan.stages]
    named = variables(steps, [0], [plan.output])
    lines = ["x = s.input.forward(x)"] if len(plan.graph.input_shape) == 3 else []
    for stage in plan.stages:
        inputs = ", ".join(named[value] for value in stage.inputs)
        wait = "yield from " if stage.waits and plan.training else ""
        line = f"{named[stage.output]} = {wait}s.{_identifier(stage.node.name)}.forward({inputs})"
        lines.append(f"{line}{_comment(plan, stage)}")
    return [*lines, f"return {named[plan.output]}"]


def _comment(plan: Plan, stage: Planned) -> str:
    """What the stage stands for, and the shape where it changes."""
    told = " -> ".join(stage.names) if len(stage.names) > 1 else ""
    shape = plan.graph.shape_of(stage.output)
    changes = len(stage.inputs) > 1 or shape != plan.graph.shape_of(stage.inputs[0])
    parts = [*([told] if told else []), *([_inside(shape)] if changes else [])]
    return f"  # {': '.join(parts)}" if parts else ""


def _inside(shape: tuple[int, ...]) -> str:
    """The shape of a value as stages see it."""
    if len(shape) == 3:
        return f"({shape[1]}, {shape[2]}, n, {shape[0]})"
    return f"(n, {', '.join(map(str, shape))})"


def _backward_lines(plan: Plan) -> list[str]:
    """Every stage that the result depends on and that has params before it, last to first."""
    needed = needs_gradient(plan)
    found = {plan.output: "dy"}
    lines: list[str] = []
    for stage in reversed(plan.stages):
        dy = found.pop(stage.output, None)
        if dy is None or stage.output not in needed:
            continue
        targets: list[str] = []
        sums: list[str] = []
        for value in stage.inputs:
            name = next(n for n in _gradient_names() if n not in (*found.values(), *targets))
            if value not in needed:
                targets.append("_")
                continue
            targets.append(name)
            if value in found:
                sums.append(f"{found[value]} += {name}")
            else:
                found[value] = name
        wait = "yield from " if stage.waits else ""
        call = f"{wait}s.{_identifier(stage.node.name)}.backward({dy})"
        lines.append(call if set(targets) == {"_"} else f"{', '.join(targets)} = {call}")
        lines += sums
    return lines or ["return"]


def _gradient_names():
    return (f"d{name}" for name in names() if name != "x")
