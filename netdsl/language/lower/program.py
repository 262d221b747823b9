"""A whole file lowered, statement by statement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from netdsl.graph.ir import Graph, Input, Output
from netdsl.graph.recipe import Recipe
from netdsl.graph.types import MOST_AXES, from_sizes
from netdsl.ground.diagnostics import Diagnostic
from netdsl.ground.names import reserved
from netdsl.language.definitions import Definitions, File, Load, define_let, no_files
from netdsl.language.input_constants import input_constants
from netdsl.language.lower.elements import walk_chain
from netdsl.language.lower.finish import finish
from netdsl.language.lower.flow import Flow, Frame, Place
from netdsl.language.lower.layers import fits_a_machine
from netdsl.language.lower.work import Work
from netdsl.language.scopes import OpenScope
from netdsl.language.syntax import ast
from netdsl.language.train_block import lower_train
from netdsl.language.unknown_names import is_input


def lower(
    program: ast.Program,
    name: str,
    complete: bool = True,
    load: Load = no_files,
    why_reserved: Callable[[str], str | None] = reserved,
) -> tuple[Graph | None, Recipe, list[Diagnostic]]:
    """The graph, not verified yet (None if anything is wrong), the recipe and the diagnostics.

    complete=False says that the syntax tree has holes: then only what stands by itself is checked.
    why_reserved(name) -> why no label may have that name, or None.
    """
    work = Work(complete, why_reserved)
    here, flow = _walk_program(work, program, load)
    if complete:
        finish(work, program, here, flow)
    declared, diagnostics = work.declared, work.reports.diagnostics
    if work.reports.has_errors or not complete:
        return None, declared.recipe, diagnostics
    assert declared.input_type is not None
    inputs = (Input("", declared.input_type, *declared.normalization),)
    graph = Graph(name, inputs, tuple(work.nodes), (Output("", flow.value),), here.scope.close(flow.value))
    return graph, declared.recipe, diagnostics


def _walk_program(work: Work, program: ast.Program, load: Load) -> tuple[Place, Flow]:
    """The place of the file itself, and what flows out of its last chain."""
    file, flow = File(), Flow(0, None)
    here = Place(Frame(file, flow), file.names, OpenScope("", numbered=False))
    Definitions(load, work.reports).define(program, file)
    for statement in program.statements:
        match statement:
            case ast.Input():
                if _take_input(work, statement):
                    here = replace(here, frame=replace(here.frame, arriving=Flow(0, work.declared.input_type)))
                    flow = here.frame.arriving
                    if not fits_a_machine(work, statement.shape, statement.span):
                        flow = flow.unknown()
                    work.declared.normalization = input_constants(statement, work.reports)
            case ast.Expect():
                work.ledger.expects.append((statement, flow.type, here.names))
            case ast.Let():
                define_let(statement, here.names, flow.type, work.reports)
            case ast.Train():
                _take_train(work, statement)
            case ast.Chain():
                _expect_an_input(work, statement)
                flow = walk_chain(work, statement, here, flow)
    work.ledger.note_lets(program.statements, here.names)
    return here, flow


def _expect_an_input(work: Work, chain: ast.Chain) -> None:
    """An error, if layers stand before the input; `Input 1x28x28` is one that is written wrongly."""
    if work.declared.input_span is not None:
        return
    first = chain.elements[0]
    if not is_input(first.primary) and work.complete and not work.expansion.has_layers:
        message = "the network has no `input` before its first layer"
        work.reports.error("N105", message, first.span, "begin with a line like `input 1x28x28`")


def _take_input(work: Work, statement: ast.Input) -> bool:
    """Whether this is the network's input, in its place and of sizes that can be."""
    declared = work.declared
    if declared.input_span is not None:
        notes = (f"the first one is on line {declared.input_span.line}",)
        work.reports.error("N105", "a network has one `input`", statement.span, notes=notes)
        return False
    declared.input_span = statement.span
    if statement.limit is not None and not _are_ids(work, statement):
        return False
    if len(statement.shape) > 1 + MOST_AXES:
        message = f"an input has one to four sizes, not {len(statement.shape)}"
        help_text = "the batch is not written: a colour image is `3x32x32`, a volume of one channel `1x16x64x64`"
        work.reports.error("N202", message, statement.span, help_text)
        return False
    if statement.is_map and len(statement.shape) == 1:
        (size,) = statement.shape
        help_text = f"write `input 1x{size} map` for one channel of {size} steps, or `input {size}` for a vector"
        work.reports.error("N202", "a map has channels and one to three axes of space", statement.span, help_text)
        return False
    if min(statement.shape) < 1 or max(statement.shape) >= 2**31:
        work.reports.error("N304", f"input sizes must be from 1 to {2**31 - 1:_}", statement.span)
        return False
    if work.expansion.has_layers or not work.complete:
        return False
    declared.input_type = from_sizes(statement.shape, statement.is_map, statement.limit)
    return True


def _are_ids(work: Work, statement: ast.Input) -> bool:
    """Whether an input that says how many numbers there are can be so many of them in a row."""
    limit = statement.limit or 0
    if len(statement.shape) > 1 or statement.is_map:
        help_text = f"write `input 64 of {max(limit, 1)}` for 64 in a row"
        work.reports.error("N202", "whole numbers stand in a row, which has one size", statement.span, help_text)
        return False
    if not 1 <= limit < 2**31:
        message = f"there must be from 1 to {2**31 - 1:_} numbers, not {limit:_}"
        work.reports.error("N304", message, statement.span, "`input 64 of 65` takes numbers from 0 to 64")
        return False
    return True


def _take_train(work: Work, statement: ast.Train) -> None:
    declared = work.declared
    if declared.train_block is not None:
        note = f"the first one is on line {declared.train_block.span.line}"
        work.reports.error("N502", "a spec has one train block", statement.span, notes=(note,))
        return
    declared.train_block = statement
    declared.recipe, diagnostics = lower_train(statement)
    work.reports.add(*diagnostics)
