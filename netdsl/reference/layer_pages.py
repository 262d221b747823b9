"""The page of `netdsl explain` about a layer: everything on it comes from the layer's own file, and its example is
compiled when the page is made."""

from __future__ import annotations

import inspect
from functools import cache
from itertools import product

from netdsl.graph.ir import Node, show_shape
from netdsl.graph.recipe import AUGMENTATIONS, DATA_OPTIONS, DATASETS, LOSSES, OPTIMIZERS
from netdsl.graph.schedules import SCHEDULES
from netdsl.graph.types import Tensor
from netdsl.language.syntax.ast import MERGES
from netdsl.language.syntax.parser import grammar_folder
from netdsl.layers import find_layer, layer_table
from netdsl.layers.contract import REQUIRED, Attr, LayerDef
from netdsl.pipeline import Net, check_text

_INPUTS = ("8x8x8", "4x8", "32", "4 of 8")
_VALUES = ("", "2", "8", "0", "0 2", "2x4x4")
_TOPICS = {
    "Text": ("input", "comment", "signal", "image", "volume", "->", "sizes"),
    "Layers": ("layers", "layer", "flags", "same", "ceil"),
    "Groups, repetition, labels": ("label", "labels", "group", "{", "*", "names"),
    "Branches": ("branch", "branches", "|", "@", "merge"),
    "Blocks": ("block", "blocks", "use", "std"),
    "Values: let, if, for": ("let", "if", "else", "for", "values"),
    "Expressions and expectations": (
        "expect",
        "in",
        "in.c",
        "in.d",
        "in.h",
        "in.w",
        "in.n",
        "in.space",
        "params",
        "macs",
        "out",
        "max",
        "min",
    ),
    "The train block": (
        *(
            "train",
            "data",
            "val",
            "loss",
            "opt",
            "schedule",
            "epochs",
            "steps",
            "batch",
            "accumulate",
            "seed",
            "init",
            "augment",
            "clip",
        ),
        *("ema", "stop", "lr", "wd", "decay", "momentum", "warmup", "patience"),
        *DATA_OPTIONS,
        *DATASETS,
        *(*OPTIMIZERS, *LOSSES, *SCHEDULES, *AUGMENTATIONS),
    ),
    "Canonical form": ("fmt", "form"),
    "Limits": ("limits", "limit"),
}
"""Section of the language reference -> the words that it explains."""


def words() -> list[str]:
    """Every word that has a page, layers and topics."""
    aliases = [alias for layer in layer_table().values() for alias in layer.aliases]
    return sorted({*layer_table(), *aliases, "res", *(word for own in _TOPICS.values() for word in own)})


def page(word: str) -> str | None:
    """The page about a layer or a word of the language; None where there is none."""
    layer = find_layer("add" if word == "res" else word)
    if layer is not None:
        return _layer_page(layer, word)
    title = next((title for title, own in _TOPICS.items() if word in own), None)
    return None if title is None else _section(title)


@cache
def _reference() -> str:
    return (grammar_folder() / "README.md").read_text(encoding="utf-8")


def _section(title: str) -> str:
    """A section of the language reference, with its heading."""
    start = _reference().index(f"## {title}\n")
    end = _reference().find("\n## ", start)
    return _reference()[start : end if end >= 0 else None].strip() + "\n"


def _layer_page(layer: LayerDef, word: str) -> str:
    statement, net = example(layer, word)
    node = net.graph.nodes[-1]
    inputs = net.graph.input_types(node)
    also = sorted({*layer.aliases, layer.name} - {word, "add" if word == "res" else word})
    parts = [f"# {word}: {layer.summary}" + (f" (also written `{'`, `'.join(also)}`)" if also else "")]
    if layer.ties:
        parts.append(f"It takes the label of an `{layer.ties}`, whose weights it uses.")
    else:
        parts += [_attributes(layer)] if layer.attrs else [] if word in MERGES else ["It has no attributes."]
    parts += [f"Shape:\n\n{_indented(layer.shape)}"]
    forwards = dict.fromkeys(one.forward for one in (layer, *layer.variants) if one.forward.__doc__)
    parts += [f"{'Or' if i else 'Formula'}:\n\n{_indented(forward)}" for i, forward in enumerate(forwards)]
    parts += [f"Example, which gives {node.type.show_type()}{_counts(node)}:\n\n```net\n{net.source.text}```"]
    parts += [f"In PyTorch:\n\n    {_torch(layer, node, inputs)}"]
    return "\n\n".join(parts) + "\n"


def _attributes(layer: LayerDef) -> str:
    rows = [("attribute", "written as", "default"), *((a.name, _spellings(a), _default(a)) for a in layer.attrs)]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    return "\n".join(f"{name:{widths[0]}}  {spelled:{widths[1]}}  {default}" for name, spelled, default in rows)


def _spellings(attr: Attr) -> str:
    if attr.kind == "word":
        return attr.name
    value = {"int": "4", "float": "0.1", "spatial": "3", "sides": "1", "size": "4x4x4"}[attr.kind]
    short = [f"{attr.flag}{value}"] if attr.flag and attr.kind != "float" else []
    value_or_label = [value, "@label"] if attr.takes_label else [value]
    bare = value_or_label if attr.positional else []
    return ", ".join([*bare, *short, *(f"{key}={value}" for key in attr.keys)])


def _default(attr: Attr) -> str:
    if attr.default is REQUIRED:
        return "must be given"
    if attr.kind == "word":
        return "off"
    if isinstance(attr.default, str):
        return f"that of {attr.default}"
    value = attr.default
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _indented(rule: object) -> str:
    return "\n".join(f"    {line}".rstrip() for line in (inspect.getdoc(rule) or "").splitlines())


def _counts(node: Node) -> str:
    params = [f"`{p.name or 'weight'}` {show_shape(p.shape)}" for p in node.params]
    return f", with the params {' and '.join(params)}" if params else ", without params"


def _torch(layer: LayerDef, node: Node, inputs: tuple[Tensor, ...]) -> str:
    module = None if layer.torch is None else layer.torch(node.attrs, *inputs)
    if layer.torch_call is None:
        return str(module)
    names = [chr(ord("a") + i) for i in range(len(inputs))]
    call = layer.torch_call(node.attrs, *inputs).format(*names, x="x", self="layer", name="layer")
    return f"{module}, called as {call}" if module and "layer" in call else call


def example(layer: LayerDef, word: str) -> tuple[str, Net]:
    """The first small statement with this layer that compiles, and its network."""
    for values, shape in product(_VALUES, _INPUTS):
        statement = f"{word} {values}".strip()
        if layer.num_inputs is None:
            statement = f"{word} {{ relu }}" if word == "res" else f"{word} {{ id | relu }}"
        if layer.ties:
            statement = f"it: {layer.ties} 8\n{word} @it"
        net, _ = check_text(f"input {shape}\n{statement}\n", "example.net")
        if net is not None and net.graph.nodes:
            return statement, net
    raise AssertionError(f"no example of `{word}` compiles")
