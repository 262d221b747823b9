"""Block calls: their arguments are bound, and the shapes brought into the block's own terms and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from netdsl.graph.ir import Call
from netdsl.graph.types import Tensor
from netdsl.ground.symbols import plain_value, substitute, symbol
from netdsl.language.blocks import Arguments, bind_call
from netdsl.language.definitions import Block
from netdsl.language.expressions import Names
from netdsl.language.lower.flow import Flow, Frame, Place
from netdsl.language.lower.layers import counted_name
from netdsl.language.lower.work import Work
from netdsl.language.scopes import OpenScope
from netdsl.language.syntax import ast
from netdsl.language.unknown_names import unknown_block

MAX_CALLS = 64


@dataclass(frozen=True)
class Entry:
    """A block whose body is to be walked through: the place inside, and what flows in, in the block's own terms.

    in_callers_terms: the name of each symbol of the body -> its value in the caller's terms.
    """

    block: Block
    inside: Place
    flow: Flow
    in_callers_terms: Mapping[str, object]

    def leave(self, caller: Place, result: Flow) -> Flow:
        """What flows out of the call at that place, in the caller's terms; `result` flowed out of the body."""
        scope = self.inside.scope
        if scope.call is not None:
            scope.call = replace(scope.call, decisions=tuple(self.inside.frame.decisions.values()))
        caller.scope.add(scope.close(result.value))
        return replace(result, type=substitute(result.type, self.in_callers_terms))


def enter(work: Work, syntax: ast.Call, label: str | None, here: Place, flow: Flow) -> Entry | Flow:
    """The way into a block; what flows on, where its body is not to be walked through."""
    blocks = here.frame.file.blocks
    block = blocks.get(syntax.name)
    if block is None:
        hint, fix = unknown_block(syntax, blocks, None if flow.type is None or flow.type.is_ids else flow.type.channels)
        work.reports.error("N315", f"unknown block `{syntax.name}`", syntax.name_span, hint, fix=fix)
        return flow.unknown()
    block.is_called = True
    bound = bind_call(block.syntax, syntax, here.names, flow.type, block.file.names)
    work.reports.add(*bound.diagnostics)
    name = label if label is not None else counted_name(work, syntax.name, syntax.name_span, here)
    if bound.diagnostics:
        flow = flow.unknown()
    if here.frame.depth >= MAX_CALLS:
        _report_endless(work, syntax, here)
        return work.stop(flow)
    if flow.type is None:
        if block.is_checked:
            return flow
        block.is_checked = True
    return _entry(block, syntax, bound, here.scope.full(name), here, flow)


def _entry(block: Block, syntax: ast.Call, bound: Arguments, path: str, here: Place, flow: Flow) -> Entry:
    meant, call = dict(bound.in_callers_terms), None
    if flow.type is not None and flow.type.is_ids:
        call = Call(syntax.name, bound.arguments, flow.type, "")
    elif flow.type is not None:
        channels = _channels_name(flow.type, meant)
        meant[channels] = flow.type.channels
        call = Call(syntax.name, bound.arguments, flow.type, channels)
        plain = plain_value(flow.type)
        flow = Flow(flow.value, plain.with_channels(symbol(plain.channels, channels)))
    frame = Frame(block.file, flow, here.frame, block, syntax.span, here.frame.depth + 1)
    scope = OpenScope(path, numbered=False, source=flow.value, call=call)
    return Entry(block, Place(frame, Names(block.file.names, bound.values), scope, here.depth), flow, meant)


def _report_endless(work: Work, syntax: ast.Call, here: Place) -> None:
    names = [frame.block.syntax.name for frame in reversed(here.frame.chain()) if frame.block is not None]
    start = len(names) - 1 - names[::-1].index(syntax.name) if syntax.name in names else 0
    cycle = [*names[start:], syntax.name]
    work.reports.error(
        "N317",
        f"block calls are more than {MAX_CALLS} deep",
        syntax.name_span,
        "let an `if` end it: `if depth > 0 { ... }`",
        notes=(f"`{'` calls `'.join(cycle[-6:])}`",),
    )


def _channels_name(tensor: Tensor, taken: Mapping[str, object]) -> str:
    """What a class calls the channels (of a map) or features that arrive."""
    name = "in_channels" if tensor.is_map else "in_features"
    return f"{name}_" if name in taken else name
