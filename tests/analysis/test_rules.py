"""What is asserted between the stages of the compiler: faults planted in graphs and in plans are seen."""

from dataclasses import replace

import pytest
from graphs import siamese

from netdsl.analysis.rules import verify_rules
from netdsl.graph.types import vector
from netdsl.passes import make_plan as plans
from netdsl.passes.plan import verify_plan
from netdsl.pipeline import compile_text

TEXT = "input 3x8x8\nconv 4 k3 p1 -> bn -> relu -> pool 2 -> flatten -> linear 5\n"


def changed(graph, op, **change):
    nodes = [replace(node, **change) if node.op == op else node for node in graph.nodes]
    return replace(graph, nodes=tuple(nodes))


def test_a_node_that_its_rules_do_not_make_is_refused():
    graph = compile_text(TEXT).graph
    conv, linear = graph.nodes[0], graph.nodes[-1]
    wrong = [
        changed(graph, "linear", type=vector(6)),
        changed(graph, "conv", macs=conv.macs + 1),
        changed(graph, "conv", attrs={**conv.attrs, "stride": (2, 2)}),
        changed(graph, "linear", params=linear.params[:1]),
        changed(graph, "bn", buffers=()),
        changed(graph, "relu", inputs=(graph.value(0), graph.value(1))),
        replace(graph, inputs=(replace(graph.inputs[0], type=graph.nodes[0].type),)),
    ]
    assert verify_rules(graph) is graph
    for one in wrong:
        with pytest.raises(AssertionError):
            verify_rules(one)


def test_layers_that_are_alike_are_worked_out_once(monkeypatch):
    from netdsl.analysis import rules

    made = []
    own = rules._made
    monkeypatch.setattr(rules, "_made", lambda *given: made.append(given[0].name) or own(*given))
    compile_text("input 4x8x8\n50 * { conv 4 k3 p1 -> relu }\n")
    assert made == ["conv1", "relu1"]


def test_a_pass_that_breaks_a_plan_is_found(monkeypatch):
    graph = siamese().graph
    whole = plans.make_plan(graph, graph.output, len(graph.nodes), True)
    stages = whole.stages
    wrong = {
        "of which some is not made": stages[1:],
        "a second time": (
            *stages,
            replace(stages[-1], names=("another",), node=replace(stages[-1].node, name="another")),
        ),
        "of which some is done": (*stages[:-1], replace(stages[-1], names=(*stages[-1].names, *stages[0].names))),
        "adds the bias of": (*stages[:-1], replace(stages[-1], conv="nothing")),
        "come out": stages[:-1],
    }
    for message, some in wrong.items():
        with pytest.raises(AssertionError, match=message):
            verify_plan(replace(whole, stages=some))
        monkeypatch.setattr(plans, "TRAINING", (lambda plan, some=some: replace(plan, stages=some),))
        with pytest.raises(AssertionError, match=message):
            plans.make_plan(graph, graph.output, len(graph.nodes), True)
