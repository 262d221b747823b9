"""Warnings about networks that are right, but perhaps not what was meant. Each has a page in `netdsl explain`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from netdsl.analysis.loss import logits_value
from netdsl.graph.ir import Graph, Node
from netdsl.graph.recipe import Recipe
from netdsl.ground.diagnostics import Diagnostic, Edit
from netdsl.ground.source import Span
from netdsl.language.syntax import ast
from netdsl.layers import layer_of

LARGEST_SHARE, LARGE = 0.9, 100_000  # of the params in one layer; of fewer params nothing is said


def lints(program: ast.Program, graph: Graph, recipe: Recipe) -> list[Diagnostic]:
    """Every warning, once for each place."""
    warnings: dict[tuple[str, str, int], Diagnostic] = {}
    for lint in (*_subtractions(program), *_graph_lints(graph, recipe)):
        warnings.setdefault((lint.code, lint.span.source.name, lint.span.start), lint)
    return list(warnings.values())


def _warning(
    code: str, message: str, span: Span | None, *help: str, notes: tuple[str, ...] = (), fix: Edit | None = None
) -> Diagnostic:
    assert span is not None
    return Diagnostic(code, message, span, notes=notes, help=help, level="warning", fix=fix)


def _graph_lints(graph: Graph, recipe: Recipe) -> Iterator[Diagnostic]:
    readers: dict[int, list[Node]] = {}
    for node in graph.nodes:
        for value in node.inputs:
            readers.setdefault(value, []).append(node)
    yield from _implied(graph, recipe)
    idle = _with_idle_bias(graph, readers)
    for index, node in enumerate(graph.nodes):
        before, value = graph.maker_of(node.inputs[0]), graph.value(index)
        if before is not None and len(readers[node.inputs[0]]) == 1:
            yield from _pairs(before, node, idle)
        if value not in readers and value not in graph.results:
            yield _warning("N609", "what this makes is never used", node.span, "remove it, or read it with `@name`")
    yield from _shares(graph)


def _implied(graph: Graph, recipe: Recipe) -> Iterator[Diagnostic]:
    """A softmax at the end, and a loss that contains one."""
    last = graph.maker_of(graph.judged_value)
    if last is not None and logits_value(graph, recipe.loss) != graph.judged_value:
        message = f"the loss `{recipe.loss}` contains `{last.op}`: it is applied once, by the loss"
        yield _warning("N604", message, last.span, f"leave out `{last.op}`, unless you want probabilities as output")


def _with_idle_bias(graph: Graph, readers: Mapping[int, Sequence[Node]]) -> set[tuple[str, int]]:
    """Where layers are written whose bias does nothing in any of the copies, calls and rounds that they stand for."""
    idle: dict[tuple[str, int], bool] = {}
    for index, node in enumerate(graph.nodes):
        if node.span is not None:
            value = graph.value(index)
            after = readers.get(value, ())
            does_nothing = len(after) == 1 and value not in graph.results and layer_of(after[0].op).cancels_bias
            place = (node.span.source.name, node.span.start)
            idle[place] = idle.get(place, True) and does_nothing
    return {place for place, does_nothing in idle.items() if does_nothing}


def _pairs(before: Node, node: Node, idle: set[tuple[str, int]]) -> Iterator[Diagnostic]:
    first, second = layer_of(before.op), layer_of(node.op)
    if second.cancels_bias and any(p.name == "bias" for p in before.params) and "nobias" in before.attrs:
        text = f"the bias of `{before.op}` does nothing: `{node.op}` takes the mean away"
        assert before.span is not None
        source, end = before.span.source, before.span.end
        edit = Edit(Span(source, end, end), " nobias") if (source.name, before.span.start) in idle else None
        notes = (f"`{node.op}` has a bias of its own",)
        yield _warning("N605", text, before.span, "write `nobias`", notes=notes, fix=edit)
    if first is second and first.is_linear:
        text = f"two `{node.op}` layers with nothing between can do no more than one"
        yield _warning("N606", text, node.span, "put `relu` between them, or leave one out")


def _shares(graph: Graph) -> Iterator[Diagnostic]:
    total = graph.num_params
    others = sum(bool(node.num_params) for node in graph.nodes) > 1
    for node in graph.nodes:
        own = node.num_params
        if total >= LARGE and others and own > LARGEST_SHARE * total and not layer_of(node.op).by_step:
            message = f"this layer holds {own / total:.0%} of all params: {own:_} of {total:_}"
            yield _warning("N607", message, node.span, "make its input smaller, for example with `gap` or `pool`")


def _subtractions(program: ast.Program) -> Iterator[Diagnostic]:
    """`conv c -1`: white space before the sign and none behind it."""
    for item in ast.walk(program):
        if isinstance(item, ast.Arg) and item.key is None and isinstance(item.value, ast.Binary):
            left, right = item.value.left.span, item.value.right.span
            between = left.source.text[left.end : right.start]
            if item.value.op == "-" and re.fullmatch(r"[ \t]+-", between):
                text = f"`{item.span.text}` is one value, a difference"
                edit = Edit(Span(left.source, left.end, right.start), "-")
                help_text = f"write `{left.text}-{right.text}`"
                yield Diagnostic("N608", text, item.span, help=(help_text,), level="warning", fix=edit)
