"""`expect`: conditions on the finished network, checked when the file is compiled."""

from __future__ import annotations

from collections.abc import Sequence

from netdsl.graph.ir import Node
from netdsl.graph.types import Tensor
from netdsl.ground.diagnostics import Diagnostic
from netdsl.language.expressions import ExprError, Names, UnknownShape, evaluate, show_value
from netdsl.language.syntax import ast

COUNTED = ("params", "macs", "out")
"""The names that an expectation knows besides those of its place."""

_SHOWN = 8  # layers in a note


def unmet(
    expect: ast.Expect, names: Names, given: Tensor | None, nodes: Sequence[Node], out: Tensor
) -> Diagnostic | None:
    """What is wrong with an expectation, if anything. names and given: what is known, and arrives, where it stands."""
    params = sum(node.num_params for node in nodes)
    macs = sum(node.macs for node in nodes)
    names = Names(names, dict(zip(COUNTED, (params, macs, out.sizes), strict=True)))
    condition = expect.condition
    try:
        holds = evaluate(condition, names, given)
        if not isinstance(holds, bool):
            text = f"`expect` needs a condition, not `{show_value(holds)}`"
            return Diagnostic("N303", text, condition.span, help=(f"write `expect params == {params:_}`",))
        return None if holds else _fails(condition, names, given, nodes)
    except ExprError as error:
        return error.diagnostic
    except UnknownShape:
        return None


def _fails(condition: ast.Expr, names: Names, given: Tensor | None, nodes: Sequence[Node]) -> Diagnostic:
    """Both numbers, and where the params are."""
    if not isinstance(condition, ast.Binary) or condition.op in ("and", "or"):
        return Diagnostic("N401", f"`{condition.span.text}` does not hold", condition.span)
    left, right = (evaluate(side, names, given) for side in (condition.left, condition.right))
    text, shown = condition.left.span.text, show_value(left)
    notes = (_param_note(nodes),) if text == COUNTED[0] else ()
    hints = (f"if the network is right, write `expect {text} == {shown}`",) if condition.op == "==" else ()
    message = f"expected {text} {condition.op} {show_value(right)}, but {text} is {shown}"
    return Diagnostic("N401", message, condition.span, notes=notes, help=hints)


def _param_note(nodes: Sequence[Node]) -> str:
    counted = [(node.name, node.num_params) for node in nodes if node.num_params]
    if not counted:
        return "no layer has params"
    shown = ", ".join(f"{name} {count:_}" for name, count in counted[:_SHOWN])
    rest = len(counted) - _SHOWN
    return f"the params are: {shown}" + (f" and {rest} layers more" if rest > 0 else "")
