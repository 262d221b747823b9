"""The layer table: every module of this folder defines the layer that it is called after, `LAYER = LayerDef(...)`.

There is no list to edit. A module is imported when its layer is first asked for, since few networks need many.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from netdsl.graph.ir import Node
from netdsl.layers.contract import LayerDef

_FILES = frozenset(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg) - {"contract"}
_TABLE: dict[str, LayerDef] = {}  # those that were asked for, and those that were registered


def register(layer: LayerDef) -> None:
    """Add a layer type that has no file in this folder."""
    assert layer.name not in _FILES | _TABLE.keys(), f"two layers are called {layer.name}"
    _TABLE[layer.name] = layer


def unregister(name: str) -> None:
    """Take a layer type that was registered out again."""
    del _TABLE[name]


def layer_table() -> dict[str, LayerDef]:
    """Name -> layer type, sorted by name: all of them."""
    return {name: layer_of(name) for name in sorted(_FILES | _TABLE.keys())}


def find_layer(name: str) -> LayerDef | None:
    """The layer type of that name or alias."""
    if name in _TABLE or name in _FILES:
        return layer_of(name)
    return next((layer for layer in layer_table().values() if name in layer.aliases), None)


def layer_of(op: str) -> LayerDef:
    """The layer type of a node's op, which is known to exist."""
    if op not in _TABLE:
        _TABLE[op] = import_module(f"{__name__}.{op}").LAYER
    return _TABLE[op]


def layer_at(node: Node) -> LayerDef:
    """The layer type of a node, with the kernels that it has with the node's attrs."""
    return layer_of(node.op).of(node.attrs)


def in_other_systems() -> dict[str, str]:
    """What other systems call a layer -> its name here."""
    return {known: layer.name for layer in layer_table().values() for known in layer.known_as}


def spellings() -> list[str]:
    """Every name a spec may write: names and aliases."""
    return sorted(spelling for layer in layer_table().values() for spelling in (layer.name, *layer.aliases))
