"""A graph as a list of stages: what the passes work on.

What a stage can take over or leave out, it says itself: `can` of its class (stages/can.py). Every pass is pure, Plan ->
Plan, and changes no number but by rounding; its docstring says why that is so. After each `verify_plan` asserts that
the plan is whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from netdsl.graph.ir import Graph, Node
from netdsl.graph.types import Tensor
from netdsl.layers.contract import StageCall
from netdsl.stages.can import Can
from netdsl.stages.convolution import Epilogue
from netdsl.stages.stage import Stage

TEXTBOOK = Can(is_named=True)
"""What a stage of textbook kernels can do."""


@dataclass(frozen=True)
class Planned:
    """One stage, called as its node: the values it reads, the one it makes, and the nodes it stands for.

    call: None is the textbook's kernel. conv: the name of the stage whose bias it adds. sums: that of the
    stage which adds up for it what it reads. front: that of the batch norm for which it walks over what it reads,
    or of the convolution that it asks for rows of that.
    memory: the number of the memory in which it hands on its numbers (plan_memory). epilogue: what it does at its end.
    """

    node: Node
    inputs: tuple[int, ...]
    output: int
    call: StageCall | None
    names: tuple[str, ...]
    conv: str = ""
    sums: str = ""
    front: str = ""
    memory: int | None = None
    epilogue: Epilogue = field(default_factory=Epilogue)

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
        """Whether it has something to add that another stage can add: a bias, or what a batch norm left."""
        return self.can.leave_bias and (
            self.epilogue.norm is not None or any(p.name == "bias" for p in self.node.params)
        )

    @property
    def options(self) -> dict[str, object]:
        """The options that its constructor is given by name."""
        return {} if self.call is None else dict(self.call.options)

    def ending(self, **changes: Any) -> Planned:
        """The same stage with this at its end, too."""
        return replace(self, epilogue=replace(self.epilogue, **changes))

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

    def type_of(self, value: int) -> Tensor:
        """The type of a value as its stage makes it."""
        maker = self.maker(value)
        return self.graph.type_of(value) if maker is None else maker.node.type

    def readers(self, value: int) -> Sequence[Planned]:
        """The stages that read a value, a stage as often as it does."""
        return self._readers.get(value, [])

    def only_reader(self, value: int) -> Planned | None:
        """The one stage that reads a value, once, if nothing else needs it."""
        readers = self.readers(value)
        return readers[0] if len(readers) == 1 and value not in self.outputs else None

    def with_stages(self, *changed: Planned) -> Plan:
        """The plan with these stages in place of those of the same names."""
        new = {stage.node.name: stage for stage in changed}
        return replace(self, stages=tuple(new.get(stage.node.name, stage) for stage in self.stages))


class Draft:
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

    def now(self, stage: Planned) -> Planned:
        """The stage of that name as it is now."""
        return self._stages[stage.node.name]

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
        asked = ("adds the bias of", stage.conv), ("needs the sums of", stage.sums), ("walks for", stage.front)
        for what, other in asked:
            assert not other or other in stages, f"{stage.node.name} {what} {other}, which is not there"
        can, end = stage.can, stage.epilogue
        ends = (
            ("a relu", end.relu, can.end_in_relu or can.is_relu),
            ("bounds", end.clip is not None, can.end_in_clip),
            ("another map", end.plus, can.add_both_ways if plan.training else can.add_map),
            ("a norm", end.norm is not None, can.take_norm),
            ("sums", end.sums, can.give_sums),
        )
        for what, is_asked, is_able in ends:
            assert is_able or not is_asked, f"{stage.node.name} is given {what} at its end, which it cannot have"
        made.add(stage.output)
        nodes.update(stage.names)
        stages.add(stage.node.name)
    assert made.issuperset(plan.outputs), f"{plan.outputs} come out, of which some is not made"
    return plan


def needs_gradient(plan: Plan) -> set[int]:
    """The values that params come before: the loss is derived by them on the way back."""
    needed: set[int] = set()
    for stage in plan.stages:
        if stage.node.params or needed.intersection(stage.inputs):
            needed.add(stage.output)
    return needed
