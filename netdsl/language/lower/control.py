"""What counts, `if` and `for` say: how many copies, which side, which items."""

from __future__ import annotations

from collections.abc import Sequence

from netdsl.language.expressions import UNKNOWN, Unknown, Value, expression_text, is_whole, opposite, show_value
from netdsl.language.lower.flow import Flow, Place
from netdsl.language.lower.work import MAX_LAYERS, Work
from netdsl.language.syntax import ast


def count_of(work: Work, count: ast.Expr, here: Place, flow: Flow) -> int | None:
    """The number before `*`; None after a mistake."""
    value = work.value_of(count, here, flow)
    if value is None:
        return None
    if not is_whole(value) or value < 0:
        message = f"a count must be a whole number of at least 0, not `{show_value(value)}`"
        work.reports.error("N310", message, count.span)
        return None
    return int(value)


def condition_holds(work: Work, syntax: ast.If, here: Place, flow: Flow) -> bool | None:
    """Whether the condition of an `if` holds, which its block call remembers; None after a mistake."""
    value = work.value_of(syntax.condition, here, flow)
    if value is None:
        return None
    if not isinstance(value, bool):
        message = f"`if` needs true or false, not `{show_value(value)}`"
        work.reports.error("N303", message, syntax.condition.span, "compare it with something: `if n > 0 { ... }`")
        return None
    if here.frame.block is not None:
        holds, fails = expression_text(syntax.condition), expression_text(opposite(syntax.condition))
        here.frame.decisions[holds] = (holds, fails) if value else (fails, holds)
    return value


def loop_items(work: Work, syntax: ast.For, here: Place, flow: Flow) -> Sequence[Value] | None:
    """What a `for` goes through; None after a mistake."""
    if isinstance(syntax.items, ast.Range):
        return _numbers(work, syntax.items, here, flow)
    items = work.value_of(syntax.items, here, flow)
    if items is None or isinstance(items, list):
        return items
    message = f"`for` needs a list or a range, not `{show_value(items)}`"
    help_text = "write `for i in 0..4 { ... }` or `for c in [64, 128] { ... }`"
    work.reports.error("N303", message, syntax.items.span, help_text)
    return None


def _numbers(work: Work, written: ast.Range, here: Place, flow: Flow) -> range | None:
    """The numbers of a range; None after a mistake."""
    exprs = (written.start, written.stop)
    ends = [work.value_of(expr, here, flow) for expr in exprs]
    for end, expr in zip(ends, exprs, strict=True):
        if end is not None and not is_whole(end):
            work.reports.error("N303", f"a range needs whole numbers, not `{show_value(end)}`", expr.span)
            return None
    start, stop = ends
    if not is_whole(start) or not is_whole(stop):
        return None
    if stop - start > MAX_LAYERS:
        message = f"a range of {stop - start:_} numbers; at most {MAX_LAYERS:_}"
        work.reports.error("N311", message, written.span)
        work.stop(flow)
        return None
    return range(int(start), int(stop))


def loop_values(work: Work, syntax: ast.For, item: Value | Unknown) -> dict[str, Value | Unknown] | None:
    """The loop's names for one item, which is taken apart where there are several; None after a mistake."""
    names = [name.id for name in syntax.names]
    if isinstance(item, Unknown):
        return unknown_values(syntax)
    if len(names) == 1:
        return {names[0]: item}
    if isinstance(item, list) and len(item) == len(names):
        return dict(zip(names, item, strict=True))
    message = f"`{show_value(item)}` does not have {len(names)} values"
    notes = (f"the names are {', '.join(f'`{name}`' for name in names)}",)
    work.reports.error("N319", message, syntax.items.span, notes=notes)
    return None


def unknown_values(syntax: ast.For) -> dict[str, Value | Unknown]:
    """The loop's names after a mistake."""
    return {name.id: UNKNOWN for name in syntax.names}
