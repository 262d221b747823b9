"""Graph to a PyTorch module: plain torch.nn, with labelled groups as nn.Sequential."""

from __future__ import annotations

from netdsl.analysis.loss import logits_value
from netdsl.backends.emission import Method, batch_shape, emit, title
from netdsl.ir import Graph, Node, Scope, Shape
from netdsl.layers import layer_of
from netdsl.names import class_name
from netdsl.recipe import Recipe

_WIDTH = 100
_NESTED = 3  # calls on one line


def emit_torch(graph: Graph, recipe: Recipe) -> str:
    """The text of `<name>_torch.py`."""
    members = [line for child in graph.root.children for line in _member(graph, child)]
    methods = _methods(graph, logits_value(graph, recipe.loss))
    text = "\n".join([*members, *(line for method in methods for line in method.lines)])
    imports = ["from collections import OrderedDict", ""] if "OrderedDict(" in text else []
    imports += ["import torch"] if "torch." in text.replace("nn.", "") else []
    imports += ["import torch.nn.functional as F"] if "F." in text else []
    return emit(
        "torch_module.py.j2",
        title=f"{title(graph, class_name(graph.name), 'PyTorch', ' --target torch')}.",
        imports=[*imports, "from torch import nn"],
        input_shape=repr(graph.input_shape),
        class_name=class_name(graph.name),
        members=members,
        methods=methods,
    )


# -------------------------------------------------------------------------------------------- members


def _constructor(graph: Graph, node: Node) -> str:
    return layer_of(node.op).torch(node.attrs, *graph.input_shapes(node))


def _is_member(node: Node) -> bool:
    return layer_of(node.op).torch_call is None or bool(node.params)


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _member(graph: Graph, child: Scope | int) -> list[str]:
    """`self.conv1 = nn.Conv2d(...)`; nothing for a layer that is only a call."""
    if isinstance(child, Scope):
        first, *rest = _sequential(graph, child)
        return [f"self.{_last(child.name)} = {first}", *rest]
    node = graph.nodes[child]
    return [f"self.{node.name} = {_constructor(graph, node)}"] if _is_member(node) else []


def _sequential(graph: Graph, scope: Scope) -> list[str]:
    """nn.Sequential over the children; those with labels need an OrderedDict to keep their names."""
    names = [_last(child.name if isinstance(child, Scope) else graph.nodes[child].name) for child in scope.children]
    numbered = names == [str(i) for i in range(len(names))]
    lines = ["nn.Sequential(" if numbered else "nn.Sequential(OrderedDict(["]
    for name, child in zip(names, scope.children, strict=True):
        inner = _sequential(graph, child) if isinstance(child, Scope) else [_constructor(graph, graph.nodes[child])]
        if not numbered:
            inner = [f'("{name}", {inner[0]}', *inner[1:]]
        inner[-1] += "," if numbered else "),"
        lines += [f"    {line}" for line in inner]
    return [*lines, ")" if numbered else "]))"] if scope.children else ["nn.Sequential()"]


# -------------------------------------------------------------------------------------------- forward


def _methods(graph: Graph, until: int) -> list[Method]:
    calls = [_call(graph, child) for child in graph.root.children]
    if until == graph.output:
        return [Method("forward(self, x)", "", tuple(_lines(calls, graph.input_shape)))]
    template, shape = calls[-1]
    return [
        Method("logits(self, x)", "", tuple(_lines(calls[:-1], graph.input_shape))),
        Method("forward(self, x)", "", (f"return {template.format(x='self.logits(x)')}  # {batch_shape(shape)}",)),
    ]


def _call(graph: Graph, child: Scope | int) -> tuple[str, Shape]:
    """An expression of {x}, and the shape it gives."""
    if isinstance(child, Scope):
        return f"self.{_last(child.name)}({{x}})", _scope_shape(graph, child)
    node = graph.nodes[child]
    layer = layer_of(node.op)
    if _is_member(node):
        return f"self.{node.name}({{x}})", node.shape
    assert layer.torch_call is not None
    return layer.torch_call(node.attrs, *graph.input_shapes(node)), node.shape


def _scope_shape(graph: Graph, scope: Scope) -> Shape:
    """The shape after the last node inside; an empty scope passes on the network's input."""
    for child in reversed(scope.children):
        return _scope_shape(graph, child) if isinstance(child, Scope) else graph.nodes[child].shape
    return graph.input_shape


def _lines(calls: list[tuple[str, Shape]], shape: Shape) -> list[str]:
    """One line for each call that changes the shape; what keeps it is nested into the same line."""
    lines: list[tuple[str, Shape, int]] = []
    for template, after in calls:
        if lines:
            text, before, nested = lines[-1]
            longer = template.format(x=text)
            if after == before and nested < _NESTED and len(longer) <= _WIDTH - 20:
                lines[-1] = (longer, after, nested + 1)
                continue
        lines.append((template.format(x="x"), after, 1))
    shown = []
    for index, (text, after, _) in enumerate(lines):
        start = "return " if index == len(lines) - 1 else "x = "
        shown.append(f"{start}{text}  # {batch_shape(after)}" if after != shape else f"{start}{text}")
        shape = after
    return shown or ["return x"]
