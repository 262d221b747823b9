"""How a node calls its layer's forward kernel: argument names held against what the node has."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal

from netdsl.graph.ir import Node
from netdsl.ground.symbols import is_all, value_text
from netdsl.layers import layer_at

Source = Literal["param", "buffer", "absent", "attr", "training", "rng"]


def forward_arguments(node: Node) -> list[tuple[str, Source]]:
    """(name, where its value comes from) for each argument after the inputs; `absent` is passed as None."""
    params, buffers = {p.argument for p in node.params}, {b.argument for b in node.buffers}
    arguments: list[tuple[str, Source]] = []
    for name in layer_at(node).forward_names:
        if name in ("training", "rng"):
            arguments.append((name, name))  # type: ignore[arg-type]
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
    defaults = {name: p.default for name, p in parameters_of(layer_at(node).forward).items()}
    texts = []
    for name, source in forward_arguments(node):
        if source in ("param", "buffer"):
            specs = node.params if source == "param" else node.buffers
            spec = next(spec for spec in specs if spec.argument == name)
            texts.append(f'{words[source]}["{spec.full_name(node.owner)}"]')
        elif source == "absent":
            texts.append("None")
        elif source != "attr":
            texts.append(words[source])
        elif not _is_default(node.attrs[name], defaults[name]):
            texts.append(f"{name}={value_text(_plainly(node.attrs[name], defaults[name]))}")
    return texts


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
