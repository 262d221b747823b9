"""A graph as a list of stages: `plan` gives every node the stage its layer offers, then fuses.

What a stage can take over is what its constructor has an argument for: `relu` (it can end in one), `conv` (it can add
that convolution's bias), `norm` (a batch norm can become part of its weights), `dx` (it can leave out the gradient by
its input). A stage whose passes are generators waits for the whole batch there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

from netdsl.ir import Graph, Node
from netdsl.kernels.convolutions import ConvStage
from netdsl.kernels.plane_stages import BatchNorm, MaxPool, Relu
from netdsl.layers import layer_of
from netdsl.layers.contract import StageCall


@dataclass(frozen=True)
class Planned:
    """One stage: what it is called, the value it makes and those it reads; `call` None is the textbook's kernel.

    conv: the stage whose bias it adds. names: the nodes it stands for.
    """

    node: Node
    inputs: tuple[int, ...]
    output: int
    call: StageCall | None
    names: tuple[str, ...]
    conv: str = ""

    @property
    def waits(self) -> bool:
        return self.call is not None and inspect.isgeneratorfunction(self.call.kernel.forward)

    def takes(self, argument: str) -> bool:
        return self.call is not None and argument in _arguments(self.call.kernel)

    def set(self, **options: object) -> Planned:
        assert self.call is not None
        return replace(self, call=replace(self.call, options={**self.call.options, **options}))


@dataclass(frozen=True)
class Plan:
    """The stages in order, and the value that the network gives; value 0 is its input."""

    graph: Graph
    stages: tuple[Planned, ...]
    output: int
    training: bool = field(default=True)

    @cached_property
    def readers(self) -> dict[int, list[Planned]]:
        found: dict[int, list[Planned]] = {}
        for stage in self.stages:
            for value in dict.fromkeys(stage.inputs):
                found.setdefault(value, []).append(stage)
        return found

    def maker(self, value: int) -> Planned | None:
        return self._makers.get(value)

    @cached_property
    def _makers(self) -> dict[int, Planned]:
        return {stage.output: stage for stage in self.stages}

    def only_reader(self, value: int) -> Planned | None:
        """The one stage that reads a value, if nothing else does."""
        readers = self.readers.get(value, [])
        single = len(readers) == 1 and value != self.output and readers[0].inputs.count(value) == 1
        return readers[0] if single else None

    @property
    def waits(self) -> bool:
        return any(stage.waits for stage in self.stages)

    def without(self, gone: Planned, *changed: Planned) -> Plan:
        """The plan without a stage that only handed on its input, and with the others in place of those they change."""
        new = {stage.node.name: stage for stage in changed}
        stages = [new.get(stage.node.name, stage) for stage in self.stages if stage is not gone]
        return replace(self, stages=tuple(stages))


def plan(graph: Graph, until: int, count: int, training: bool) -> Plan:
    """The stages of the first `count` nodes of the graph, of which value `until` is the result."""
    stages = []
    for index, node in enumerate(graph.nodes[:count]):
        offered = layer_of(node.op).stages
        shapes = graph.input_shapes(node)
        calls = offered(node.attrs, *shapes) if offered else ()
        stages.append(Planned(node, node.inputs, index + 1, calls[0] if calls else None, (node.name,)))
    start = Plan(graph, tuple(stages), until, training)
    passes: list[Callable[[Plan], Plan]] = [fuse_relu, move_bias, leave_out_dx]
    if not training:
        passes.insert(0, fold_norm)
    for each in passes:
        start = each(start)
    return start


def fold_norm(plan: Plan) -> Plan:
    """Inference: a batch norm right behind a convolution becomes part of its weights and its bias."""
    for norm in plan.stages:
        if norm.call is None or norm.call.kernel is not BatchNorm:
            continue
        conv = plan.maker(norm.inputs[0])
        if conv is not None and conv.takes("norm") and plan.only_reader(conv.output) is norm:
            eps = norm.call.options.get("eps", 1e-5)
            changed = replace(
                conv.set(norm=(norm.node.name, eps)), output=norm.output, names=(*conv.names, norm.node.name)
            )
            plan = plan.without(norm, changed)
    stages = [replace(s, call=None) if s.call is not None and s.call.kernel is BatchNorm else s for s in plan.stages]
    return replace(plan, stages=tuple(stages))


def fuse_relu(plan: Plan) -> Plan:
    """A relu goes into the maximum pooling behind it, or into the stage before it."""
    for relu in plan.stages:
        if relu.call is None or relu.call.kernel is not Relu:
            continue
        after, before = plan.only_reader(relu.output), plan.maker(relu.inputs[0])
        if after is not None and after.takes("relu") and after.call is not None and after.call.kernel is MaxPool:
            plan = plan.without(
                relu, replace(after.set(relu=True), inputs=relu.inputs, names=(*relu.names, *after.names))
            )
        elif before is not None and before.takes("relu") and plan.only_reader(before.output) is relu:
            plan = plan.without(
                relu, replace(before.set(relu=True), output=relu.output, names=(*before.names, *relu.names))
            )
    return plan


def move_bias(plan: Plan) -> Plan:
    """The bias of a convolution is added by the stage behind it, if that passes over the numbers anyway."""
    for conv in plan.stages:
        if conv.call is None or not issubclass(conv.call.kernel, ConvStage):
            continue
        after = plan.only_reader(conv.output)
        if after is not None and after.takes("conv") and (after.call is None or after.call.kernel is not BatchNorm):
            plan = (
                plan.without(after, conv.set(adds_bias=False))
                if False
                else _replaced(plan, conv.set(adds_bias=False), replace(after, conv=conv.node.name))
            )
    stages = []
    for stage in plan.stages:
        if stage.call is not None and stage.call.kernel is Relu and not stage.conv:
            before = plan.maker(stage.inputs[0])
            own = before is not None and before.call is not None and issubclass(before.call.kernel, ConvStage)
            alone = plan.only_reader(stage.inputs[0]) is stage
            stage = stage if own and alone else stage.set(copies=True)
        stages.append(stage)
    return replace(plan, stages=tuple(stages))


def _replaced(plan: Plan, *changed: Planned) -> Plan:
    new = {stage.node.name: stage for stage in changed}
    return replace(plan, stages=tuple(new.get(stage.node.name, stage) for stage in plan.stages))


def leave_out_dx(plan: Plan) -> Plan:
    """Nothing needs the gradient by the network's input, nor what lies on the way from it."""
    needed: set[int] = set()  # values with params before them
    stages = []
    for stage in plan.stages:
        wanted = any(value in needed for value in stage.inputs)
        if stage.node.params or wanted:
            needed.add(stage.output)
        stages.append(stage.set(dx=False) if stage.takes("dx") and not wanted else stage)
    return replace(plan, stages=tuple(stages))


def needs_gradient(plan: Plan) -> set[int]:
    """The values by which the loss is derived on the way back to some param."""
    found: set[int] = set()
    for stage in plan.stages:
        if stage.node.params or any(value in found for value in stage.inputs):
            found.add(stage.output)
    return found


def _arguments(kernel: type) -> tuple[str, ...]:
    return tuple(inspect.signature(kernel).parameters)
