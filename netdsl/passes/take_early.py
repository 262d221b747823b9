"""One token is taken before what is made of each token by itself."""

from __future__ import annotations

from dataclasses import replace

from netdsl.graph.types import Tensor
from netdsl.layers import layer_of
from netdsl.passes.choose_algorithms import cheapest
from netdsl.passes.plan import Plan, Planned
from netdsl.passes.signals import stage_calls


def take_early(plan: Plan) -> Plan:
    """A classifier that takes one token of a transformer needs of its last layer that token alone.

    Right where nothing but the `take` reads what lies between: its stages make each token by itself, of a vector the
    same as of a token, and give no gradient by the others. They start from one value.
    """
    for take in plan.stages:
        if take.node.op == "take":
            plan = _moved(plan, take)
    return plan


def _moved(plan: Plan, take: Planned) -> Plan:
    """The plan with that one before all stages whose other tokens nothing needs."""
    between = _between(plan, take)
    if not between:
        return plan
    (first,) = set(between[0].inputs)
    given, last = take.output, take.inputs[0]  # whoever read the token now reads what was made of it
    moved = [_made_of(replace(take, inputs=(first,)), (plan.type_of(first),), plan.training)]
    types = {given: moved[0].node.type}
    for stage in between:
        inputs = tuple(given if value == first else value for value in stage.inputs)
        moved.append(_made_of(replace(stage, inputs=inputs), tuple(types[i] for i in inputs), plan.training))
        types[stage.output] = moved[-1].node.type
    names = {stage.node.name for stage in (take, *between)}
    stages: list[Planned] = []
    for stage in plan.stages:
        if stage.node.name == between[0].node.name:
            stages += moved
        elif stage.node.name not in names:
            stages.append(replace(stage, inputs=tuple(last if value == given else value for value in stage.inputs)))
    return replace(
        plan, stages=tuple(stages), outputs=tuple(last if value == given else value for value in plan.outputs)
    )


def _between(plan: Plan, take: Planned) -> list[Planned]:
    """The most stages before a `take`, in order, that start from one value and whose results nothing else reads."""
    readers: dict[int, list[str]] = {}
    for stage in plan.stages:
        for value in stage.inputs:
            readers.setdefault(value, []).append(stage.node.name)
    names, between, best = {take.node.name}, list[Planned](), list[Planned]()
    for stage in reversed(plan.stages[: plan.stages.index(take)]):
        if stage.output in plan.outputs or not names.issuperset(readers.get(stage.output, ["nothing"])):
            continue
        if not layer_of(stage.node.op).by_token or layer_of(stage.node.op).takes_ids:
            break
        names.add(stage.node.name)
        between.insert(0, stage)
        made = {each.output for each in between}
        if len({value for each in between for value in each.inputs} - made) == 1:
            best = list(between)
    return best


def _made_of(stage: Planned, inputs: tuple[Tensor, ...], training: bool) -> Planned:
    """The same layer, of inputs of other types."""
    layer, node = layer_of(stage.node.op), stage.node
    attrs = node.attrs if layer.resolve is None else layer.resolve(node.attrs, *inputs)
    made, macs = layer.shape(attrs, *inputs), layer.macs(attrs, *inputs)
    node = replace(node, attrs=attrs, type=made, macs=macs)
    return replace(stage, node=node, call=cheapest(stage_calls(node, inputs), training))
