"""Bodies, chains and elements walked through: the part that calls itself, as deep as braces and block calls nest.

Each function takes what arrives and gives what flows on.
"""

from __future__ import annotations

from collections.abc import Sequence

from netdsl.language.definitions import define_let, least_layers, names_a_value
from netdsl.language.expressions import UNKNOWN, Names, Unknown, Value
from netdsl.language.lower import calls, control, labels, layers
from netdsl.language.lower.flow import Flow, Place
from netdsl.language.lower.work import MAX_LAYERS, Work
from netdsl.language.scopes import OpenScope, Output
from netdsl.language.syntax import ast

MAX_DEPTH = 128


def walk_body(work: Work, body: ast.Body, here: Place, flow: Flow) -> Flow:
    """What flows out of braces; the names that they define are known to the end of them."""
    here = here.in_braces()
    if here.depth > MAX_DEPTH:
        work.reports.error("N004", f"groups and block calls are nested more than {MAX_DEPTH} deep", body.span)
        flow = work.stop(flow)
    for statement in body.statements:
        match statement:
            case ast.Chain():
                flow = walk_chain(work, statement, here, flow)
            case ast.Let():
                define_let(statement, here.names, flow.type, work.reports)
            case ast.Expect():
                work.ledger.expects.append((statement, flow.type, here.names))
    work.ledger.note_lets(body.statements, here.names)
    return flow


def walk_chain(work: Work, chain: ast.Chain, here: Place, flow: Flow) -> Flow:
    """What flows out of the last element of a chain."""
    work.expansion.has_layers = True
    for element in chain.elements:
        if work.expansion.is_over:
            break
        flow = _walk_element(work, element, here, flow)
    return flow


def _walk_element(work: Work, element: ast.Element, here: Place, flow: Flow) -> Flow:
    """What an element's label, count and content make; the label names a layer, a call, or a group of the rest."""
    copies = 1 if element.count is None else control.count_of(work, element.count, here, flow)
    if copies is None:
        flow, copies = flow.unknown(), 1
    label = None if element.label is None else labels.label_name(work, element.label, here, flow)
    is_direct = element.count is None and isinstance(element.primary, ast.Layer | ast.Call | ast.Ref)
    first, inside = len(work.nodes), here
    group = None if is_direct else _group_name(element, label, here)
    if group is not None:
        inside = here.within(OpenScope(here.scope.full(group), numbered=True, source=flow.value, outer=here.scope))
    if not _fits(work, element, copies, here):
        flow, copies = work.stop(flow), 0
    for _ in range(copies):
        if work.expansion.is_over:
            break
        work.expansion.elements += 1
        flow = _walk_primary(work, element.primary, label if is_direct else None, inside, flow)
    if inside is not here:
        here.scope.add(inside.scope.close(flow.value))
    if label is not None and element.label is not None:
        nodes = range(first, len(work.nodes))
        output = Output(here.scope.full(label), flow.value, flow.type, element.label.span, nodes)
        here.frame.labels.add(output)
        work.ledger.outputs.setdefault(output.span, []).append(output)
    return flow


def _group_name(element: ast.Element, label: str | None, here: Place) -> str | None:
    """The name of the group that the element is; None where its content stands in the scope around it."""
    if label is None and element.count is None and isinstance(element.primary, ast.Body) and here.scope.numbered:
        return here.scope.next_name("group")
    return label


def _fits(work: Work, element: ast.Element, copies: int, here: Place) -> bool:
    """False, and an error, if the copies would make the network too large. Nothing is expanded first."""
    least = least_layers(element.primary, here.frame.file, work.expansion.least)
    total = max(len(work.nodes), work.expansion.elements) + copies * max(1, least)
    if total <= MAX_LAYERS:
        return True
    message = f"this makes at least {total:_} layers; a network has at most {MAX_LAYERS:_}"
    work.reports.error("N311", message, element.span if element.count is None else element.count.span)
    return False


def _walk_primary(work: Work, primary: ast.Primary, label: str | None, here: Place, flow: Flow) -> Flow:
    match primary:
        case ast.Layer():
            return layers.apply_layer(work, primary, label, here, flow)
        case ast.Body():
            return walk_body(work, primary, here, flow)
        case ast.Call():
            return _walk_call(work, primary, label, here, flow)
        case ast.Merge():
            results = [walk_body(work, branch, here, flow) for branch in primary.branches]
            return layers.merge_results(work, primary, results, here, flow)
        case ast.If():
            return _walk_if(work, primary, here, flow)
        case ast.For():
            return _walk_for(work, primary, here, flow)
        case ast.Ref():
            return labels.flow_at(work, primary, here, flow)


def _walk_call(work: Work, syntax: ast.Call, label: str | None, here: Place, flow: Flow) -> Flow:
    entry = calls.enter(work, syntax, label, here, flow)
    if isinstance(entry, Flow):
        return entry
    return entry.leave(here, walk_body(work, entry.block.syntax.body, entry.inside, entry.flow))


def _walk_if(work: Work, syntax: ast.If, here: Place, flow: Flow) -> Flow:
    """What flows out of the side that is taken; where that is unknown, both are looked through."""
    holds = control.condition_holds(work, syntax, here, flow)
    if holds is None:
        flow = flow.unknown()
    if holds is not False:
        flow = walk_body(work, syntax.then, here, flow)
    if holds is not True:
        if isinstance(syntax.otherwise, ast.If):
            flow = _walk_if(work, syntax.otherwise, here, flow)
        elif syntax.otherwise is not None:
            flow = walk_body(work, syntax.otherwise, here, flow)
    return flow


def _walk_for(work: Work, syntax: ast.For, here: Place, flow: Flow) -> Flow:
    """What flows out of the last turn; where the items are unknown, the body is looked through once."""
    items: Sequence[Value | Unknown] | None = control.loop_items(work, syntax, here, flow)
    are_names = [names_a_value(name, work.reports) for name in syntax.names]
    if items is None or not all(are_names):
        flow, items = flow.unknown(), [UNKNOWN]
    for item in items:
        if work.expansion.is_over:
            break
        work.expansion.elements += 1
        values = control.loop_values(work, syntax, item)
        if values is None:
            flow, values = flow.unknown(), control.unknown_values(syntax)
        flow = walk_body(work, syntax.body, here.among(Names(here.names, values)), flow)
    return flow
