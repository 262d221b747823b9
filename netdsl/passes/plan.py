"""A graph as a list of stages: `plan` gives every node the stage its layer offers, then joins them.

What a stage can take over or leave out, it says itself: `can` of its class (stages/can.py).

Every pass is pure, Plan -> Plan, and changes no number but by rounding; its docstring says why that is so. After each
`verify_plan` asserts that the plan is whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

from netdsl.graph.ir import Graph, Node
from netdsl.layers.contract import StageCall
from netdsl.passes.choose_algorithms import Choice, cheapest
from netdsl.passes.signals import stage_calls
from netdsl.stages.add import Add
from netdsl.stages.batch_norm import BatchNorm, FrozenNorm
from netdsl.stages.can import Can
from netdsl.stages.relu import Relu
from netdsl.stages.stage import Stage

TEXTBOOK = Can(is_named=True)
"""What a stage of textbook kernels can do."""


@dataclass(frozen=True)
class Planned:
    """One stage, called as its node: the values it reads, the one it makes, and the nodes it stands for.

    call: None is the textbook's kernel. conv: the name of the stage whose bias it adds. memory: the number of the
    memory in which it hands on its numbers (plan_memory).
    """

    node: Node
    inputs: tuple[int, ...]
    output: int
    call: StageCall | None
    names: tuple[str, ...]
    conv: str = ""
    memory: int | None = None

    @property
    def kernel(self) -> type[Stage] | None:
        """The class of the stage; None for textbook kernels."""
        return None if self.call is None else self.call.kernel

    @property
    def can(self) -> Can:
        """What the stage says that it can do."""
        return TEXTBOOK if self.kernel is None else self.kernel.can

    @property
    def adds_bias(self) -> bool:
        """Whether it is a convolution that has something to add: a bias, or what a batch norm left."""
        return self.can.is_conv and ("norm" in self.options or any(p.name == "bias" for p in self.node.params))

    @property
    def options(self) -> dict[str, object]:
        """The options that its constructor is given by name."""
        return {} if self.call is None else dict(self.call.options)

    def set(self, **options: object) -> Planned:
        """The same stage with these options, too."""
        assert self.call is not None, self.node.name
        return replace(self, call=replace(self.call, options={**self.call.options, **options}))


@dataclass(frozen=True)
class Plan:
    """The stages in order, and the values that come out: first what the loss reads, then every output with a name."""

    graph: Graph
    stages: tuple[Planned, ...]
    outputs: tuple[int, ...]
    training: bool

    @property
    def output(self) -> int:
        """What the loss reads."""
        return self.outputs[0]

    @property
    def waits(self) -> bool:
        return self.training and any(stage.can.waits for stage in self.stages)

    @cached_property
    def _makers(self) -> dict[int, Planned]:
        return {stage.output: stage for stage in self.stages}

    @cached_property
    def _readers(self) -> dict[int, list[Planned]]:
        """Value -> the stages that read it, a stage as often as it does."""
        readers: dict[int, list[Planned]] = {}
        for stage in self.stages:
            for value in stage.inputs:
                readers.setdefault(value, []).append(stage)
        return readers

    def maker(self, value: int) -> Planned | None:
        """The stage that makes a value; None for an input of the network."""
        return self._makers.get(value)

    def only_reader(self, value: int) -> Planned | None:
        """The one stage that reads a value, once, if nothing else needs it."""
        readers = self._readers.get(value, [])
        return readers[0] if len(readers) == 1 and value not in self.outputs else None

    def with_stages(self, *changed: Planned) -> Plan:
        """The plan with these stages in place of those of the same names."""
        new = {stage.node.name: stage for stage in changed}
        return replace(self, stages=tuple(new.get(stage.node.name, stage) for stage in self.stages))


class _Draft:
    """A plan while a pass joins stages: every change costs as much as what it changes, however long the network is."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._stages = {stage.node.name: stage for stage in plan.stages}
        self._makers: dict[int, Planned] = {}
        self._readers: dict[int, list[Planned]] = {}
        for stage in plan.stages:
            self._connect(stage)

    def _connect(self, stage: Planned) -> None:
        self._makers[stage.output] = stage
        for value in stage.inputs:
            self._readers.setdefault(value, []).append(stage)

    def _disconnect(self, stage: Planned) -> None:
        del self._makers[stage.output]
        for value in stage.inputs:
            self._readers[value] = [reader for reader in self._readers[value] if reader is not stage]

    def maker(self, value: int) -> Planned | None:
        """The stage that makes a value now; None for the network's input."""
        return self._makers.get(value)

    def only_reader(self, value: int) -> Planned | None:
        """The one stage that reads a value now, once, if nothing else needs it."""
        readers = self._readers.get(value, [])
        return readers[0] if len(readers) == 1 and value not in self._plan.outputs else None

    def change(self, *changed: Planned, gone: Planned | None = None) -> None:
        """Puts these stages in place of those of the same names, and leaves one of them out."""
        for stage in (*changed, *([gone] if gone is not None else [])):
            self._disconnect(self._stages[stage.node.name])
        if gone is not None:
            del self._stages[gone.node.name]
        for stage in changed:
            self._stages[stage.node.name] = stage
            self._connect(stage)

    def done(self) -> Plan:
        return replace(self._plan, stages=tuple(self._stages.values()))


def plan(graph: Graph, until: int, count: int, training: bool, choose: Choice = cheapest) -> Plan:
    """The stages of the first `count` nodes of the graph, of which value `until` is the result."""
    stages = []
    for index, node in enumerate(graph.nodes[:count]):
        calls = stage_calls(node, graph.input_types(node))
        call = choose(calls, training) if calls else None
        stages.append(Planned(node, node.inputs, graph.value(index), call, (node.name,)))
    named = [output.value for output in graph.outputs if output.name]
    planned = verify_plan(Plan(graph, tuple(stages), (until, *named), training))
    for each in TRAINING if training else INFERENCE:
        planned = verify_plan(each(planned))
    return planned


def verify_plan(plan: Plan) -> Plan:
    """Assert that every stage reads what is made before it, that each value is made once and each node stands in one
    stage, and that what comes out is made; returns the plan."""
    made = set(range(len(plan.graph.inputs)))
    nodes: set[str] = set()
    stages: set[str] = set()
    for stage in plan.stages:
        assert made.issuperset(stage.inputs), f"{stage.node.name} reads {stage.inputs}, of which some is not made"
        assert stage.output not in made, f"{stage.node.name} makes {stage.output} a second time"
        assert nodes.isdisjoint(stage.names), f"{stage.node.name} stands for {stage.names}, of which some is done"
        assert stage.node.name in stage.names, f"{stage.node.name} stands for {stage.names}"
        assert not stage.conv or stage.conv in stages, (
            f"{stage.node.name} adds the bias of {stage.conv}, which is not there"
        )
        made.add(stage.output)
        nodes.update(stage.names)
        stages.add(stage.node.name)
    assert made.issuperset(plan.outputs), f"{plan.outputs} come out, of which some is not made"
    return plan


def leave_out_identity(plan: Plan) -> Plan:
    """What gives its input as it is: `id`, and at inference the dropouts. Whoever reads it reads what it read."""
    idle = ("always",) if plan.training else ("always", "at inference")
    given: dict[int, int] = {}
    stages = []
    for stage in plan.stages:
        inputs = tuple(given.get(value, value) for value in stage.inputs)
        if stage.can.idles in idle:
            given[stage.output] = inputs[0]
        else:
            stages.append(replace(stage, inputs=inputs))
    return replace(plan, stages=tuple(stages), outputs=tuple(given.get(value, value) for value in plan.outputs))


def fold_norm(plan: Plan) -> Plan:
    """A batch norm right behind a convolution becomes part of its weights and its bias.

    At inference it is a factor and a summand for each channel. Right where nothing else reads the convolution, and for
    one batch norm each: a second one behind it stays.
    """
    draft = _Draft(plan)
    for norm in plan.stages:
        conv = draft.maker(norm.inputs[0]) if norm.kernel is BatchNorm else None
        if conv is None or not conv.can.take_norm or "norm" in conv.options:
            continue
        if draft.only_reader(conv.output) is not norm:
            continue
        folded = conv.set(norm=(norm.node.name, norm.options.get("eps", 1e-5)))
        folded = replace(folded, output=norm.output, names=(*conv.names, *norm.names))
        draft.change(folded, gone=norm)
    return draft.done()


def freeze_norm(plan: Plan) -> Plan:
    """The batch norms that are left at inference: a factor and a summand for each channel."""
    frozen = []
    for norm in plan.stages:
        if norm.call is not None and norm.kernel is BatchNorm:
            options = {key: value for key, value in norm.options.items() if key == "eps"}
            frozen.append(replace(norm, call=StageCall(FrozenNorm, norm.call.arguments, options)))
    return plan.with_stages(*frozen)


def fuse_relu(plan: Plan) -> Plan:
    """A relu goes into the stage behind it that can wait for it (maximum pooling), else into the stage before it.

    max(relu(x)) is relu(max(x)), and the gradient goes to the same place, or a relu that stops it. Right where nothing
    else reads what lies between the two.
    """
    draft = _Draft(plan)
    for relu in plan.stages:
        if relu.kernel is not Relu:
            continue
        after, before = draft.only_reader(relu.output), draft.maker(relu.inputs[0])
        if after is not None and after.can.wait_for_relu:
            fused = replace(after.set(relu=True), inputs=relu.inputs, names=(*relu.names, *after.names))
        elif before is not None and before.can.end_in_relu and draft.only_reader(before.output) is relu:
            fused = replace(before.set(relu=True), output=relu.output, names=(*before.names, *relu.names))
        else:
            continue
        draft.change(fused, gone=relu)
    return draft.done()


def fuse_add(plan: Plan) -> Plan:
    """At inference the convolution that comes last before a sum of two adds what the other branch gave.

    Right where nothing else reads that convolution, and it has no relu of its own.
    """
    draft, order = _Draft(plan), {stage.node.name: i for i, stage in enumerate(plan.stages)}

    def place(value: int) -> int:
        maker = draft.maker(value)
        return -1 if maker is None else order[maker.node.name]

    for add in plan.stages:
        if add.kernel is not Add or len(set(add.inputs)) != 2 or len(add.inputs) != 2:
            continue
        first, last = sorted(add.inputs, key=place)
        conv = draft.maker(last)
        if (
            conv is None
            or not conv.can.add_map
            or len(conv.inputs) != 1
            or conv.options.get("relu")
            or draft.only_reader(last) is not add
        ):
            continue
        fused = conv.set(relu=True) if add.options.get("relu") else conv
        fused = replace(fused, inputs=(*conv.inputs, first), output=add.output, names=(*conv.names, *add.names))
        draft.change(fused, gone=add)
    return draft.done()


def move_bias(plan: Plan) -> Plan:
    """The bias of a convolution is added by the stage behind it, which passes over the numbers anyway.

    Activations add it first; maximum pooling afterwards, as max(x) + b is max(x + b). A batch norm in training takes a
    bias out again, but it stays where it is: the running mean has it. Right where nothing else reads the convolution,
    and it does not end in a relu.
    """
    draft = _Draft(plan)
    for conv in plan.stages:
        movable = conv.adds_bias and conv.can.leave_bias and not conv.options.get("relu")
        after = draft.only_reader(conv.output) if movable else None
        if after is not None and after.can.add_bias:
            draft.change(conv.set(adds_bias=False), replace(after, conv=conv.node.name))
    return draft.done()


def copy_in_activations(plan: Plan) -> Plan:
    """An activation works in place only behind a convolution that nothing else reads, whose output is an array of its
    own. Other stages may give a view of their input, or keep what they gave for their backward pass.
    """
    copying = []
    for stage in plan.stages:
        if not stage.can.work_in_place:
            continue
        before = plan.maker(stage.inputs[0])
        if before is None or not before.can.is_conv or plan.only_reader(before.output) is not stage:
            copying.append(stage.set(copies=True))
    return plan.with_stages(*copying)


def leave_out_dx(plan: Plan) -> Plan:
    """Nothing needs the gradient by the network's input, nor by what lies between it and the first params."""
    needed = needs_gradient(plan)
    unneeded = [stage for stage in plan.stages if stage.can.leave_out_dx and not needed.intersection(stage.inputs)]
    return plan.with_stages(*(stage.set(dx=False) for stage in unneeded))


def needs_gradient(plan: Plan) -> set[int]:
    """The values that params come before: the loss is derived by them on the way back."""
    needed: set[int] = set()
    for stage in plan.stages:
        if stage.node.params or needed.intersection(stage.inputs):
            needed.add(stage.output)
    return needed


TRAINING: tuple[Callable[[Plan], Plan], ...] = (
    leave_out_identity,
    fuse_relu,
    move_bias,
    copy_in_activations,
    leave_out_dx,
)
INFERENCE: tuple[Callable[[Plan], Plan], ...] = (
    leave_out_identity,
    fold_norm,
    freeze_norm,
    fuse_relu,
    fuse_add,
    move_bias,
    copy_in_activations,
)
