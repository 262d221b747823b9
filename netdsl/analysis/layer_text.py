"""A layer as a spec would write it, with the values it got."""

from __future__ import annotations

import re
from collections.abc import Mapping

from netdsl.graph.ir import Node
from netdsl.layers import layer_of
from netdsl.layers.contract import REQUIRED, Attr
from netdsl.layers.rules.windows import sides_text


def layer_text(node: Node) -> str:
    """`conv 64 k3 s2 p1 nobias`: what differs from the defaults."""
    words = [_setting(attr, node.attrs) for attr in layer_of(node.op).attrs if attr.name in node.attrs]
    return " ".join([node.op, *filter(None, words)])


def written_text(node: Node) -> str:
    """The layer as it is written, on one line; with the values it got where a name or an expression is written."""
    if node.span is None:
        return node.op
    name, *words = node.span.text.split("#")[0].split() or [node.op]
    is_plain = all(re.fullmatch(rf"(\w+=)?{_NUMBER}|[a-z]+\d+(x\d+)*", w) or w in _words_of(node) for w in words)
    return " ".join([name, *words]) if is_plain else layer_text(node)


_NUMBER = r"[\d_]+(\.\d+)?(e-?\d+)?(x\d+)*"


def _words_of(node: Node) -> set[str]:
    return {attr.name for attr in layer_of(node.op).attrs if attr.kind == "word"}


def _setting(attr: Attr, attrs: Mapping[str, object]) -> str:
    """One attr as a spec writes it; nothing where it has its default, or follows from others."""
    value, default = attrs[attr.name], attr.default
    if attr.kind == "word":
        return attr.name if value else ""
    if value is None or any(attrs[name] for name in attr.set_by):
        return ""
    if any(attrs[name] for name in attr.grown_by):
        value = tuple((before, before) for before, _ in value)  # type: ignore[attr-defined]
    text = _value_text(attr, value)
    if isinstance(default, str) and default in attrs:
        default = attrs[default]
    if attr.positional:
        return text
    if default is not REQUIRED and default is not None and text == _value_text(attr, default):
        return ""
    return f"{attr.flag}{text}" if attr.flag and text.isdigit() else f"{attr.keys[0]}={text}"


def _value_text(attr: Attr, value: object) -> str:
    """`3` of (3, 3); `1x2`; `0.2`; `0x1x0x0` of the sides ((0, 0), (1, 0))."""
    if attr.kind == "sides" and isinstance(value, tuple):
        return sides_text(value)
    if isinstance(value, tuple):
        is_one = attr.kind != "size" and len(set(value)) == 1
        return "x".join(map(str, value[:1] if is_one else value))
    return f"{value:g}" if isinstance(value, float) else str(value)
