"""How a node calls its layer's forward kernel: argument names held against what the node has."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Literal

from netdsl.graph.ir import Node
from netdsl.ground.symbols import is_all, value_text
from netdsl.layers import layer_at

Source = Literal["param", "buffer", "absent", "attr", "training", "rng"]


def forward_arguments(node: Node) -> list[tuple[str, Source]]:
    """(name, where its value comes from) for each argument after the inputs; `absent` is passed as None."""
    return _arguments(node, layer_at(node).forward, layer_at(node).forward_names)


def _arguments(node: Node, kernel: Callable[..., Any], names: Sequence[str]) -> list[tuple[str, Source]]:
    """The same of any kernel, for the arguments of these names."""
    params, buffers = {p.argument for p in node.params}, {b.argument for b in node.buffers}
    arguments: list[tuple[str, Source]] = []
    for name in names:
        if name in ("training", "rng"):
            arguments.append((name, name))  # type: ignore[arg-type]
        elif takes_all(kernel, name):
            arguments += [(p.argument, "param") for p in node.params if p.argument not in names]
        elif name in params:
            arguments.append((name, "param"))
        elif name in buffers:
            arguments.append((name, "buffer"))
        else:
            arguments.append((name, "attr" if name in node.attrs else "absent"))
    return arguments


def argument_texts(node: Node, words: Mapping[str, str]) -> list[str]:
    """What the layer's forward kernel is given behind its inputs; an attr that is the kernel's default is left out.

    words: how a param and a buffer are read, `p` for `p["conv1.weight"]`, and how `training` and `rng` are given.
    """
    return _texts(node, layer_at(node).forward, forward_arguments(node), words)


def go_on_texts(node: Node, words: Mapping[str, str]) -> list[str]:
    """The same for the kernel that goes on with a sequence, but for its state."""
    layer = layer_at(node)
    assert layer.go_on is not None, node.op
    return _texts(node, layer.go_on, _arguments(node, layer.go_on, layer.go_on_names), words)


def of_few_texts(node: Node, words: Mapping[str, str]) -> list[str]:
    """The same for the kernel that a layer has for few tokens."""
    kernel = layer_at(node).of_few
    assert kernel is not None, node.op
    return _texts(node, kernel, _arguments(node, kernel, tuple(parameters_of(kernel))[1:]), words)


def _texts(
    node: Node, kernel: Callable[..., Any], arguments: Sequence[tuple[str, Source]], words: Mapping[str, str]
) -> list[str]:
    defaults = {name: p.default for name, p in parameters_of(kernel).items()}
    texts = []
    for name, source in arguments:
        if source in ("param", "buffer"):
            specs = node.params if source == "param" else node.buffers
            spec = next(spec for spec in specs if spec.argument == name)
            by_name = "" if name in defaults else f"{name}="
            texts.append(f'{by_name}{words[source]}["{spec.full_name(node.owner)}"]')
        elif source == "absent":
            texts.append("None")
        elif source != "attr":
            texts.append(words[source])
        elif not _is_default(node.attrs[name], defaults[name]):
            texts.append(f"{name}={value_text(_plainly(node.attrs[name], defaults[name]))}")
    return texts


def takes_all(kernel: Callable[..., Any], name: str) -> bool:
    """Whether an argument of a kernel is `**params`."""
    return parameters_of(kernel)[name].kind is inspect.Parameter.VAR_KEYWORD


@cache
def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The parameters of a kernel, or of a stage's constructor, by their names."""
    return inspect.signature(function).parameters


def _plainly(value: Any, default: object) -> object:
    """`2` for (2,) and ((2, 2),), what is so along the one axis of a signal, where the kernel takes one number."""
    if not isinstance(value, tuple) or not isinstance(default, int) or value[1:]:
        return value
    first = value[0][0] if isinstance(value[0], tuple) else value[0]
    return first if is_all(value, first) else value


def _is_default(value: object, default: object) -> bool:
    """Whether a kernel takes the value where it is given none: a number as default is one for all axes of space."""
    return value == default or (isinstance(value, tuple) and isinstance(default, int) and is_all(value, default))
