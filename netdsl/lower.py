"""Syntax tree to `Graph`: names, shapes and counts. Reports every independent mistake.

After a layer whose shape is unknown nothing more is said about shapes; names and values are still checked. The graph is
a flat list; recursion follows only the nesting of braces, which the parser limits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from netdsl.attributes import bind
from netdsl.diagnostics import Diagnostic, SpecProblem, did_you_mean
from netdsl.expressions import ExprError, UnknownShape, Value, evaluate, show_value
from netdsl.ir import Graph, Node, Scope, Shape, show_shape, verify_graph
from netdsl.layers import find_layer, spellings
from netdsl.layers.contract import LayerDef
from netdsl.names import reserved
from netdsl.recipe import Recipe, lower_train
from netdsl.source import Span
from netdsl.syntax import ast

MAX_LAYERS = 10_000
MAX_BYTES = 2**63 - 1


@dataclass
class _Scope:
    """A scope being filled. In a labelled group (`numbered`) children are numbered from 0, as nn.Sequential does."""

    path: str
    numbered: bool
    children: list[Scope | int] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    taken: dict[str, Span] = field(default_factory=dict)

    def full(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def next_name(self, op: str) -> str:
        if self.numbered:
            return str(len(self.children))
        self.counts[op] = self.counts.get(op, 0) + 1
        return f"{op}{self.counts[op]}"

    def close(self) -> Scope:
        return Scope(self.path, tuple(self.children))


def lower(program: ast.Program, name: str, complete: bool = True) -> tuple[Graph | None, Recipe, list[Diagnostic]]:
    """The graph (None if anything is wrong), the recipe and the diagnostics.

    complete=False says that the syntax tree has holes: then only what stands by itself is checked.
    """
    lowering = _Lowering(complete)
    for statement in program.statements:
        lowering.statement(statement)
    if complete:
        lowering.finish(program)
    diagnostics = lowering.diagnostics
    if any(d.level == "error" for d in diagnostics) or not complete:
        return None, lowering.recipe, diagnostics
    assert lowering.input_shape is not None
    graph = Graph(name, lowering.input_shape, tuple(lowering.nodes), lowering.value, lowering.root.close())
    return verify_graph(graph), lowering.recipe, diagnostics


class _Lowering:
    """The state while walking through the file: the value that flows and its shape (None: unknown)."""

    def __init__(self, complete: bool) -> None:
        self.complete = complete
        self.diagnostics: list[Diagnostic] = []
        self.nodes: list[Node] = []
        self.input_shape: Shape | None = None
        self.input_span: Span | None = None
        self.value = 0
        self.shape: Shape | None = None
        self.root = _Scope("", numbered=False)
        self.scope = self.root
        self.expects: list[tuple[ast.Expect, Shape | None]] = []
        self.recipe = Recipe()
        self.train_span: Span | None = None
        self.expanded = 0
        self.too_large = False
        self.has_layers = False

    def report(self, diagnostic: Diagnostic) -> None:
        """Once for each cause: copies of a repeated element say the same again."""
        if not any(d.code == diagnostic.code and d.span == diagnostic.span for d in self.diagnostics):
            self.diagnostics.append(diagnostic)

    def error(
        self, code: str, message: str, span: Span, *help: str, notes: tuple[str, ...] = (), label: str = ""
    ) -> None:
        self.report(Diagnostic(code, message, span, label, notes, help))

    # ---------------------------------------------------------------- statements

    def statement(self, statement: ast.Statement) -> None:
        match statement:
            case ast.Input():
                self.input(statement)
            case ast.Expect():
                self.expects.append((statement, self.shape))
            case ast.Train():
                self.train(statement)
            case ast.Chain():
                if self.input_span is None and self.complete and not self.has_layers:
                    self.error(
                        "N105",
                        "the network has no `input` before its first layer",
                        statement.elements[0].span,
                        "begin with a line like `input 1x28x28`",
                    )
                self.chain(statement)

    def input(self, statement: ast.Input) -> None:
        if self.input_span is not None:
            self.error(
                "N105",
                "a network has one `input`",
                statement.span,
                notes=(f"the first one is on line {self.input_span.line}",),
            )
            return
        self.input_span = statement.span
        if len(statement.shape) > 3:
            self.error(
                "N202",
                f"an input has one to three sizes, not {len(statement.shape)}",
                statement.span,
                "the batch is not written: a colour image is `3x32x32`",
            )
        elif min(statement.shape) < 1 or max(statement.shape) >= 2**31:
            self.error("N304", f"input sizes must be from 1 to {2**31 - 1:_}", statement.span)
        elif not self.has_layers and self.complete:
            self.input_shape = self.shape = statement.shape
            self.check_size(statement.shape, statement.span)

    def train(self, statement: ast.Train) -> None:
        if self.train_span is not None:
            note = f"the first one is on line {self.train_span.line}"
            self.error("N502", "a spec has one train block", statement.span, notes=(note,))
            return
        self.train_span = statement.span
        self.recipe, diagnostics = lower_train(statement)
        for diagnostic in diagnostics:
            self.report(diagnostic)

    def chain(self, chain: ast.Chain) -> None:
        self.has_layers = True
        for element in chain.elements:
            if self.too_large:
                return
            self.element(element)

    def body(self, body: ast.Body) -> None:
        for statement in body.statements:
            self.statement(statement)

    # ---------------------------------------------------------------- elements

    def element(self, element: ast.Element) -> None:
        copies = 1 if element.count is None else self.copies(element.count)
        if self.too_large or copies is None:
            self.shape = None
            copies = min(copies or 1, 1)
        if element.label is not None and not self.label_is_free(element.label):
            element = ast.Element(element.span, None, element.count, element.primary)
        if element.label is not None and (element.count is not None or isinstance(element.primary, ast.Body)):
            self.labelled_group(element.label.name, element, copies)
        else:
            self.expand(element, copies)

    def expand(self, element: ast.Element, copies: int) -> None:
        if not self.fits(element, copies):
            copies = 1
        for _ in range(copies):
            self.expanded += 1
            if isinstance(element.primary, ast.Body):
                self.body(element.primary)
            else:
                label = element.label.name if element.label is not None and element.count is None else None
                self.layer(element.primary, label)

    def labelled_group(self, name: str, element: ast.Element, copies: int) -> None:
        outer = self.scope
        self.scope = _Scope(outer.full(name), numbered=True)
        self.expand(element, copies)
        outer.children.append(self.scope.close())
        self.scope = outer

    def copies(self, count: ast.Expr) -> int | None:
        """The number before `*`; None after a mistake."""
        try:
            value = evaluate(count, {}, self.shape)
        except ExprError as error:
            self.report(error.diagnostic)
            return None
        except UnknownShape:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            self.error("N310", f"a count must be a whole number of at least 0, not `{show_value(value)}`", count.span)
            return None
        return value

    def fits(self, element: ast.Element, copies: int) -> bool:
        """False, and an error, if the copies would make the network too large. Nothing is expanded first."""
        total = max(len(self.nodes), self.expanded) + copies * max(1, _least_layers(element.primary))
        if total <= MAX_LAYERS:
            return True
        if not self.too_large:
            self.error(
                "N311",
                f"this makes at least {total:_} layers; a network has at most {MAX_LAYERS:_}",
                element.count.span if element.count is not None else element.span,
            )
        self.too_large = True
        self.shape = None
        return False

    def label_is_free(self, label: ast.Label) -> bool:
        why = reserved(label.name)
        if why:
            self.error(
                "N309",
                f"`{label.name}` cannot be a label: {why}",
                label.span,
                f"use another name, for example `{label.name.strip('_')[:60]}_1`",
            )
            return False
        first = self.scope.taken.get(label.name.lower())
        if first is not None:
            notes = (f"the first one is `{first.text}` on line {first.line}",)
            copies = ("every copy of a repeated group needs its own name",) if first == label.span else ()
            self.error("N308", f"the name `{label.name}` is used twice", label.span, *copies, notes=notes)
            return False
        self.scope.taken[label.name.lower()] = label.span
        return True

    # ---------------------------------------------------------------- layers

    def layer(self, syntax: ast.Layer, label: str | None) -> None:
        layer = find_layer(syntax.name)
        if layer is None:
            self.unknown_layer(syntax)
            self.shape = None
            return
        bound = bind(layer, syntax, {}, self.shape)
        for diagnostic in bound.diagnostics:
            self.report(diagnostic)
        name = label if label is not None else self.counted_name(layer.name, syntax.name_span)
        if bound.attrs is None or self.shape is None or self.too_large:
            self.shape = None
            return
        try:
            node = _node(layer, bound.attrs, self.scope.full(name), self.value, self.shape, syntax.span)
        except SpecProblem as problem:
            self.problem(problem, syntax, bound.spans)
            self.shape = None
            return
        if not self.check_size(node.shape, syntax.span) or not all(
            self.check_size(p.shape, syntax.span) for p in node.params
        ):
            return
        self.add(node)

    def add(self, node: Node) -> None:
        self.scope.children.append(len(self.nodes))
        self.nodes.append(node)
        self.value, self.shape = len(self.nodes), node.shape

    def counted_name(self, op: str, span: Span) -> str:
        """The name of a layer without a label."""
        name = self.scope.next_name(op)
        first = self.scope.taken.get(name)
        if first is not None and first.text != op:
            self.error(
                "N308",
                f"this layer would be called `{name}`, which is already a label",
                span,
                "give it, or the other one, another label",
                notes=(f"layers without a label are counted; the label is on line {first.line}",),
            )
        self.scope.taken[name] = span
        return name

    def unknown_layer(self, syntax: ast.Layer) -> None:
        guess = did_you_mean(syntax.name, spellings())
        hint = f"did you mean `{guess}`?" if guess else "the layers are listed in the language reference"
        self.error("N301", f"unknown layer `{syntax.name}`", syntax.name_span, hint)

    def problem(self, problem: SpecProblem, syntax: ast.Layer, spans: dict[str, Span]) -> None:
        """What a layer's rule complained about, at the attr it named, with the history of the shape."""
        span = spans.get(problem.attr or "", syntax.name_span)
        label = problem.label if problem.attr in spans else ""
        self.report(
            Diagnostic(problem.code, problem.message, span, label, (*problem.notes, self.origin()), problem.help)
        )

    def origin(self) -> str:
        """How the tensor that arrives got its shape."""
        assert self.shape is not None
        if self.value == 0:
            line = self.input_span.line if self.input_span else 1
            return f"the input is {show_shape(self.shape)} (`input` on line {line})"
        span = self.nodes[self.value - 1].span
        assert span is not None
        return f"the input is {show_shape(self.shape)} (from `{span.text}` on line {span.line})"

    def check_size(self, shape: Shape, span: Span) -> bool:
        if 8 * prod(shape) <= MAX_BYTES and max(shape) < 2**31:
            return True
        self.error("N311", f"an array of {show_shape(shape)} is too large for any machine", span)
        self.shape = None
        return False

    # ---------------------------------------------------------------- the end of the file

    def finish(self, program: ast.Program) -> None:
        if self.input_span is None and not self.has_layers:
            self.error(
                "N105", "the spec is empty: it has no `input`", program.span, "begin with a line like `input 1x28x28`"
            )
        elif not self.has_layers:
            self.error(
                "N106",
                "the network has no layers",
                self.input_span or program.span,
                "add a line like `flatten -> linear 10`",
            )
        elif not self.nodes and not self.diagnostics:
            self.error("N106", "the network has no layers", self.input_span or program.span)
        if self.shape is None or self.diagnostics:
            return
        for expect, shape in self.expects:
            self.check_expect(expect, shape)
        if self.train_span is not None:
            self.check_loss(self.train_span)

    def check_loss(self, span: Span) -> None:
        assert self.shape is not None
        if self.recipe.loss in ("ce", "nll") and self.shape[0] < 2:
            self.error(
                "N503",
                f"the loss `{self.recipe.loss}` needs at least 2 classes, but the output is {show_shape(self.shape)}",
                span,
                "give the last layer one output for each class, or use `loss mse`",
            )

    def check_expect(self, expect: ast.Expect, shape: Shape | None) -> None:
        assert self.shape is not None
        params = sum(p.size for node in self.nodes for p in node.params)
        macs = sum(node.macs for node in self.nodes)
        names: dict[str, Value] = {"params": params, "macs": macs, "out": self.shape}
        condition = expect.condition
        try:
            holds = evaluate(condition, names, shape)
            if not isinstance(holds, bool):
                self.error(
                    "N303",
                    f"`expect` needs a condition, not `{show_value(holds)}`",
                    condition.span,
                    f"write `expect params == {params:_}`",
                )
            elif not holds:
                self.expectation_fails(condition, names, shape)
        except ExprError as error:
            self.report(error.diagnostic)

    def expectation_fails(self, condition: ast.Expr, names: dict[str, Value], shape: Shape | None) -> None:
        if not isinstance(condition, ast.Binary) or condition.op in ("and", "or"):
            self.error("N401", f"`{condition.span.text}` does not hold", condition.span)
            return
        left, right = (evaluate(side, names, shape) for side in (condition.left, condition.right))
        text, found = condition.left.span.text, show_value(left)
        notes = (self.param_note(),) if text == "params" else ()
        hints = (f"if the network is right, write `expect {text} == {found}`",) if condition.op == "==" else ()
        self.error(
            "N401",
            f"expected {text} {condition.op} {show_value(right)}, but {text} is {found}",
            condition.span,
            *hints,
            notes=notes,
        )

    def param_note(self) -> str:
        counted = [(node.name, sum(p.size for p in node.params)) for node in self.nodes if node.params]
        if not counted:
            return "no layer has params"
        shown = ", ".join(f"{name} {count:_}" for name, count in counted[:8])
        rest = len(counted) - 8
        return f"the params are: {shown}" + (f" and {rest} layers more" if rest > 0 else "")


def _node(layer: LayerDef, attrs: dict[str, object], name: str, value: int, shape: Shape, span: Span) -> Node:
    """Apply the layer's rules. Raises SpecProblem."""
    resolved = layer.resolve(attrs, shape) if layer.resolve else attrs
    out = layer.shape(resolved, shape)
    params, buffers = layer.params(resolved, shape), layer.buffers(resolved, shape)
    return Node(name, layer.name, resolved, (value,), out, params, buffers, layer.macs(resolved, shape), span)


def _least_layers(primary: ast.Layer | ast.Body) -> int:
    """A lower bound on the layers one copy makes, from the counts that are written as numbers."""
    if isinstance(primary, ast.Layer):
        return 1
    total = 0
    for statement in primary.statements:
        for element in statement.elements if isinstance(statement, ast.Chain) else ():
            copies = 1 if element.count is None else element.count.value if isinstance(element.count, ast.Number) else 0
            total += int(copies) * _least_layers(element.primary)
    return total
