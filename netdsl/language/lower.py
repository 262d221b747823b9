"""Syntax tree to `Graph`: names, shapes and counts. Reports every independent mistake.

After a layer whose shape is unknown nothing more is said about shapes; names and values are still checked. The graph is
a flat list; recursion follows only the nesting of braces and of block calls, which MAX_DEPTH limits.

Inside a block the params of its call, and the channels that arrive, are symbols (ground.symbols): numbers that remember
their expression. So one walk gives the numbers and what a class would write for them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from math import prod

from netdsl.graph.ir import Call, Graph, Input, Node, Shape, show_shape, verify_graph
from netdsl.graph.ir import Output as NetworkOutput
from netdsl.graph.misfits import misfits
from netdsl.graph.recipe import Recipe
from netdsl.graph.types import from_sizes
from netdsl.ground.diagnostics import Diagnostic, Edit, SpecProblem, did_you_mean
from netdsl.ground.names import reserved
from netdsl.ground.reports import Reports
from netdsl.ground.source import Span
from netdsl.ground.spelling import correction
from netdsl.ground.symbols import is_symbolic, plain_value, substitute, symbol
from netdsl.language.attributes import bind
from netdsl.language.blocks import Arguments, bind_call
from netdsl.language.definitions import (
    Block,
    Definitions,
    File,
    Load,
    define_let,
    least_layers,
    names_a_value,
    no_files,
    value_of,
)
from netdsl.language.expectations import unmet
from netdsl.language.expressions import UNKNOWN, Names, Value, expression_text, opposite, show_value
from netdsl.language.foreign import layer_named, translated
from netdsl.language.input_constants import Constants, input_constants
from netdsl.language.scopes import Labels, OpenScope, Output
from netdsl.language.syntax import ast
from netdsl.language.train_block import lower_train
from netdsl.language.unknown_names import about_the_input, is_input, unknown_layer
from netdsl.layers import find_layer, layer_of
from netdsl.layers.contract import LayerDef, features

MAX_LAYERS = 10_000
MAX_CALLS = 64
MAX_DEPTH = 128
MAX_BYTES = 2**63 - 1
SHOWN_CALLS = 3


@dataclass
class _Frame:
    """A block call in progress (block None: the file itself)."""

    file: File
    block: Block | None = None
    call: Span | None = None
    value: int = 0  # what arrives: `@in`
    shape: Shape | None = None
    labels: Labels = field(default_factory=Labels)
    decisions: dict[str, tuple[str, str]] = field(default_factory=dict)


def lower(
    program: ast.Program, name: str, complete: bool = True, load: Load = no_files
) -> tuple[Graph | None, Recipe, list[Diagnostic]]:
    """The graph (None if anything is wrong), the recipe and the diagnostics.

    complete=False says that the syntax tree has holes: then only what stands by itself is checked.
    """
    lowering = _Lowering(complete, load)
    lowering.program(program)
    if complete:
        lowering.finish(program)
    diagnostics = lowering.reports.diagnostics
    if lowering.reports.has_errors or not complete:
        return None, lowering.recipe, diagnostics
    assert lowering.input_shape is not None
    root = lowering.scope.close(lowering.value)
    inputs = (Input("", from_sizes(lowering.input_shape), *lowering.normalization),)
    graph = Graph(name, inputs, tuple(lowering.nodes), (NetworkOutput("", lowering.value),), root)
    return verify_graph(graph), lowering.recipe, diagnostics


class _Lowering:
    """The state while walking through the file: the value that flows and its shape (None: unknown)."""

    def __init__(self, complete: bool, load: Load) -> None:
        self.complete = complete
        self.load = load
        self.reports = Reports()
        self.nodes: list[Node] = []
        self.input_shape: Shape | None = None
        self.input_span: Span | None = None
        self.normalization: Constants = ((), ())
        self.value = 0
        self.shape: Shape | None = None
        self.scope = OpenScope("", numbered=False)
        self.file = File()
        self.names = self.file.names
        self.frames = [_Frame(self.file)]
        self.depth = 0
        self.expects: list[tuple[ast.Expect, Shape | None, Names]] = []
        self.lets: dict[Span, tuple[ast.Let, bool]] = {}
        self.outputs: dict[Span, list[Output]] = {}
        self.recipe = Recipe()
        self.train_block: ast.Train | None = None
        self.expanded = 0
        self.least: dict[int, int] = {}
        self.too_large = False
        self.has_layers = False

    # ---------------------------------------------------------------- the file

    def program(self, program: ast.Program) -> None:
        Definitions(self.load, self.reports).define(program, self.file)
        for statement in program.statements:
            match statement:
                case ast.Input():
                    self.input(statement)
                case ast.Expect():
                    self.expects.append((statement, self.shape, self.names))
                case ast.Let():
                    define_let(statement, self.names, self.shape, self.reports)
                case ast.Train():
                    self.train(statement)
                case ast.Chain():
                    first = statement.elements[0].primary
                    if is_input(first) and self.input_span is None:
                        self.has_layers = True
                    elif self.input_span is None and self.complete and not self.has_layers:
                        self.reports.error(
                            "N105",
                            "the network has no `input` before its first layer",
                            statement.elements[0].span,
                            "begin with a line like `input 1x28x28`",
                        )
                    self.chain(statement)
        self.note_lets([s for s in program.statements if isinstance(s, ast.Let)])

    def input(self, statement: ast.Input) -> None:
        if self.input_span is not None:
            self.reports.error(
                "N105",
                "a network has one `input`",
                statement.span,
                notes=(f"the first one is on line {self.input_span.line}",),
            )
            return
        self.input_span = statement.span
        if len(statement.shape) > 3:
            self.reports.error(
                "N202",
                f"an input has one to three sizes, not {len(statement.shape)}",
                statement.span,
                "the batch is not written: a colour image is `3x32x32`",
            )
        elif min(statement.shape) < 1 or max(statement.shape) >= 2**31:
            self.reports.error("N304", f"input sizes must be from 1 to {2**31 - 1:_}", statement.span)
        elif not self.has_layers and self.complete:
            self.input_shape = self.shape = self.frames[0].shape = statement.shape
            self.check_size(statement.shape, statement.span)
            self.normalization = input_constants(statement, self.reports)

    def train(self, statement: ast.Train) -> None:
        if self.train_block is not None:
            note = f"the first one is on line {self.train_block.span.line}"
            self.reports.error("N502", "a spec has one train block", statement.span, notes=(note,))
            return
        self.train_block = statement
        self.recipe, diagnostics = lower_train(statement)
        self.reports.add(*diagnostics)

    def evaluated(self, expr: ast.Expr) -> Value | None:
        return value_of(expr, self.names, self.shape, self.reports)

    def note_lets(self, lets: list[ast.Let]) -> None:
        """Remember which lets of the body that ends here were read; a body may be walked through several times."""
        unread = set(self.names.unread())
        for let in lets:
            _, was_read = self.lets.get(let.span, (let, False))
            self.lets[let.span] = (let, was_read or let.name.id not in unread)

    # ---------------------------------------------------------------- bodies and elements

    def body(self, body: ast.Body) -> None:
        outer, self.names = self.names, Names(self.names)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.reports.error("N004", f"groups and block calls are nested more than {MAX_DEPTH} deep", body.span)
            self.stop()
        for statement in body.statements:
            match statement:
                case ast.Chain():
                    self.chain(statement)
                case ast.Let():
                    define_let(statement, self.names, self.shape, self.reports)
                case ast.Expect():
                    self.expects.append((statement, self.shape, self.names))
        self.note_lets([s for s in body.statements if isinstance(s, ast.Let)])
        self.depth -= 1
        self.names = outer

    def chain(self, chain: ast.Chain) -> None:
        self.has_layers = True
        for element in chain.elements:
            if self.too_large:
                return
            self.element(element)

    def element(self, element: ast.Element) -> None:
        """What an element's label, count and content make; the label names a layer, a call, or a group of the rest."""
        copies = 1 if element.count is None else self.copies(element.count)
        if copies is None:
            self.shape = None
            copies = 1
        label = self.label(element.label) if element.label is not None else None
        direct = element.count is None and isinstance(element.primary, ast.Layer | ast.Call | ast.Ref)
        first, outer = len(self.nodes), self.scope
        alone = element.count is None and isinstance(element.primary, ast.Body)
        group = label if label is not None else outer.next_name("group") if alone and outer.numbered else None
        if group is not None and not direct:
            self.scope = OpenScope(outer.full(group), numbered=True, source=self.value, outer=outer)
        for _ in range(copies if self.fits(element, copies) else 1):
            if self.too_large:
                break
            self.expanded += 1
            self.primary(element.primary, label if direct else None)
        if self.scope is not outer:
            outer.add(self.scope.close(self.value))
            self.scope = outer
        if label is not None and element.label is not None:
            made = Output(outer.full(label), self.value, self.shape, element.label.span, range(first, len(self.nodes)))
            self.frames[-1].labels.add(made)
            self.outputs.setdefault(made.span, []).append(made)

    def primary(self, primary: ast.Primary, label: str | None) -> None:
        match primary:
            case ast.Layer():
                self.layer(primary, label)
            case ast.Body():
                self.body(primary)
            case ast.Call():
                self.call(primary, label)
            case ast.Merge():
                self.merge(primary)
            case ast.If():
                self.condition(primary)
            case ast.For():
                self.loop(primary)
            case ast.Ref():
                self.ref(primary)

    def copies(self, count: ast.Expr) -> int | None:
        """The number before `*`; None after a mistake."""
        value = self.evaluated(count)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            self.reports.error(
                "N310", f"a count must be a whole number of at least 0, not `{show_value(value)}`", count.span
            )
            return None
        return None if value is None else int(value)

    def fits(self, element: ast.Element, copies: int) -> bool:
        """False, and an error, if the copies would make the network too large. Nothing is expanded first."""
        least = least_layers(element.primary, self.frames[-1].file, self.least)
        total = max(len(self.nodes), self.expanded) + copies * max(1, least)
        if total <= MAX_LAYERS:
            return True
        if not self.too_large:
            self.reports.error(
                "N311",
                f"this makes at least {total:_} layers; a network has at most {MAX_LAYERS:_}",
                element.count.span if element.count is not None else element.span,
            )
        self.stop()
        return False

    def stop(self) -> None:
        """Nothing more is expanded."""
        self.too_large = True
        self.shape = None

    def label(self, label: ast.Label) -> str | None:
        """The name a label gives; None, and an error, if it cannot be one."""
        text = ""
        for part in label.parts:
            value = part if isinstance(part, str) else self.evaluated(part)
            if value is None:
                return None
            if not isinstance(value, str) and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                self.reports.error("N303", f"a label holds whole numbers, not `{show_value(value)}`", label.span)
                return None
            text += str(value)
        return text if self.label_is_free(text, label) else None

    def label_is_free(self, name: str, label: ast.Label) -> bool:
        why = reserved(name)
        if why:
            self.reports.error(
                "N309",
                f"`{name}` cannot be a label: {why}",
                label.span,
                f"use another name, for example `{name.strip('_')[:60]}_1`",
            )
            return False
        first = self.scope.taken.get(name.lower())
        if first is not None:
            notes = (f"the first one is `{first.text}` on line {first.line}",)
            copies = ("every copy of a repeated group needs its own name",) if first == label.span else ()
            self.reports.error("N308", f"the name `{name}` is used twice", label.span, *copies, notes=notes)
            return False
        self.scope.taken[name.lower()] = label.span
        return True

    # ---------------------------------------------------------------- if, for, @name

    def condition(self, syntax: ast.If) -> None:
        value = self.evaluated(syntax.condition)
        if value is not None and not isinstance(value, bool):
            message = f"`if` needs true or false, not `{show_value(value)}`"
            self.reports.error("N303", message, syntax.condition.span, "compare it with something: `if n > 0 { ... }`")
            value = None
        if value is None:  # both sides are looked through for what stands by itself
            self.shape = None
        elif len(self.frames) > 1:
            holds, fails = expression_text(syntax.condition), expression_text(opposite(syntax.condition))
            self.frames[-1].decisions[holds] = (holds, fails) if value else (fails, holds)
        for taken, side in ((True, syntax.then), (False, syntax.otherwise)):
            if side is not None and value in (taken, None):
                if isinstance(side, ast.If):
                    self.condition(side)
                else:
                    self.body(side)

    def loop(self, syntax: ast.For) -> None:
        items = self.items(syntax)
        valid = sum(names_a_value(name, self.reports) for name in syntax.names) == len(syntax.names)
        if items is None or not valid:
            self.shape = None
            items = [None]
        outer = self.names
        for item in items:
            if self.too_large:
                return
            self.expanded += 1
            self.names = Names(outer, self.loop_values(syntax, item))
            self.body(syntax.body)
            self.names = outer

    def items(self, syntax: ast.For) -> list | None:
        if isinstance(syntax.items, ast.Range):
            ends = [self.evaluated(end) for end in (syntax.items.start, syntax.items.stop)]
            for end, written in zip(ends, (syntax.items.start, syntax.items.stop), strict=True):
                if end is not None and (isinstance(end, bool) or not isinstance(end, int)):
                    self.reports.error("N303", f"a range needs whole numbers, not `{show_value(end)}`", written.span)
                    return None
            if None in ends:
                return None
            start, stop = (int(end) for end in ends)  # type: ignore[arg-type]
            if stop - start > MAX_LAYERS:
                self.reports.error(
                    "N311", f"a range of {stop - start:_} numbers; at most {MAX_LAYERS:_}", syntax.items.span
                )
                self.stop()
                return None
            return list(range(start, stop))
        items = self.evaluated(syntax.items)
        if items is not None and not isinstance(items, list):
            message = f"`for` needs a list or a range, not `{show_value(items)}`"
            help_text = "write `for i in 0..4 { ... }` or `for c in [64, 128] { ... }`"
            self.reports.error("N303", message, syntax.items.span, help_text)
            return None
        return items

    def loop_values(self, syntax: ast.For, item: Value | None) -> dict:
        """The loop's names for one item, which is taken apart where there are several."""
        names = [name.id for name in syntax.names]
        if item is None:
            return dict.fromkeys(names, UNKNOWN)
        if len(names) == 1:
            return {names[0]: item}
        if not isinstance(item, list) or len(item) != len(names):
            message = f"`{show_value(item)}` does not have {len(names)} values"
            notes = (f"the names are {', '.join(f'`{name}`' for name in names)}",)
            self.reports.error("N319", message, syntax.items.span, notes=notes)
            self.shape = None
            return dict.fromkeys(names, UNKNOWN)
        return dict(zip(names, item, strict=True))

    def ref(self, ref: ast.Ref) -> None:
        if ref.path == "in":
            self.value, self.shape = self.frames[-1].value, self.frames[-1].shape if self.shape is not None else None
            return
        found = self.labelled(ref)
        if found is None:
            self.shape = None
        else:
            self.value, self.shape = found.value, found.shape

    def labelled_shape(self, ref: ast.Ref) -> Shape | None:
        """The shape of what `@name` means, as a setting of a layer."""
        if ref.path == "in":
            return self.frames[-1].shape
        found = self.labelled(ref)
        return None if found is None else found.shape

    def labelled(self, ref: ast.Ref) -> Output | None:
        """The output that has the label; None after a complaint."""
        labels = self.frames[-1].labels
        found = labels.find(ref.path, self.scope)
        if len(found) == 1:
            found[0].is_read = True
            return found[0]
        if found:
            paths = " or ".join(f"`@{output.path}`" for output in found[:4])
            self.reports.error("N314", f"`@{ref.path}` could be {len(found)} labels", ref.span, f"write {paths}")
            return None
        if not self.complete or self.reports.has_errors:
            return None
        known = {name for path in labels.outputs for name in (path, path.rpartition(".")[2])}
        sure = correction(ref.path, known)
        guess = sure or did_you_mean(ref.path, known)
        fix = Edit(ref.span, f"@{sure}") if sure else None
        hints = [f"did you mean `@{guess}`?"] if guess else ["a label stands before an element: `skip: relu`"]
        notes = ("a label can be read after its element, inside the same block",) if not guess else ()
        self.reports.error("N314", f"no label `{ref.path}` is known here", ref.span, *hints, notes=notes, fix=fix)
        return None

    # ---------------------------------------------------------------- block calls

    def call(self, syntax: ast.Call, label: str | None) -> None:
        block = self.frames[-1].file.blocks.get(syntax.name)
        if block is None:
            self.unknown_block(syntax)
            self.shape = None
            return
        block.is_called = True
        bound = bind_call(block.syntax, syntax, self.names, self.shape, block.file.names)
        self.reports.add(*bound.diagnostics)
        name = label if label is not None else self.counted_name(syntax.name, syntax.name_span)
        if bound.diagnostics:
            self.shape = None
        if len(self.frames) > MAX_CALLS:
            self.endless(syntax)
            return
        if self.shape is None:
            if block.is_checked:
                return
            block.is_checked = True
        self.enter(block, syntax, bound, self.scope.full(name))

    def enter(self, block: Block, syntax: ast.Call, bound: Arguments, path: str) -> None:
        """Walk through the block's body, in its own terms, and bring the shape back into the caller's."""
        outer, names, shape = self.scope, self.names, self.shape
        meant = dict(bound.in_callers_terms)
        if shape is not None:
            channels = _channels_name(shape, meant)
            axis = 0 if len(shape) != 2 else 1
            meant[channels] = shape[axis]
            self.shape = tuple(
                symbol(plain_value(size), channels) if i == axis else plain_value(size) for i, size in enumerate(shape)
            )
            call = Call(syntax.name, bound.arguments, shape, channels)
        else:
            call = None
        self.scope = OpenScope(path, numbered=False, source=self.value, call=call)
        self.names = Names(block.file.names, bound.values)
        self.frames.append(_Frame(block.file, block, syntax.span, self.value, self.shape))
        self.body(block.syntax.body)
        decisions = self.frames.pop().decisions
        if call is not None:
            self.scope.call = replace(call, decisions=tuple(decisions.values()))
        outer.add(self.scope.close(self.value))
        self.scope, self.names = outer, names
        if self.shape is not None:
            self.shape = substitute(self.shape, meant)

    def unknown_block(self, syntax: ast.Call) -> None:
        blocks = self.frames[-1].file.blocks
        sure = correction(syntax.name, blocks)
        guess = sure or did_you_mean(syntax.name, blocks)
        meant = None if sure else translated(syntax.span.text, None if self.shape is None else features(self.shape))
        fix = None
        if meant is not None:
            is_own = find_layer(syntax.name) is not None
            hint = f"`{syntax.name}` is a layer: write `{meant}`" if is_own else f"write `{meant}`"
            fix = Edit(syntax.span, meant)
        elif guess:
            hint = f"did you mean `{guess}`?"
            fix = Edit(syntax.name_span, guess) if sure else None
        elif syntax.name in ("add", "mul", "cat", "res"):
            hint = f"branches stand in braces: `{syntax.name} {{ a | b }}`"
        elif layer_named(syntax.name) is not None:
            hint = f"`{syntax.name}` is a layer: write it without parentheses, as in `conv 32 k5`"
        else:
            hint = f"define it: `block {syntax.name}(...) {{ ... }}`"
        self.reports.error("N315", f"unknown block `{syntax.name}`", syntax.name_span, hint, fix=fix)

    def endless(self, syntax: ast.Call) -> None:
        names = [frame.block.syntax.name for frame in self.frames if frame.block is not None]
        start = len(names) - 1 - names[::-1].index(syntax.name) if syntax.name in names else 0
        cycle = [*names[start:], syntax.name]
        self.reports.error(
            "N317",
            f"block calls are more than {MAX_CALLS} deep",
            syntax.name_span,
            "let an `if` end it: `if depth > 0 { ... }`",
            notes=(f"`{'` calls `'.join(cycle[-6:])}`",),
        )
        self.stop()

    # ---------------------------------------------------------------- layers

    def layer(self, syntax: ast.Layer, label: str | None) -> None:
        layer = find_layer(syntax.name)
        if layer is None or layer.num_inputs is None:
            self.unknown_layer(syntax)
            self.shape = None
            return
        if layer.name == "id" and label is None and not syntax.args and self.depth and not self.scope.numbered:
            return  # in a branch it stands for the input itself
        bound = bind(layer, syntax, self.names, self.shape, self.labelled_shape)
        self.reports.add(*bound.diagnostics)
        name = label if label is not None else self.counted_name(layer.name, syntax.name_span)
        if bound.attrs is None or self.shape is None or self.too_large:
            self.shape = None
            return
        try:
            node = self.node(layer, bound.attrs, name, (self.value,), (self.shape,), syntax.span)
        except SpecProblem as problem:
            self.problem(problem, bound.spans.get(problem.attr or ""), syntax.name_span, (self.origin(),))
            return
        self.add(node)

    def merge(self, syntax: ast.Merge) -> None:
        """Every branch starts from the value that arrives; the results go into one layer."""
        value, shape = self.value, self.shape
        results: list[tuple[int, Shape | None]] = []
        for branch in syntax.branches:
            self.value, self.shape = value, shape
            self.body(branch)
            results.append((self.value, self.shape))
        if syntax.op == "res":
            results.append((value, shape))
            if len(syntax.branches) > 1:
                help_text = "`res { f }` is `add { f | id }`; for more branches write `add { a | b }`"
                self.reports.error("N316", "`res` has one branch", syntax.op_span, help_text)
                self.shape = None
                return
        elif len(syntax.branches) < 2:
            text = f"`{syntax.op}` needs two branches or more"
            self.reports.error(
                "N316", text, syntax.op_span, f"write `{syntax.op} {{ a | b }}`; `id` passes the input on"
            )
        layer = layer_of("add" if syntax.op == "res" else syntax.op)
        name = self.counted_name(layer.name, syntax.op_span, is_module=False)
        values, shapes = zip(*results, strict=True)
        if any(s is None for s in shapes) or self.too_large or len(values) < 2:
            self.shape = None
            return
        try:
            node = self.node(layer, {}, name, values, shapes, syntax.op_span)
        except SpecProblem as problem:
            starts = [branch.span for branch in syntax.branches]
            notes = [f"`{_shown(span)}` gives {show_shape(s)}" for span, s in zip(starts, shapes, strict=False)]
            notes += [f"`id` gives {show_shape(shapes[-1])}"] if syntax.op == "res" else []
            self.problem(problem, None, syntax.op_span, tuple(notes))
            return
        self.add(node, is_module=False)

    def node(
        self, layer: LayerDef, attrs: dict, name: str, values: tuple[int, ...], shapes: tuple[Shape, ...], span: Span
    ) -> Node:
        """Apply the layer's rules; the shape may hold symbols. Raises SpecProblem."""
        attrs = dict(layer.resolve(attrs, *shapes) if layer.resolve else attrs)
        self.shape = _channels_only(layer.shape(attrs, *shapes))
        symbolic = is_symbolic(tuple(attrs.values())) or is_symbolic(shapes)
        plain = {key: plain_value(value) for key, value in attrs.items()} if symbolic else attrs
        sizes = plain_value(shapes) if symbolic else shapes
        return Node(
            self.scope.full(name),
            layer.name,
            plain,
            values,
            plain_value(self.shape),
            layer.params(plain, *sizes),
            layer.buffers(plain, *sizes),
            layer.macs(plain, *sizes),
            span,
            (attrs, shapes, self.shape),
        )

    def add(self, node: Node, is_module: bool = True) -> None:
        """Append the node, whose shape (with symbols) is self.shape."""
        assert node.span is not None
        for shape in (node.shape, *(p.shape for p in node.params)):
            if not self.check_size(shape, node.span):
                return
        self.scope.add(len(self.nodes), is_module)
        self.nodes.append(node)
        self.value = len(self.nodes)

    def counted_name(self, op: str, span: Span, is_module: bool = True) -> str:
        """The name of a layer or call without a label."""
        name = self.scope.next_name(op, is_module)
        first = self.scope.taken.get(name.lower())
        if first is not None and first.text != op:
            self.reports.error(
                "N308",
                f"this layer would be called `{name}`, which is already a label",
                span,
                "give it, or the other one, another label",
                notes=(f"layers without a label are counted; the label is on line {first.line}",),
            )
        self.scope.taken[name.lower()] = span
        return name

    def unknown_layer(self, syntax: ast.Layer) -> None:
        message, hint, fix = unknown_layer(syntax, self.frames[-1].file.blocks)
        self.reports.error("N301", message, syntax.name_span, hint, fix=fix)

    def problem(self, problem: SpecProblem, attr: Span | None, name: Span, notes: tuple[str, ...]) -> None:
        """What a layer's rule complained about, at the attr it named, with the history of the shape."""
        label = problem.label if attr is not None else ""
        notes = (*problem.notes, *notes, *self.trail())
        help = problem.help
        if self.value == 0 and self.input_span is not None and self.input_shape is not None:
            help = about_the_input(problem, self.input_shape)
        self.reports.add(Diagnostic(problem.code, problem.message, attr or name, label, notes, help))
        self.shape = None

    def origin(self) -> str:
        """How the tensor that arrives got its shape."""
        assert self.shape is not None
        shape = show_shape(self.shape)
        if self.value == 0:
            line = self.input_span.line if self.input_span else 1
            return f"the input is {shape} (`input` on line {line})"
        span = self.nodes[self.value - 1].span
        assert span is not None
        return f"the input is {shape} (from `{_shown(span)}` {self.place(span)})"

    def trail(self) -> tuple[str, ...]:
        """The calls that led here, the innermost first."""
        calls = [frame.call for frame in reversed(self.frames) if frame.call is not None]
        notes = [f"in `{_shown(span)}`, called {self.place(span)}" for span in calls[:SHOWN_CALLS]]
        rest = len(calls) - SHOWN_CALLS
        return (*notes, f"and {rest} calls further out") if rest > 0 else tuple(notes)

    def place(self, span: Span) -> str:
        """`on line 3`, with the file where it is not the spec itself."""
        own = self.input_span.source if self.input_span is not None else span.source
        return f"on line {span.line}" + (f" of {span.source.name}" if span.source.name != own.name else "")

    def check_size(self, shape: Shape, span: Span) -> bool:
        if 8 * prod(shape) <= MAX_BYTES and max(shape) < 2**31:
            return True
        self.reports.error("N311", f"an array of {show_shape(shape)} is too large for any machine", span)
        self.shape = None
        return False

    # ---------------------------------------------------------------- the end of the file

    def finish(self, program: ast.Program) -> None:
        self.check_uncalled()
        errors = self.reports.has_errors
        if self.input_span is None and not self.has_layers:
            self.reports.error(
                "N105", "the spec is empty: it has no `input`", program.span, "begin with a line like `input 1x28x28`"
            )
        elif not self.has_layers:
            self.reports.error(
                "N106",
                "the network has no layers",
                self.input_span or program.span,
                "add a line like `flatten -> linear 10`",
            )
        elif not self.nodes and not errors:
            self.reports.error("N106", "the network has no layers", self.input_span or program.span)
        if self.shape is None or errors:
            return
        for expect, shape, names in self.expects:
            diagnostic = unmet(expect, names, shape, self.nodes, self.shape)
            if diagnostic is not None:
                self.reports.add(diagnostic)
        if self.train_block is not None:
            self.check_recipe(self.train_block)
        self.warn_of_unused()

    def check_uncalled(self) -> None:
        """Blocks that nothing calls are looked through for what stands by itself."""
        if self.too_large:
            return
        own = [block for block in self.file.blocks.values() if block.file is self.file and not block.is_called]
        for block in own:
            value, shape, scope, expects = self.value, self.shape, self.scope, self.expects
            self.shape, self.scope, self.expects = None, OpenScope("", numbered=False), []
            params = {param.name.id: UNKNOWN for param in block.syntax.params}
            self.names = Names(self.file.names, params)
            self.frames.append(_Frame(self.file, block))
            block.is_checked = True
            self.body(block.syntax.body)
            self.frames.pop()
            self.names = self.file.names
            self.value, self.shape, self.scope, self.expects = value, shape, scope, expects

    def warn_of_unused(self) -> None:
        for let, was_read in self.lets.values():
            if not was_read and let.span.source is self.source:
                fix = Edit(let.span, "")
                self.reports.warn("N601", f"`{let.name.id}` is never used", let.name.span, "remove it, or use it", fix)
        for block in self.file.blocks.values():
            if block.file is self.file and not block.is_called:
                span = block.syntax.name_span
                self.reports.warn(
                    "N602", f"the block `{block.syntax.name}` is never called", span, "remove it, or call it"
                )
        for span, outputs in self.outputs.items():
            names_params = any(self.nodes[i].params for output in outputs for i in output.nodes)
            if span.source is self.source and not names_params and not any(output.is_read for output in outputs):
                name = outputs[0].path.rpartition(".")[2]
                fix = Edit(Span(span.source, span.start, _after_colon(span)), "")
                self.reports.warn(
                    "N603", f"the label `{name}` names nothing", span, f"remove it, or read it as `@{name}`", fix
                )

    @property
    def source(self) -> object:
        assert self.input_span is not None
        return self.input_span.source

    def check_recipe(self, block: ast.Train) -> None:
        """What the train block says must fit the network; the block itself is marked where an entry is left out."""
        spans = {entry.key: entry.span for entry in block.entries}
        for misfit in misfits(self.recipe, self.input_shape, plain_value(self.shape)):
            self.reports.error("N503", misfit.message, spans.get(misfit.entry, block.span), misfit.help)


def _after_colon(label: Span) -> int:
    """Where what a label names begins, if it begins on the same line."""
    match = re.compile(r"[ \t]*:[ \t]*").match(label.source.text, label.end)
    return match.end() if match else label.end


def _shown(span: Span) -> str:
    """What stands at the span, on one line."""
    text = " ".join(span.text.split())
    return text if len(text) <= 40 else f"{text[:37]}..."


def _channels_only(shape: Shape) -> Shape:
    """Symbols are kept for channels and features; heights, widths and numbers of tokens are numbers."""
    axis = 1 if len(shape) == 2 else 0
    return tuple(size if i == axis else plain_value(size) for i, size in enumerate(shape))


def _channels_name(shape: Shape, taken: dict) -> str:
    """What a class calls the channels (of a map) or features that arrive."""
    name = "in_channels" if len(shape) == 3 else "in_features"
    return f"{name}_" if name in taken else name
