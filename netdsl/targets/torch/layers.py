"""How single layers are written at a place of an emitted PyTorch module."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from netdsl.analysis.layouts import meets_transposed
from netdsl.graph.ir import Graph, Node, Scope
from netdsl.graph.types import Tensor
from netdsl.ground.names import reserved
from netdsl.ground.symbols import is_symbolic, renamed, written
from netdsl.targets.text.emission import batch_shape
from netdsl.targets.torch.names import RESERVED
from netdsl.targets.torch.rules import torch_rule
from netdsl.targets.torch.texts import class_in


class Layers:
    """The layers in the terms of the place that is being written.

    known: the names of the block around that place; helpers: the texts of classes that were named so far.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.known: tuple[str, ...] = ()
        self.helpers: dict[str, None] = {}
        self.meets_transposed = meets_transposed(graph)

    @contextmanager
    def inside(self, scope: Scope) -> Iterator[None]:
        """While the class of this scope is written, its block's names are known."""
        outer = self.known
        if scope.call is not None:
            names = (scope.call.channels, *(argument.name for argument in scope.call.arguments))
            self.known = tuple(filter(None, names))
        yield
        self.known = outer

    def written(self, node: Node) -> tuple[Mapping[str, object], tuple[Tensor, ...], Tensor]:
        """Attrs, types of the inputs and own type, with the names of the block where one is being written."""
        if node.written is None or not self.known:
            return node.attrs, self.graph.input_types(node), node.type
        attrs, inputs, made = node.written
        return {key: written(value) for key, value in attrs.items()}, written(inputs), made

    def is_idle(self, node: Node) -> bool:
        """Whether the layer gives its input as it is, in every call of the block that is being written."""
        return torch_rule(node.op).idle(self.written(node)[0])

    def constructor(self, node: Node) -> str | None:
        """`nn.Conv2d(1, 32, 5)`, with the names of the block; None where the layer is no module."""
        rule = torch_rule(node.op)
        if self.is_idle(node):
            return "nn.Identity()"
        attrs, inputs, _ = self.written(node)
        made = rule.constructor(attrs, *inputs) if rule.constructor is not None else None
        self.helpers.update(dict.fromkeys(text for text in rule.helpers if class_in(text) in (made or "")))
        straight = next((text for text in rule.straight if class_in(text) in (made or "")), None)
        if made is None or straight is None or not (self.meets_transposed and node.type.is_map):
            return made
        self.helpers[straight] = None
        return made.removeprefix("nn.")

    def template(self, node: Node) -> str | None:
        """How forward writes the layer, in numbers, where that is not just calling a member on x."""
        if self.is_idle(node):
            return "{x}"
        call = torch_rule(node.op).call
        return call(node.attrs, *self.graph.input_types(node)) if call is not None else None

    def named_template(self, node: Node, labels: set[str]) -> tuple[str | None, set[str]]:
        """The same with the names of the block's parameters, which the constructor keeps for forward: `self.c`; and
        which of them those are. labels: names that stand for something else."""
        call = torch_rule(node.op).call
        used: set[str] = set()

        def kept(text: str) -> str:
            used.add(text.partition("[")[0])
            return f"self.{text}"

        attrs = {key: renamed(value, kept) for key, value in self.written(node)[0].items()}
        is_plain = self.is_idle(node) or not used or used & labels
        if call is None or is_plain or any(reserved(name, RESERVED) for name in used):
            return self.template(node), set()
        made = call(attrs, *self.graph.input_types(node))
        return made, {name for name in used if re.search(rf"\bself\.{name}\b", made)}

    def is_member(self, node: Node) -> bool:
        """Whether forward calls a member for the layer."""
        return "{self}" in (self.template(node) or "{self}")

    def is_module(self, node: Node) -> bool:
        """True if the constructor alone, called on x, is the layer: then it can stand in an nn.Sequential."""
        if torch_rule(node.op).constructor is None:
            return False
        return not self.is_member(node) or self.template(node) in (None, "{self}({x})")

    def comment(self, tensor: Tensor) -> str:
        """`(N, 64, 56, 56)`; in a block, whose maps have many sizes, `(N, 4 * c, ...)`."""
        if not self.known:
            return batch_shape(tensor.sizes)
        sizes = [repr(size) for size in tensor.sizes]
        return f"(N, {sizes[0]}, ...)" if tensor.is_map else f"(N, {', '.join(sizes)})"

    def keeps_shape(self, node: Node) -> bool:
        """True if the layer gives the shape it takes; in a block, if every call of it does."""
        attrs, inputs, made = self.written(node)
        settings = [repr(value) for value in attrs.values() if is_symbolic(value)]
        fixed = all(text == repr(made.channels) for text in settings)
        return node.type == self.graph.type_of(node.inputs[0]) and repr(made) == repr(inputs[0]) and fixed

    def own_name(self, node: Node, labels: set[str]) -> str:
        """The last part of its name; `relu2` for `2` where no checkpoint has anything under the number."""
        name = node.name.rpartition(".")[2]
        if not name.isdigit() or node.params or node.buffers or torch_rule(node.op).is_random:
            return name
        own = f"{node.op}{name}"
        return name if own in labels or own in self.known else own
