"""A layer as a spec would write it, with the values it got."""

from __future__ import annotations

from collections.abc import Mapping

from netdsl.ir import Node
from netdsl.layers import layer_of
from netdsl.layers.contract import REQUIRED, Attr


def layer_text(node: Node) -> str:
    """`conv 64 k3 s2 p1 nobias`: what differs from the defaults."""
    words = [_setting(attr, node.attrs) for attr in layer_of(node.op).attrs if attr.name in node.attrs]
    return " ".join([node.op, *filter(None, words)])


def _setting(attr: Attr, attrs: Mapping[str, object]) -> str:
    """One attr as a spec writes it; nothing where it has its default."""
    text, default = _value_text(attr, attrs[attr.name]), attr.default
    if attr.kind == "word":
        return attr.name if attrs[attr.name] else ""
    if not text:
        return ""
    if isinstance(default, str) and default in attrs:
        default = attrs[default]
    if attr.positional:
        return text
    if default is not REQUIRED and text == _value_text(attr, default):
        return ""
    return f"{attr.flag}{text}" if attr.flag and text.isdigit() else f"{attr.keys[0]}={text}"


def _value_text(attr: Attr, value: object) -> str:
    """`3` of (3, 3) and of ((3, 3), (3, 3)); `1x2`; `0.2`; nothing for a padding of one side."""
    if attr.kind == "pair" and isinstance(value, tuple):
        sides = [side if isinstance(side, tuple) else (side, side) for side in value]
        if all(before == after for before, after in sides):
            sizes = [before for before, _ in sides]
            return str(sizes[0]) if len(set(sizes)) == 1 else "x".join(map(str, sizes))
        return ""
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
