"""The layer table: every module of this folder that ends in `LAYER = LayerDef(...)`. There is no list to edit."""

from __future__ import annotations

import importlib
import pkgutil

from netdsl.layers.contract import LayerDef

_TABLE: dict[str, LayerDef] = {}
_ALIASES: dict[str, str] = {}


def register(layer: LayerDef) -> None:
    """Add a layer type to the table (the files of this folder are added when it is first asked for)."""
    assert layer.name not in _TABLE, f"two layers are called {layer.name}"
    _TABLE[layer.name] = layer
    _ALIASES.update(dict.fromkeys(layer.aliases, layer.name))


def unregister(name: str) -> None:
    """Take a layer type out again."""
    layer = _TABLE.pop(name)
    for alias in layer.aliases:
        del _ALIASES[alias]


def layer_table() -> dict[str, LayerDef]:
    """Name -> layer type, sorted by name."""
    return dict(sorted(_TABLE.items()))


def find_layer(name: str) -> LayerDef | None:
    """The layer type of that name or alias."""
    return _TABLE.get(_ALIASES.get(name, name))


def layer_of(op: str) -> LayerDef:
    """The layer type of a node's op, which is known to exist."""
    return _TABLE[op]


def in_other_systems() -> dict[str, str]:
    """What other systems call a layer -> its name here."""
    return {known: layer.name for layer in _TABLE.values() for known in layer.known_as}


def spellings() -> list[str]:
    """Every name a spec may write: names and aliases."""
    return sorted([*_TABLE, *_ALIASES])


for _module in pkgutil.iter_modules(__path__):
    if _module.name != "contract" and not _module.ispkg:
        register(importlib.import_module(f"{__name__}.{_module.name}").LAYER)
