"""What the modules of a target are made of: `Dialect`, which each target writes of its own and the gate asks."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


def _nothing() -> tuple[()]:
    return ()


@dataclass(frozen=True, eq=False)
class Dialect:
    """What may stand in an emitted module. Modules of netdsl have their full names, `netdsl.targets.numpy.emitter`.

    package, template: the package with the template, and its path there, `module.py.j2`.
    imports: the line of an import -> the name that it binds; of them `callable` are called as they stand, of the others
    attributes are.
    kernel_imports: the same, of imports that stand where one of netdsl's own functions names them.
    writers: the modules that write; what their strings say of attributes, and the template, may be said.
    rules() -> functions of layers whose strings are written as well; helpers() -> texts of classes that are copied.
    kernels: packages and modules whose functions may stand in a module, byte for byte; layers: those of layers too.
    networks: modules whose classes the network may extend, bases: what else it may; scripts: modules of what the module
    does when it is run.
    methods: names of methods whose arguments are those of the network; of others the head is as a writer writes it.
    members: attributes of a network that stand nowhere as such. labels: what no layer may be called -> why, where
    layers are attributes of a network; None where they are not. has_stages: whether layers are attributes of `s`, and
    the network extends no class.
    text_of(module, name) -> the text of one of netdsl's definitions as it stands in a module, None where it has none;
    None: as it is emitted anywhere (text/kernel_source.py). line_of(text) -> how a line of a writer is written there.
    """

    package: str
    template: str
    imports: Mapping[str, str]
    writers: tuple[str, ...]
    scripts: tuple[str, ...]
    callable: frozenset[str] = frozenset()
    kernel_imports: Mapping[str, str] | None = None
    rules: Callable[[], tuple[Callable[..., Any], ...]] = _nothing
    helpers: Callable[[], tuple[str, ...]] = _nothing
    kernels: tuple[str, ...] = ()
    layers: bool = False
    networks: tuple[str, ...] = ()
    bases: frozenset[str] = frozenset()
    methods: frozenset[str] = frozenset()
    members: frozenset[str] = frozenset()
    labels: Mapping[str, str] | None = None
    has_stages: bool = False
    text_of: Callable[[types.ModuleType, str], str | None] | None = None
    line_of: Callable[[str], str] = str
