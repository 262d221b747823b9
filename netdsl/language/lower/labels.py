"""Labels: the names that they give, and what `@name` means."""

from __future__ import annotations

from netdsl.graph.types import Tensor
from netdsl.ground.diagnostics import Edit, did_you_mean
from netdsl.ground.spelling import correction
from netdsl.language.expressions import is_whole, show_value
from netdsl.language.lower.flow import Flow, Place
from netdsl.language.lower.work import Work
from netdsl.language.scopes import Labels, Output
from netdsl.language.syntax import ast


def label_name(work: Work, label: ast.Label, here: Place, flow: Flow) -> str | None:
    """The name a label gives; None, and an error, if it cannot be one."""
    text = ""
    for part in label.parts:
        value = part if isinstance(part, str) else work.value_of(part, here, flow)
        if value is None:
            return None
        if not isinstance(value, str) and (not is_whole(value) or value < 0):
            work.reports.error("N303", f"a label holds whole numbers, not `{show_value(value)}`", label.span)
            return None
        text += str(value)
    return text if _takes(work, text, label, here) else None


def _takes(work: Work, name: str, label: ast.Label, here: Place) -> bool:
    """Whether the label can have the name, which then nothing else in its scope can have."""
    why = work.why_reserved(name)
    if why:
        help_text = f"use another name, for example `{name.strip('_')[:60]}_1`"
        work.reports.error("N309", f"`{name}` cannot be a label: {why}", label.span, help_text)
        return False
    first = here.scope.taken.get(name.lower())
    if first is not None:
        notes = (f"the first one is `{first.text}` on line {first.line}",)
        copies = ("every copy of a repeated group needs its own name",) if first == label.span else ()
        work.reports.error("N308", f"the name `{name}` is used twice", label.span, *copies, notes=notes)
        return False
    here.scope.taken[name.lower()] = label.span
    return True


def flow_at(work: Work, ref: ast.Ref, here: Place, flow: Flow) -> Flow:
    """What flows on from `@name`."""
    if ref.path == "in":
        arriving = here.frame.arriving
        return arriving.unknown() if flow.type is None else arriving
    output = labelled(work, ref, here)
    return flow.unknown() if output is None else Flow(output.value, output.type)


def labelled_type(work: Work, ref: ast.Ref, here: Place) -> Tensor | None:
    """The type of what `@name` means, as a setting of a layer; None after a mistake."""
    if ref.path == "in":
        return here.frame.arriving.type
    output = labelled(work, ref, here)
    return None if output is None else output.type


def labelled(work: Work, ref: ast.Ref, here: Place) -> Output | None:
    """The output that `@name` means; None after a complaint."""
    labels = here.frame.labels
    outputs = labels.find(ref.path, here.scope)
    if len(outputs) == 1:
        outputs[0].is_read = True
        return outputs[0]
    if outputs:
        paths = " or ".join(f"`@{output.path}`" for output in outputs[:4])
        work.reports.error("N314", f"`@{ref.path}` could be {len(outputs)} labels", ref.span, f"write {paths}")
    elif work.complete and not work.reports.has_errors:
        _report_unknown(work, ref, labels)
    return None


def _report_unknown(work: Work, ref: ast.Ref, labels: Labels) -> None:
    names = {name for path in labels.outputs for name in (path, path.rpartition(".")[2])}
    sure = correction(ref.path, names)
    guess = sure or did_you_mean(ref.path, names)
    fix = Edit(ref.span, f"@{sure}") if sure else None
    help_text = f"did you mean `@{guess}`?" if guess else "a label stands before an element: `skip: relu`"
    notes = ("a label can be read after its element, inside the same block",) if not guess else ()
    work.reports.error("N314", f"no label `{ref.path}` is known here", ref.span, help_text, notes=notes, fix=fix)
