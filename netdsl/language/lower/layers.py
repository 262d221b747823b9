"""Layers and merges: their attrs are bound, their rules applied, and their nodes added to the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from math import prod

from netdsl.graph.ir import Node, Shape, show_shape
from netdsl.graph.types import Tensor
from netdsl.ground.diagnostics import SpecProblem
from netdsl.ground.source import Span
from netdsl.ground.symbols import is_symbolic, plain_value
from netdsl.language.attributes import bind
from netdsl.language.lower import labels
from netdsl.language.lower.flow import Flow, Place
from netdsl.language.lower.histories import origin, report_problem, shown
from netdsl.language.lower.ties import tied
from netdsl.language.lower.work import Work
from netdsl.language.syntax import ast
from netdsl.language.unknown_names import unknown_layer
from netdsl.layers import find_layer, layer_of
from netdsl.layers.contract import LayerDef, refuse_ids

MAX_BYTES = 2**63 - 1


def apply_layer(work: Work, syntax: ast.Layer, label: str | None, here: Place, flow: Flow) -> Flow:
    """What a layer makes of what arrives."""
    layer = find_layer(syntax.name)
    if layer is None or layer.num_inputs is None:
        message, hint, fix = unknown_layer(syntax, here.frame.file.blocks)
        work.reports.error("N301", message, syntax.name_span, hint, fix=fix)
        return flow.unknown()
    if layer.name == "id" and label is None and not syntax.args and here.depth and not here.scope.numbered:
        return flow  # in a branch it stands for the input itself
    owner, spans = None, dict[str, Span]()
    attrs: Mapping[str, object] | None = None
    if layer.ties:
        owner = tied(work, syntax, layer, here)
        attrs = None if owner is None else dict(zip(("classes", "features"), owner.params[0].shape, strict=True))
    else:
        bound = bind(layer, syntax, here.names, flow.type, partial(labels.labelled_type, work, here=here))
        work.reports.add(*bound.diagnostics)
        attrs, spans = bound.attrs, bound.spans
    name = label if label is not None else counted_name(work, layer.name, syntax.name_span, here)
    if attrs is None or flow.type is None or work.expansion.is_over:
        return flow.unknown()
    try:
        node, made = _node(work, layer, attrs, here.scope.full(name), (flow,), (flow.type,), syntax.span, owner)
    except SpecProblem as problem:
        span = spans.get(problem.attr or "")
        report_problem(work, problem, span, syntax.name_span, (origin(work, flow),), here, flow)
        return flow.unknown()
    return _add(work, node, made, here, flow)


def merge_results(work: Work, syntax: ast.Merge, results: Sequence[Flow], here: Place, flow: Flow) -> Flow:
    """What a merge makes of what its branches give, which all began with `flow`."""
    last = results[-1]
    if syntax.op == "res":
        results = [*results, flow]
        if len(syntax.branches) > 1:
            help_text = "`res { f }` is `add { f | id }`; for more branches write `add { a | b }`"
            work.reports.error("N316", "`res` has one branch", syntax.op_span, help_text)
            return last.unknown()
    elif len(syntax.branches) < 2:
        help_text = f"write `{syntax.op} {{ a | b }}`; `id` passes the input on"
        work.reports.error("N316", f"`{syntax.op}` needs two branches or more", syntax.op_span, help_text)
    layer = layer_of("add" if syntax.op == "res" else syntax.op)
    name = counted_name(work, layer.name, syntax.op_span, here, is_module=False)
    types = [result.type for result in results if result.type is not None]
    if len(types) < len(results) or work.expansion.is_over or len(results) < 2:
        return last.unknown()
    try:
        node, made = _node(work, layer, {}, here.scope.full(name), results, types, syntax.op_span)
    except SpecProblem as problem:
        notes = [f"`{shown(b.span)}` gives {t.show_type()}" for b, t in zip(syntax.branches, types, strict=False)]
        notes += [f"`id` gives {types[-1].show_type()}"] if syntax.op == "res" else []
        report_problem(work, problem, None, syntax.op_span, tuple(notes), here, last)
        return last.unknown()
    return _add(work, node, made, here, last, is_module=False)


def _node(
    work: Work,
    layer: LayerDef,
    attrs: Mapping[str, object],
    name: str,
    flows: Sequence[Flow],
    types: Sequence[Tensor],
    span: Span,
    owner: Node | None = None,
) -> tuple[Node, Tensor]:
    """The node of that full name that the layer's rules make, and its type, which may hold symbols.

    types: those of the flows; owner: the node whose params it uses. Raises SpecProblem.
    """
    given = tuple(types)
    refuse_ids(layer, given)
    attrs = dict(layer.resolve(attrs, *given) if layer.resolve else attrs)
    plain_made, made = _with_few_symbols(layer.shape(attrs, *given))
    symbolic = is_symbolic(tuple(attrs.values())) or is_symbolic(given)
    plain = {key: plain_value(value) for key, value in attrs.items()} if symbolic else attrs
    inputs = tuple(work.plain_type(flow) for flow in flows) if symbolic else given
    node = Node(
        name,
        layer.name,
        plain,
        tuple(flow.value for flow in flows),
        plain_made,
        layer.params(plain, *inputs),
        layer.buffers(plain, *inputs),
        layer.macs(plain, *inputs),
        span,
        (attrs, given, made),
        None if owner is None else owner.name,
    )
    return node, made


def _add(work: Work, node: Node, made: Tensor, here: Place, flow: Flow, is_module: bool = True) -> Flow:
    """Append the node, whose type with symbols is `made`; what flows out of it."""
    assert node.span is not None
    for array in (node.shape, *(p.shape for p in node.params)):
        if not fits_a_machine(work, array, node.span):
            return flow.unknown()
    here.scope.add(len(work.nodes), is_module)
    work.nodes.append(node)
    return Flow(len(work.nodes), made)


def fits_a_machine(work: Work, shape: Shape, span: Span) -> bool:
    """False, and an error, if no machine can hold an array of that shape."""
    if 8 * prod(shape) <= MAX_BYTES and max(shape) < 2**31:
        return True
    work.reports.error("N311", f"an array of {show_shape(shape)} is too large for any machine", span)
    return False


def counted_name(work: Work, op: str, span: Span, here: Place, is_module: bool = True) -> str:
    """The name of a layer or call without a label."""
    name = here.scope.next_name(op, is_module)
    first = here.scope.taken.get(name.lower())
    if first is not None and first.text != op:
        work.reports.error(
            "N308",
            f"this layer would be called `{name}`, which is already a label",
            span,
            "give it, or the other one, another label",
            notes=(f"layers without a label are counted; the label is on line {first.line}",),
        )
    here.scope.taken[name.lower()] = span
    return name


def _with_few_symbols(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """The tensor without symbols, and with those of channels and features; heights, widths and numbers of tokens have
    none."""
    plain: Tensor = plain_value(tensor)
    return plain, plain if plain is tensor or plain.is_ids else plain.with_channels(tensor.channels)
