"""The targets by their names: the `TARGET` of every folder here that has a `target.py`. There is no list to edit.

A package of its own brings a target in by calling `register` when it is imported, before a command runs:

    from netdsl.cli import main
    from netdsl.targets.registry import register
    from my_package import TARGET

    register(TARGET)
    main()
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from netdsl.ground.diagnostics import UserError, did_you_mean

if TYPE_CHECKING:
    from netdsl.graph.ir import Graph
    from netdsl.targets.contract import Target

DEFAULT = "numpy"
"""The name of what is written and run where nobody says which."""

_ADDED: list[Target] = []


def register(target: Target) -> None:
    """Add a target. Its name and levels must be free."""
    known = [(other.name, level) for other in targets() for level in other.levels]
    taken = [(target.name, level) for level in target.levels if (target.name, level) in known]
    assert not taken and target.name != "all", f"two targets are called {taken or target.name}"
    _ADDED.append(target)


def unregister(target: Target) -> None:
    """Take a target out again that was registered."""
    _ADDED.remove(target)


@cache
def _own() -> tuple[Target, ...]:
    """The targets of netdsl's own folders."""
    folders = sorted(path.parent.name for path in Path(__file__).parent.glob("*/target.py"))
    return tuple(import_module(f"{__package__}.{folder}.target").TARGET for folder in folders)


def targets() -> tuple[Target, ...]:
    """Every target: those called DEFAULT come first, then by name, of one name the lowest level first."""
    return tuple(sorted((*_own(), *_ADDED), key=lambda one: (one.name != DEFAULT, one.name, min(one.levels))))


def writers() -> list[str]:
    """The names of targets that write a text."""
    return list(dict.fromkeys(one.name for one in targets() if one.emit is not None))


def plain_writers() -> list[str]:
    """The names of targets that write a text, but variants of others: what `--target all` writes."""
    return list(dict.fromkeys(one.name for one in targets() if one.emit is not None and not one.is_variant))


def runners() -> list[str]:
    """The names of targets that make a model."""
    return list(dict.fromkeys(one.name for one in targets() if one.model is not None))


def levels() -> list[int]:
    """The levels that any target has, from the lowest."""
    return sorted({level for one in targets() for level in one.levels})


def levels_of(name: str) -> list[int]:
    """The levels of a name, from the lowest."""
    return sorted(level for one in targets() if one.name == name for level in one.levels)


def has_devices(name: str) -> bool:
    """Whether the models of a target of that name compute on a `Device`."""
    return any(one.has_devices for one in targets() if one.name == name)


def target_of(name: str, level: int = 0) -> Target:
    """The target of that name at that level. Raises UserError where there is none."""
    for one in targets():
        if one.name == name and level in one.levels:
            return one
    names = list(dict.fromkeys(one.name for one in targets()))
    if name in names:
        raise UserError(f"the target `{name}` has no level {level}", f"it has {', '.join(map(str, levels_of(name)))}")
    guess = did_you_mean(name, names)
    hint = f"did you mean `{guess}`?" if guess else f"use {' or '.join(names)}"
    raise UserError(f"there is no target `{name}`", hint)


def reserved_names() -> dict[str, str]:
    """What no label of a spec may be, for the sake of any target -> why."""
    return {name: why for one in targets() for name, why in one.reserved_names.items()}


def check_taken(target: Target, graph: Graph) -> None:
    """Raises UserError, which names the first layer that the target declines, and says what takes all of them."""
    declined = target.declines(graph)
    if not declined:
        return
    node, why = declined[0]
    place = f" in line {node.span.line} of {node.span.source.name}" if node.span else ""
    more = f"; it declines {len(declined) - 1} more of {len(graph.nodes)} layers" if len(declined) > 1 else ""
    others = [one.name for one in targets() if one.emit is not None and not one.declines(graph)]
    text = f"the target `{target.name}` cannot take `{node.name}`, a `{node.op}`{place}: {why}{more}"
    raise UserError(text, f"the target `{others[0]}` takes all of them" if others else "")
