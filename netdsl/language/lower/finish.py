"""The end of a file: what is known only when every layer is."""

from __future__ import annotations

import re
from dataclasses import replace

from netdsl.graph.misfits import misfits
from netdsl.graph.types import Tensor
from netdsl.ground.diagnostics import Edit
from netdsl.ground.source import Source, Span
from netdsl.ground.symbols import plain_value
from netdsl.language.expectations import unmet
from netdsl.language.expressions import UNKNOWN, Names
from netdsl.language.lower.elements import walk_body
from netdsl.language.lower.flow import Flow, Frame, Place
from netdsl.language.lower.work import Work
from netdsl.language.scopes import OpenScope
from netdsl.language.syntax import ast


def finish(work: Work, program: ast.Program, here: Place, flow: Flow) -> None:
    """Report what the end of the file shows; `flow` is what the network gives."""
    _check_uncalled(work, here, flow)
    has_errors = work.reports.has_errors
    _check_layers(work, program)
    if flow.type is None or has_errors:
        return
    for expect, given, names in work.ledger.expects:
        diagnostic = unmet(expect, names, given, work.nodes, flow.type)
        if diagnostic is not None:
            work.reports.add(diagnostic)
    if work.declared.train_block is not None:
        _check_recipe(work, work.declared.train_block, flow.type)
    assert work.declared.input_span is not None
    source = work.declared.input_span.source
    _warn_of_lets(work, source)
    _warn_of_blocks(work, here)
    _warn_of_labels(work, source)


def _check_uncalled(work: Work, here: Place, flow: Flow) -> None:
    """Blocks that nothing calls are looked through for what stands by itself."""
    if work.expansion.is_over:
        return
    file, flow = here.frame.file, flow.unknown()
    unheard = replace(work, ledger=replace(work.ledger, expects=[]))
    own = [block for block in file.blocks.values() if block.file is file and not block.is_called]
    for block in own:
        params = {param.name.id: UNKNOWN for param in block.syntax.params}
        frame = Frame(file, flow, here.frame, block, depth=1)
        block.is_checked = True
        inside = Place(frame, Names(file.names, params), OpenScope("", numbered=False))
        walk_body(unheard, block.syntax.body, inside, flow)


def _check_layers(work: Work, program: ast.Program) -> None:
    """An error, if the network has no layers and nothing else is wrong."""
    has_errors, input_span = work.reports.has_errors, work.declared.input_span
    where = input_span or program.span
    if input_span is None and not work.expansion.has_layers:
        help_text = "begin with a line like `input 1x28x28`"
        work.reports.error("N105", "the spec is empty: it has no `input`", program.span, help_text)
    elif not work.expansion.has_layers:
        help_text = "add a line like `flatten -> linear 10`"
        work.reports.error("N106", "the network has no layers", where, help_text)
    elif not work.nodes and not has_errors:
        work.reports.error("N106", "the network has no layers", where)


def _check_recipe(work: Work, block: ast.Train, out: Tensor) -> None:
    """What the train block says must fit the network; the block itself is marked where an entry is left out."""
    spans = {entry.key: entry.span for entry in block.entries}
    for misfit in misfits(work.declared.recipe, work.declared.input_type, plain_value(out)):
        work.reports.error("N503", misfit.message, spans.get(misfit.entry, block.span), misfit.help)


def _warn_of_lets(work: Work, source: Source) -> None:
    for let, was_read in work.ledger.lets.values():
        if not was_read and let.span.source is source:
            message, fix = f"`{let.name.id}` is never used", Edit(let.span, "")
            work.reports.warn("N601", message, let.name.span, "remove it, or use it", fix)


def _warn_of_blocks(work: Work, here: Place) -> None:
    for block in here.frame.file.blocks.values():
        if block.file is here.frame.file and not block.is_called:
            message = f"the block `{block.syntax.name}` is never called"
            work.reports.warn("N602", message, block.syntax.name_span, "remove it, or call it")


def _warn_of_labels(work: Work, source: Source) -> None:
    """A label is of use where it is read, or where params are called after it."""
    for span, outputs in work.ledger.outputs.items():
        names_params = any(work.nodes[i].params for output in outputs for i in output.nodes)
        if span.source is source and not names_params and not any(output.is_read for output in outputs):
            name = outputs[0].path.rpartition(".")[2]
            fix = Edit(Span(span.source, span.start, _after_colon(span)), "")
            help_text = f"remove it, or read it as `@{name}`"
            work.reports.warn("N603", f"the label `{name}` names nothing", span, help_text, fix)


def _after_colon(label: Span) -> int:
    """Where what a label names begins, if it begins on the same line."""
    match = re.compile(r"[ \t]*:[ \t]*").match(label.source.text, label.end)
    return match.end() if match else label.end
