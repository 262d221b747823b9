"""From a graph to its plan: every node gets the stage that computes it, and the passes join them."""

from __future__ import annotations

from collections.abc import Callable

from netdsl.analysis.loss import logits_layers, logits_value
from netdsl.graph.ir import Graph
from netdsl.graph.recipe import Recipe
from netdsl.passes.choose_algorithms import Choice, cheapest
from netdsl.passes.copy_in_activations import copy_in_activations
from netdsl.passes.fold_norm import fold_norm
from netdsl.passes.freeze_norm import freeze_norm
from netdsl.passes.fuse_add import fuse_add
from netdsl.passes.fuse_clip import fuse_clip
from netdsl.passes.fuse_relu import fuse_relu
from netdsl.passes.give_sums import give_sums
from netdsl.passes.leave_out_dx import leave_out_dx
from netdsl.passes.leave_out_identity import leave_out_identity
from netdsl.passes.lend_rows import lend_rows
from netdsl.passes.move_bias import move_bias
from netdsl.passes.plan import Plan, Planned, verify_plan
from netdsl.passes.plan_memory import plan_memory
from netdsl.passes.share_gradients import share_gradients
from netdsl.passes.signals import stage_calls
from netdsl.passes.take_early import take_early
from netdsl.passes.walk_for_norm import walk_for_norm

Pass = Callable[[Plan], Plan]

TRAINING: tuple[Pass, ...] = (
    leave_out_identity,
    take_early,
    fuse_relu,
    fuse_clip,
    fuse_add,
    move_bias,
    give_sums,
    walk_for_norm,
    copy_in_activations,
    leave_out_dx,
    share_gradients,
    plan_memory,
)
INFERENCE: tuple[Pass, ...] = (
    leave_out_identity,
    take_early,
    fold_norm,
    freeze_norm,
    fuse_relu,
    fuse_clip,
    fuse_add,
    move_bias,
    lend_rows,
    copy_in_activations,
    share_gradients,
    plan_memory,
)


def make_plans(graph: Graph, recipe: Recipe, choose: Choice = cheapest) -> tuple[Plan, Plan]:
    """The stages up to what the loss reads: in training, at inference."""
    until, count = logits_value(graph, recipe.loss), logits_layers(graph, recipe.loss)
    return make_plan(graph, until, count, True, choose), make_plan(graph, until, count, False, choose)


def make_plan(graph: Graph, until: int, count: int, training: bool, choose: Choice = cheapest) -> Plan:
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
