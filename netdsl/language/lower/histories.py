"""How a shape came to be, for the notes of a problem: what the value comes from, and through which calls."""

from __future__ import annotations

from netdsl.graph.types import Tensor, map_of
from netdsl.ground.diagnostics import Diagnostic, Edit, SpecProblem
from netdsl.ground.source import Span
from netdsl.language.input_advice import about_the_input
from netdsl.language.lower.flow import Flow, Place
from netdsl.language.lower.work import Work
from netdsl.layers import layer_of

SHOWN_CALLS = 3


def report_problem(
    work: Work, problem: SpecProblem, attr: Span | None, name: Span, notes: tuple[str, ...], here: Place, flow: Flow
) -> None:
    """What a layer's rule complained about, at the attr it named, with the history of what arrived."""
    label = problem.label if attr is not None else ""
    notes = (*problem.notes, *notes, *_trail(work, here))
    help_texts, fix = problem.help, None
    declared, given = work.declared.input_span, work.declared.input_type
    if declared is not None and given is not None and _is_the_input(work, flow.value, given):
        help_texts, word = about_the_input(problem, given)
        fix = Edit(Span(declared.source, declared.end, declared.end), word) if word else None
    work.reports.add(Diagnostic(problem.code, problem.message, attr or name, label, notes, help_texts, fix=fix))


def _is_the_input(work: Work, value: int, given: Tensor) -> bool:
    """Whether a value is the input; or, of tokens, what layers make of it that would make as much of a map."""
    while value > 0:
        node = work.nodes[value - 1]
        if not given.is_tokens or node.type != given or len(node.inputs) != 1:
            return False
        try:
            signal = map_of(*given.sizes)
            if layer_of(node.op).shape(node.attrs, signal) != signal:
                return False
        except SpecProblem:
            return False
        (value,) = node.inputs
    return True


def origin(work: Work, flow: Flow) -> str:
    """How the value that arrives got its shape."""
    assert flow.type is not None
    shape = flow.type.show_type()
    if flow.value == 0:
        line = work.declared.input_span.line if work.declared.input_span else 1
        return f"the input is {shape} (`input` on line {line})"
    span = work.nodes[flow.value - 1].span
    assert span is not None
    return f"the input is {shape} (from `{shown(span)}` {_place(work, span)})"


def _trail(work: Work, here: Place) -> tuple[str, ...]:
    """The calls that led here, the innermost first."""
    calls = [frame.call for frame in here.frame.chain() if frame.call is not None]
    notes = [f"in `{shown(span)}`, called {_place(work, span)}" for span in calls[:SHOWN_CALLS]]
    rest = len(calls) - SHOWN_CALLS
    return (*notes, f"and {rest} calls further out") if rest > 0 else tuple(notes)


def _place(work: Work, span: Span) -> str:
    """`on line 3`, with the file where it is not the spec itself."""
    own = work.declared.input_span.source if work.declared.input_span is not None else span.source
    return f"on line {span.line}" + (f" of {span.source.name}" if span.source.name != own.name else "")


def shown(span: Span) -> str:
    """What stands at the span, on one line."""
    text = " ".join(span.text.split())
    return text if len(text) <= 40 else f"{text[:37]}..."
