"""Graph to a PyTorch module: plain torch.nn. `modules` writes the blocks and groups, this the network around them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from netdsl.analysis.loss import logits_value
from netdsl.graph.ir import Graph, Scope
from netdsl.graph.recipe import Recipe
from netdsl.ground.names import class_name
from netdsl.ground.symbols import value_text
from netdsl.targets.text.emission import batch_shape, emit, title
from netdsl.targets.text.ends import argument_names, input_shapes, outputs_text
from netdsl.targets.text.kernel_source import kernel_texts
from netdsl.targets.text.numpy_demo import shares_text
from netdsl.targets.torch.answers import answer
from netdsl.targets.torch.classes import EmittedClass, chosen_names
from netdsl.targets.torch.dialect import DIALECT
from netdsl.targets.torch.forward import Statement, forward_lines, mark
from netdsl.targets.torch.inputs import input_buffers, input_lines
from netdsl.targets.torch.items import CLASS
from netdsl.targets.torch.layers import Layers
from netdsl.targets.torch.modules import Modules
from netdsl.targets.torch.scopes import Scopes
from netdsl.targets.torch.starts import START, start_lines
from netdsl.targets.torch.texts import attribute


def emit_torch(graph: Graph, recipe: Recipe) -> str:
    """The text of `<name>_torch.py`."""
    shares = shares_text(graph, recipe.loss, "{}.softmax(dim=1)", "{}.sigmoid()", "torch.hstack({})")
    return _Network(graph, logits_value(graph, recipe.loss), shares).text(start_lines(graph, recipe.init))


class _Network:
    """The class of the network itself. until: the value that the loss reads; shares: as `shares_text` gives it."""

    def __init__(self, graph: Graph, until: int, shares: str) -> None:
        self.graph, self.until, self.shares = graph, until, shares
        self.results = tuple(dict.fromkeys((*graph.results, *((until,) if graph.gives_names else ()))))
        self.scopes, self.layers = Scopes(graph, self.results), Layers(graph)
        self.modules = Modules(graph, self.scopes, self.layers)
        self.labels = self.scopes.labels(graph.root)

    def text(self, start: tuple[str, ...] = ()) -> str:
        """The module's text. start: the lines of the constructor that start the params otherwise than PyTorch."""
        graph, name = self.graph, class_name(self.graph.name)
        members = self.modules.members(graph.root)
        init, methods = (
            (*input_buffers(graph, self.labels), *members.lines, *start),
            self.root_methods(members.statements),
        )
        root = EmittedClass(name, "self", "", (), (), init, methods, (), (), frozenset())
        chosen = chosen_names(self.modules.classes, name, self.layers.helpers)
        blocks = [text.split("\n") for text in (*([START] if start else []), *self.layers.helpers)]
        for number, made in enumerate(self.modules.classes):
            own, doc = chosen[number]
            blocks.append(made.lines(own, doc))
        blocks.append(root.lines(name, ""))
        text = "\n\n\n".join("\n".join(lines) for lines in blocks)
        text = re.sub(rf"\b{CLASS}(\d+)_", lambda match: chosen[int(match[1])][0], text)
        imports = ["from collections import OrderedDict", ""] if "(OrderedDict(" in text else []
        imports += ["import torch"] if re.search(r"\btorch\.", text + self.shares) else []
        imports += ["import torch.nn.functional as F"] if re.search(r"\bF\.", text) else []
        return emit(
            DIALECT,
            title=f"{title(graph, name, 'PyTorch', ' --target torch')}.",
            imports=[*imports, "from torch import nn"],
            input_shape=value_text(graph.input_shape) if graph.is_plain else input_shapes(graph),
            is_plain=graph.is_plain,
            body=text,
            class_name=name,
            answers=kernel_texts([answer])[0] if graph.is_plain else "",
            shares=f", {self.shares}" if self.shares else "",
        )

    def root_methods(self, statements: Sequence[Statement]) -> tuple[str, ...]:
        """forward; and logits, where the loss contains the last layer."""
        graph, arrives = self.graph, batch_shape(self.graph.inputs[0].type.sizes)
        sources, given = range(len(graph.inputs)), ", ".join(argument_names(graph))
        if graph.gives_names:
            return self.named_methods(statements, arrives)
        if self.until == graph.output:
            lines = [*input_lines(graph, self.labels), *forward_lines(statements, sources, [graph.output], arrives)]
            return (f"def forward(self, {given}):", *(f"    {line}" for line in lines))
        before, last = self.before_last(graph.root, list(statements), "self.")
        logits = [*input_lines(graph, self.labels), *forward_lines(before, sources, [self.until], arrives)]
        last_text = last.text.replace(mark(self.until), f"self.logits({given})")
        lines = [f"def logits(self, {given}):", *(f"    {line}" for line in logits), "", f"def forward(self, {given}):"]
        return (*lines, f"    return {last_text}  # {last.shape}")

    def named_methods(self, statements: Sequence[Statement], arrives: str) -> tuple[str, ...]:
        """forward, which gives a dict; and logits, where what the loss reads is no output."""
        graph, values = self.graph, list(self.results)
        has_logits = self.until not in graph.results

        def returned(variables: Sequence[str]) -> str:
            text = outputs_text(graph, dict(zip(values, variables, strict=True)))
            return f"{text}, {variables[-1]}" if has_logits else text

        given, sources = ", ".join(argument_names(graph)), range(len(graph.inputs))
        body = [*input_lines(graph, self.labels), *forward_lines(statements, sources, values, arrives, returned)]
        heads = (f"def {'all_outputs' if has_logits else 'forward'}(self, {given}):", *(f"    {line}" for line in body))
        if not has_logits:
            return heads
        forward = (f"def forward(self, {given}):", f"    return self.all_outputs({given})[0]", "")
        return (*heads, "", *forward, f"def logits(self, {given}):", f"    return self.all_outputs({given})[1]")

    def before_last(self, scope: Scope, statements: list[Statement], prefix: str) -> tuple[list[Statement], Statement]:
        """The statements up to the last layer, and that one, taken out of the scopes it stands in."""
        position = next(i for i, s in enumerate(statements) if self.graph.output in s.makes)
        before, last = statements[:position], statements[position]
        index = self.graph.maker(self.graph.output)
        holder = next((c for c in scope.children if isinstance(c, Scope) and index in self.scopes.spans[c.name]), None)
        if holder is None:
            return before, last
        module = self.scopes.sharing.alike.get(holder.name)
        own = attribute(holder.last_name, "").replace("self.", prefix, 1) if module is None else attribute(module, "")
        inner = [
            replace(s, text=re.sub(r"(?<![\w.])self\.", f"{own}.", s.text))
            for s in self.modules.members(holder).statements
        ]
        for path, name in self.scopes.handed_names(holder).items():
            there = self.scopes.reference(self.graph.root, path)
            handed = re.compile(rf"(?<![\w.]){name}\b")
            inner = [replace(s, text=there.join(handed.split(s.text))) for s in inner]
        more, last = self.before_last(holder, inner, f"{own}.")
        return [*before, *more], last
